//! Every transition of a script is shown exactly once and in order, with its cause and its process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::binary::output;
use tcpstat_tests::calls::Call;
use tcpstat_tests::event_record::summaries;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::states;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::transition_stream::Stream;
use tcpstat_tests::who::Process;
use tcpstat_tests::wire::Wire;

use crate::scene::{ATTEMPTS, Expected, Scene, TRACERS, assert_exact, assert_exact_after};

/// Lets the two processes make their calls, and says what that makes of each socket.
type Script = fn(&mut Scene) -> Result<Vec<Expected>>;

const SCRIPTS: [(&str, Script); 6] = [
    ("a_close_by_the_client_first", client_first),
    ("a_close_by_the_server_first", server_first),
    ("a_half_close", half_close),
    ("a_reset", reset),
    ("a_refused_connect", refused),
    ("a_listener_that_closes_with_a_connection_queued", queued),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        a_connection_that_is_older_than_the_stream_shows_its_other_transitions,
        a_connection_that_times_out_is_shown_with_its_cause,
        a_socket_that_ss_destroys_is_shown_with_its_cause
    ];
    for (name, script) in SCRIPTS {
        for tracer in TRACERS {
            tests.push(kernel_test(
                format!("{name}_shows_every_transition_once_in_order_with_{tracer}"),
                move |_: &Namespace| run(script, tracer),
            ));
        }
    }
    tests
}

fn run(script: Script, tracer: &str) -> Result<()> {
    for (family, number) in [(Family::Ipv4, 0), (Family::Ipv6, 1)] {
        let mut scene = Scene::new(family, number)?;
        let exact = assert_exact(&["--tracer", tracer], || {
            scene.next_ports();
            script(&mut scene)
        });
        exact.with_context(|| format!("{family:?}"))?;
    }
    Ok(())
}

fn client_first(scene: &mut Scene) -> Result<Vec<Expected>> {
    scene.orderly()?;
    scene.orderly_expected()
}

fn server_first(scene: &mut Scene) -> Result<Vec<Expected>> {
    use State::{Close, CloseWait, FinWait1, FinWait2, LastAck};
    scene.connect()?;
    scene.server.call(Call::Close)?;
    scene.client.call(Call::AwaitEnd)?;
    scene.client.call(Call::Close)?;
    scene.server.call(Call::CloseListener)?;
    let client = scene.connected()?.other(CloseWait).own(LastAck).other(Close);
    let server = scene.accepted()?.own(FinWait1).other(FinWait2).other(Close);
    Ok(vec![scene.listener()?, client, server])
}

fn half_close(scene: &mut Scene) -> Result<Vec<Expected>> {
    use State::{Close, CloseWait, FinWait1, FinWait2, LastAck};
    scene.connect()?;
    scene.client.call(Call::Shutdown)?;
    scene.server.call(Call::AwaitEnd)?;
    scene.server.call(Call::Close)?;
    scene.client.call(Call::AwaitEnd)?;
    scene.client.call(Call::Close)?;
    scene.server.call(Call::CloseListener)?;
    let client = scene.connected()?.own(FinWait1).other(FinWait2).other(Close);
    let server = scene.accepted()?.other(CloseWait).own(LastAck).other(Close);
    Ok(vec![scene.listener()?, client, server])
}

fn reset(scene: &mut Scene) -> Result<Vec<Expected>> {
    scene.connect()?;
    scene.client.call(Call::Reset)?;
    scene.server.call(Call::AwaitReset)?;
    scene.server.call(Call::Close)?;
    scene.server.call(Call::CloseListener)?;
    let client = scene.connected()?.own(State::Close);
    let server = scene.accepted()?.closed("reset");
    Ok(vec![scene.listener()?, client, server])
}

fn refused(scene: &mut Scene) -> Result<Vec<Expected>> {
    scene.client.call(Call::ConnectRefused(scene.client_address, scene.server_address))?;
    Ok(vec![scene.connecting()?.closed("refused")])
}

