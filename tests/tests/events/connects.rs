//! A connect that a softirq ends has the process that made it (`connect_process`). A remote answers each connect from this
//! process, so the softirq runs in this process, which never may be named.

use anyhow::{Context, Result, anyhow, bail, ensure};
use tcpstat_tests::calls::Call;
use tcpstat_tests::event_record::{Transition, summaries};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::silent_peer::Remote;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::transition_stream::Stream;
use tcpstat_tests::who::Process;
use tcpstat_tests::wire::Wire;

use crate::scene::{ATTEMPTS, TRACERS};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests =
        kernel_tests![a_connect_of_which_a_filter_leaves_out_the_beginning_names_no_process];
    for tracer in TRACERS {
        tests.push(kernel_test(
            format!(
                "a_connect_that_ends_in_a_softirq_names_the_process_that_made_it_with_{tracer}"
            ),
            move |namespace: &Namespace| names_the_process_that_made_it(namespace, tracer),
        ));
    }
    tests
}

/// How a connect ends.
#[derive(Clone, Copy)]
enum Answer {
    Accept,
    Refuse,
}

impl Answer {
    fn give(self, remote: &mut Remote) -> Result<()> {
        match self {
            Self::Accept => remote.accept_from_kernel(),
            Self::Refuse => remote.rst(),
        }
    }

    fn to(self) -> (State, Option<&'static str>) {
        match self {
            Self::Accept => (State::Established, None),
            Self::Refuse => (State::Close, Some("refused")),
        }
    }
}

/// A connect of a process, which no one has answered.
struct Connect<'a> {
    process: &'a mut Resident,
    remote: Remote,
}

impl<'a> Connect<'a> {
    fn begin(process: &'a mut Resident, wire: &Wire, family: Family) -> Result<Self> {
        let mut remote = wire.remote(family);
        process.call(Call::BeginConnect(remote.address()))?;
        remote.swallow_syn()?;
        Ok(Self { process, remote })
    }

    /// Answers it, and closes the socket.
    fn end(mut self, answer: Answer) -> Result<Ended> {
        answer.give(&mut self.remote)?;
        self.process.call(Call::Reset)?;
        Ok(Ended { port: self.remote.address().port(), pid: self.process.pid(), answer })
    }
}

struct Ended {
    /// Of the remote, which only this connect has.
    port: u16,
    pid: u32,
    answer: Answer,
}

impl Ended {
    /// The beginning and the end of this connect.
    fn find<'a>(&self, shown: &'a [Transition]) -> Result<[&'a Transition; 2]> {
        let is_own = |one: &&Transition| one.remote.as_ref().is_some_and(|it| it.port == self.port);
        let own: Vec<_> = shown.iter().filter(is_own).take(2).collect();
        own.try_into().map_err(|_| anyhow!("port {}: no connect", self.port))
    }

    fn check(&self, shown: &[Transition], command: &str) -> Result<()> {
        let [begin, end] = self.find(shown)?;
        let maker = Some(Process { pid: self.pid, command: Some(command.to_owned()) });
        ensure!(begin.states()? == (State::Close, State::SynSent), "{begin:?}");
        ensure!(begin.process == maker && begin.connect_process.is_none(), "{begin:?}");
        let (to, cause) = self.answer.to();
        ensure!(end.states()? == (State::SynSent, to), "{end:?}");
        ensure!(end.cause.as_deref() == cause, "{end:?}");
        ensure!(end.process.is_none(), "a softirq has a process: {end:?}");
        ensure!(end.connect_process == maker, "not {maker:?}: {end:?}");
        Ok(())
    }
}

/// Two processes connect at the same time, and are answered in another order. A socket can get the memory of one that the other
/// process has closed.
fn names_the_process_that_made_it(namespace: &Namespace, tracer: &str) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let (mut caller, mut other) = (named("caller")?, named("other")?);
    for _ in 0..ATTEMPTS {
        let stream = Stream::start(&["--tracer", tracer])?;
        let mut ended = Vec::new();
        for family in Family::ALL {
            for answer in [Answer::Refuse, Answer::Accept] {
                let first = Connect::begin(&mut caller, &wire, family)?;
                let beside = Connect::begin(&mut other, &wire, family)?;
                ended.push(("caller", first.end(answer)?));
                let again = Connect::begin(&mut caller, &wire, family)?;
                ended.push(("other", beside.end(answer)?));
                ended.push(("caller", again.end(answer)?));
            }
        }
        let shown = stream.await_own("the ends of all connects", |shown| {
            ended.iter().all(|(_, one)| one.find(shown).is_ok())
        })?;
        if stream.lost()? == 0 {
            let checked = ended.iter().try_for_each(|(command, one)| one.check(&shown, command));
            return checked.with_context(|| summaries(&shown));
        }
    }
    bail!("events were lost in each of {ATTEMPTS} attempts")
}

fn a_connect_of_which_a_filter_leaves_out_the_beginning_names_no_process(
    namespace: &Namespace,
) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut caller = named("caller")?;
    for _ in 0..ATTEMPTS {
        let stream = Stream::start(&["--transition", "syn_sent:*"])?;
        for answer in [Answer::Refuse, Answer::Accept] {
            Connect::begin(&mut caller, &wire, Family::Ipv4)?.end(answer)?;
        }
        let shown = stream.await_own("two ends of connects", |shown| shown.len() >= 2)?;
        if stream.lost()? == 0 {
            ensure!(shown.len() == 2, "{}", summaries(&shown));
            let nobody = |one: &Transition| one.process.is_none() && one.connect_process.is_none();
            ensure!(shown.iter().all(nobody), "{shown:?}");
            return Ok(());
        }
    }
    bail!("events were lost in each of {ATTEMPTS} attempts")
}

/// A process with this name.
fn named(name: &str) -> Result<Resident> {
    let mut process = Resident::start()?;
    process.order(&Order::Name(name.to_owned()))?;
    Ok(process)
}
