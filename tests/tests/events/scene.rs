//! Two processes at the two ends of a connection, and what a stream must show of their sockets.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::calls::Call;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::event_record::{Endpoint, Transition, by_socket, summaries, transitions};
use tcpstat_tests::netns::current_inum;
use tcpstat_tests::proc_view::rows;
use tcpstat_tests::resident::Resident;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::transition_stream::Stream;

/// Not an ephemeral port.
pub(crate) const PORT: u16 = 7_000;

/// Only the transitions of the network namespace that the stream runs in.
pub(crate) const OWN_NETNS: &str = "--netns=self";

/// The programs that can write a transition.
pub(crate) const TRACERS: [&str; 2] = ["btf", "tracepoint"];

/// A process that listens and accepts, and one that connects.
pub(crate) struct Scene {
    pub(crate) server: Resident,
    pub(crate) client: Resident,
    pub(crate) server_address: SocketAddr,
    pub(crate) client_address: SocketAddr,
}

impl Scene {
    /// In the network namespace of the calling thread, with its own ports.
    pub(crate) fn new(family: Family, number: u16) -> Result<Self> {
        let ip: IpAddr = match family {
            Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
            Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
        };
        Ok(Self {
            server: Resident::start()?,
            client: Resident::start()?,
            server_address: (ip, PORT + number).into(),
            client_address: (ip, PORT + 1_000 + number).into(),
        })
    }

    /// Listens, connects and accepts.
    pub(crate) fn connect(&mut self) -> Result<()> {
        self.server.call(Call::Listen(self.server_address))?;
        self.client.call(Call::Connect(self.client_address, self.server_address))?;
        self.server.call(Call::Accept)
    }

    /// Other ports, so that no connection of before keeps them.
    pub(crate) fn next_ports(&mut self) {
        self.server_address.set_port(self.server_address.port() + 1);
        self.client_address.set_port(self.client_address.port() + 1);
    }

    /// Connects, lets the client close, then the server, then closes the listener.
    pub(crate) fn orderly(&mut self) -> Result<()> {
        self.connect()?;
        self.client.call(Call::Close)?;
        self.server.call(Call::AwaitEnd)?;
        self.server.call(Call::Close)?;
        self.server.call(Call::CloseListener)
    }

    /// The listener's transitions.
    pub(crate) fn listener(&self) -> Result<Expected> {
        let expected = Expected::of_process(self.server.pid(), self.server_address, None)?;
        Ok(expected.own(State::Listen).own(State::Close))
    }

    /// The client's transitions until it is connected.
    pub(crate) fn connected(&self) -> Result<Expected> {
        Ok(self.connecting()?.other(State::Established))
    }

    /// The client's first transition.
    pub(crate) fn connecting(&self) -> Result<Expected> {
        let expected = Expected::new(&self.client, self.client_address, self.server_address)?;
        Ok(expected.own(State::SynSent))
    }

    /// The transitions of the server's end until it is connected.
    pub(crate) fn accepted(&self) -> Result<Expected> {
        let expected = Expected::new(&self.server, self.server_address, self.client_address)?;
        Ok(expected.born_of_listener().other(State::SynRecv).other(State::Established))
    }

    /// What [`Scene::orderly`] makes.
    pub(crate) fn orderly_expected(&self) -> Result<Vec<Expected>> {
        use State::{Close, CloseWait, FinWait1, FinWait2, LastAck};
        let client = self.connected()?.own(FinWait1).other(FinWait2).other(Close);
        let server = self.accepted()?.other(CloseWait).own(LastAck).other(Close);
        Ok(vec![self.listener()?, client, server])
    }
}

/// All transitions of one socket.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    owner: u32,
    command: String,
    local: Endpoint,
    remote: Option<Endpoint>,
    first: State,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    to: State,
    cause: Option<&'static str>,
    /// Whether a system call of the owner makes it. Otherwise a softirq does, or the owner for it.
    own: bool,
}

impl Expected {
    fn new(owner: &Resident, local: SocketAddr, remote: SocketAddr) -> Result<Self> {
        Self::of_process(owner.pid(), local, Some(remote))
    }

    /// `remote`: a listener has none.
    pub(crate) fn of_process(
        owner: u32,
        local: SocketAddr,
        remote: Option<SocketAddr>,
    ) -> Result<Self> {
        let file = format!("/proc/{owner}/comm");
        let command = fs::read_to_string(&file).context(file)?.trim_end().to_owned();
        let (local, remote) = (endpoint(local), remote.map(endpoint));
        Ok(Self { owner, command, local, remote, first: State::Close, steps: Vec::new() })
    }

    /// It is cloned from a listener, so its first transition is from LISTEN.
    pub(crate) fn born_of_listener(self) -> Self {
        self.without_steps(State::Listen)
    }

    /// Nothing is shown of it until it is in this state.
    pub(crate) fn without_steps(self, first: State) -> Self {
        Self { first, steps: Vec::new(), ..self }
    }

    /// Then a system call of the owner brings it to this state.
    pub(crate) fn own(self, to: State) -> Self {
        self.step(Step { to, cause: without_error(to), own: true })
    }