/// The kernel resets the connection that nobody has accepted. The close of the listener makes that transition.
fn queued(scene: &mut Scene) -> Result<Vec<Expected>> {
    scene.server.call(Call::Listen(scene.server_address))?;
    scene.client.call(Call::Connect(scene.client_address, scene.server_address))?;
    scene.server.call(Call::CloseListener)?;
    scene.client.call(Call::AwaitReset)?;
    scene.client.call(Call::Close)?;
    let client = scene.connected()?.closed("reset");
    let server = scene.accepted()?.other(State::Close);
    Ok(vec![scene.listener()?, client, server])
}

fn a_connection_that_is_older_than_the_stream_shows_its_other_transitions(
    _: &Namespace,
) -> Result<()> {
    use State::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen};
    let connected = || {
        let mut scene = Scene::new(Family::Ipv4, 0)?;
        scene.connect()?;
        Ok(scene)
    };
    assert_exact_after(
        connected,
        || Stream::start_unread(&[]),
        |mut scene| {
            scene.client.call(Call::Close)?;
            scene.server.call(Call::AwaitEnd)?;
            scene.server.call(Call::Close)?;
            scene.server.call(Call::CloseListener)?;
            let client = scene.connected()?.without_steps(Established);
            let server = scene.accepted()?.without_steps(Established);
            let listener = scene.listener()?.without_steps(Listen).own(Close);
            let client = client.own(FinWait1).other(FinWait2).other(Close);
            let server = server.other(CloseWait).own(LastAck).other(Close);
            Ok(vec![listener, client, server])
        },
    )
}

/// The addresses of a socket whose other end is a remote of the wire.
fn addresses(held: &mut Held) -> Result<(SocketAddr, SocketAddr)> {
    let local = held.socket()?.local_addr()?.as_socket().context("an IP address")?;
    Ok((local, held.remote()?.address()))
}

/// The remote acknowledges nothing, and a timer closes the socket.
fn a_connection_that_times_out_is_shown_with_its_cause(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    for addressing in [Addressing::Ipv4, Addressing::Ipv6] {
        assert_exact(&[], || {
            let mut held = states::accepted(&wire, addressing)?;
            let (local, remote) = addresses(&mut held)?;
            held.socket()?.set_tcp_user_timeout(Some(Duration::from_millis(1)))?;
            held.socket()?.send(b"unanswered")?;
            held.await_row("end of the socket", |row| row.is_none())?;
            let child = Expected::of_process(process::id(), local, Some(remote))?;
            let child = child.born_of_listener().other(State::SynRecv).other(State::Established);
            let any: IpAddr = match addressing.family() {
                Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
                Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
            };
            let listener = Expected::of_process(process::id(), (any, local.port()).into(), None)?;
            let listener = listener.own(State::Listen).own(State::Close);
            Ok(vec![listener, child.closed("timed_out")])
        })?;
    }
    Ok(())
}

/// The system call of `ss` closes the socket, so no other process may be named.
fn a_socket_that_ss_destroys_is_shown_with_its_cause(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    for _ in 0..ATTEMPTS {
        let stream = Stream::start(&[])?;
        let mut held = states::established(&wire, Addressing::Ipv4)?;
        let (local, _) = addresses(&mut held)?;
        let filter = format!("sport = :{}", local.port());
        let mut ss = process::Command::new("ss");
        let run = output(ss.args(["-K", "-a", "-t", "-n", "-H", &filter]))?;
        ensure!(run.status == Some(0) && !run.stdout.is_empty(), "ss -K: {run:?}");
        let shown = stream
            .await_own("end of the socket", |shown| shown.iter().any(|one| one.to == "close"))?;
        if stream.lost()? > 0 {
            continue;
        }
        let last = shown.last().context("nothing")?;
        assert_eq!(last.states()?, (State::Established, State::Close), "{}", summaries(&shown));
        ensure!(shown.len() == 3, "{}", summaries(&shown));
        assert_eq!(last.cause.as_deref(), Some("destroyed"));
        let command = last.process.as_ref().map(Process::command);
        ensure!(matches!(command, None | Some("ss")), "{last:?}");
        return Ok(());
    }
    bail!("events were lost in each of {ATTEMPTS} attempts")
}