    /// Then a segment of the other end, or a timer, brings it to this state.
    pub(crate) fn other(self, to: State) -> Self {
        self.step(Step { to, cause: without_error(to), own: false })
    }

    /// Then it closes for this cause.
    pub(crate) fn closed(self, cause: &'static str) -> Self {
        self.step(Step { to: State::Close, cause: Some(cause), own: false })
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Whether these are its transitions, by the addresses of the last one.
    fn is_of(&self, transitions: &[&Transition]) -> bool {
        let last = transitions.last();
        last.is_some_and(|last| last.local == self.local && last.remote == self.remote)
    }

    fn check(&self, transitions: &[&Transition]) -> Result<()> {
        let mut from = self.first;
        ensure!(transitions.len() == self.steps.len(), "{} transitions", transitions.len());
        ensure!(transitions.is_sorted_by_key(|transition| &transition.time), "times");
        for (step, transition) in self.steps.iter().zip(transitions) {
            let what = || format!("{from} > {}", step.to);
            ensure!(transition.states()? == (from, step.to), "{}", what());
            ensure!(transition.cause.as_deref() == step.cause, "{}: the cause", what());
            match &transition.process {
                None => ensure!(!step.own, "{}: no process", what()),
                Some(process) => ensure!(
                    process.pid == self.owner && process.command() == self.command,
                    "{}: the process is not {} {}",
                    what(),
                    self.owner,
                    self.command
                ),
            }
            // Before 6.14 a child has the addresses of its listener when it is born.
            let is_birth = from == State::Listen && step.to == State::SynRecv;
            ensure!(transition.local.port == self.local.port, "{}: the local port", what());
            let is_exact = transition.local == self.local && transition.remote == self.remote;
            ensure!(is_exact || is_birth, "{}: the addresses", what());
            from = step.to;
        }
        Ok(())
    }
}

/// The cause of a transition that no error makes: only a close has one.
fn without_error(to: State) -> Option<&'static str> {
    (to == State::Close).then_some("none")
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint { address: address.ip().to_string(), port: address.port() }
}

/// Attempts while the kernel skips the program for some events, which can be those of other tests: the stream reports
/// them as lost.
pub(crate) const ATTEMPTS: usize = 5;

/// Lets `act` make transitions beside a new stream, and fails unless these are exactly the transitions of the sockets
/// that `act` returns, each in its order. If something is lost, it does that again.
pub(crate) fn assert_exact(
    args: &[&str],
    act: impl FnMut() -> Result<Vec<Expected>>,
) -> Result<()> {
    assert_exact_by(|| Stream::start_unread(args), act)
}

/// As [`assert_exact`], with a stream that nobody reads yet.
pub(crate) fn assert_exact_by(
    start: impl FnMut() -> Result<Stream>,
    mut act: impl FnMut() -> Result<Vec<Expected>>,
) -> Result<()> {
    assert_exact_after(|| Ok(()), start, |()| act())
}

/// As [`assert_exact_by`], with something that is there before the stream.
pub(crate) fn assert_exact_after<T>(
    mut prepare: impl FnMut() -> Result<T>,
    mut start: impl FnMut() -> Result<Stream>,
    mut act: impl FnMut(T) -> Result<Vec<Expected>>,
) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let prepared = prepare()?;
        let mut stream = start()?;
        stream.read()?;
        let expected = act(prepared)?;
        let number: usize = expected.iter().map(|socket| socket.steps.len()).sum();
        stream.await_own(&format!("{number} transitions"), |shown| shown.len() >= number)?;
        await_no_full_socket()?;
        let (records, end) = stream.stop()?;
        let inum = current_inum()?;
        let mut shown = transitions(records);
        shown.retain(|one| one.netns.inode == Some(inum));
        let checked = check_all(&shown, &expected).with_context(|| summaries(&shown));
        if checked.is_ok() || end.lost == 0 {
            return checked;
        }
    }
    bail!("events were lost in each of {ATTEMPTS} attempts")
}

/// Waits until no socket of the namespace can make another transition.
pub(crate) fn await_no_full_socket() -> Result<()> {
    wait_until("end of all full sockets", DEADLINE, || {
        let full: Vec<_> = rows()?.into_iter().filter(|row| row.full).collect();
        Ok(if full.is_empty() { Progress::Done(()) } else { Progress::NotYet(format!("{full:?}")) })
    })
}

fn check_all(shown: &[Transition], expected: &[Expected]) -> Result<()> {
    let mut sockets = by_socket(shown);
    for socket in expected {
        let mut found = sockets.iter().filter(|(_, all)| socket.is_of(all)).map(|(id, _)| *id);
        let (Some(id), None) = (found.next(), found.next()) else {
            bail!("not one socket: {socket:?}");
        };
        let transitions = sockets.remove(id).context("it was found")?;
        socket.check(&transitions).with_context(|| format!("{socket:?}"))?;
    }
    ensure!(sockets.is_empty(), "other sockets: {sockets:?}");
    Ok(())
}
