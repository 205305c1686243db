//! Connects that fail without an answer from the other end, and those that succeed at the second SYN.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::gettid;
use socket2::SockRef;
use tcpstat_tests::ages::ensure_a_silence_for_each_exit;
use tcpstat_tests::causes::{Causes, assert_counted, assert_one_counted};
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::flow::transitions;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::Addressing;
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::netns::{Namespace, elsewhere, ip};
use tcpstat_tests::proc_view;
use tcpstat_tests::states;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::wire::Wire;

use super::TRACERS;

/// What a test gets: a namespace, and an exporter in it.
type Body = fn(&Namespace, &mut Exporter) -> Result<()>;

const BODIES: [(&str, Body); 7] = [
    ("a_connect_to_a_closed_port_counts_as_refused", closed_port),
    ("a_connect_without_a_free_port_counts_as_no_port", no_port),
    ("a_connect_without_a_route_makes_no_transition", no_route),
    ("a_connect_without_a_neighbour_counts_as_unreachable", no_neighbour),
    ("a_connection_without_its_neighbour_counts_as_unreachable", neighbour_gone),
    ("a_connect_that_succeeds_at_the_second_syn_counts_as_retried", second_syn),
    ("the_causes_of_churn_are_exact", churn),
];

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (connect, body) in BODIES {
        for tracer in TRACERS {
            tests.push(kernel_test(format!("{connect}_with_{tracer}"), move |namespace| {
                let flags = [&FREQUENT_SNAPSHOTS[..], &["--tracer", tracer]].concat();
                body(namespace, &mut Exporter::start(&flags)?)
            }));
        }
    }
    tests
}

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
        Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
    }
}

fn one(family: Family, from: State, cause: &str) -> Causes {
    let closed = BTreeMap::from([((family, from, cause.to_owned()), 1)]);
    Causes { closed, ..Causes::default() }
}

/// Asserts that `connect` fails with this error, and that exactly this is counted.
fn assert_fails(
    exporter: &mut Exporter,
    expected: &Causes,
    error: ErrorKind,
    connect: impl Fn() -> std::io::Result<TcpStream>,
) -> Result<()> {
    assert_counted(exporter, expected, |_| match connect() {
        Err(found) if found.kind() == error => Ok(()),
        other => bail!("{other:?}, not {error}"),
    })
}

fn closed_port(_: &Namespace, exporter: &mut Exporter) -> Result<()> {
    for family in Family::ALL {
        let listener = TcpListener::bind((loopback(family), 0))?;
        let address = listener.local_addr()?;
        drop(listener);
        let expected = one(family, State::SynSent, "refused");
        let connect = || TcpStream::connect(address);
        assert_fails(exporter, &expected, ErrorKind::ConnectionRefused, connect)?;
    }
    Ok(())
}

fn no_port(namespace: &Namespace, exporter: &mut Exporter) -> Result<()> {
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "50000 50000")?;
    for family in Family::ALL {
        let listener = TcpListener::bind((loopback(family), 40_000))?;
        let address = listener.local_addr()?;
        let first = TcpStream::connect(address)?;
        let expected = one(family, State::SynSent, "no_port");
        let connect = || TcpStream::connect(address);
        assert_fails(exporter, &expected, ErrorKind::AddrNotAvailable, connect)?;
        // No TIME_WAIT keeps the port.
        SockRef::from(&first).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

fn no_route(_: &Namespace, exporter: &mut Exporter) -> Result<()> {
    let before = transitions(&exporter.scrape()?)?;
    let addresses: [SocketAddr; 2] = ["192.0.2.1:80".parse()?, "[2001:db8::1]:80".parse()?];
    for address in addresses {
        let connect = || TcpStream::connect(address);
        assert_fails(exporter, &Causes::default(), ErrorKind::NetworkUnreachable, connect)?;
    }
    assert_eq!(transitions(&exporter.scrape()?)?, before);
    Ok(())
}

/// Addresses for veth0, which exists; the kernel soon gives up to ask for a neighbour there.
fn set_up(namespace: &Namespace) -> Result<()> {
    namespace.ip(&[
        "address add 10.99.0.1/24 dev veth0",
        "address add fd99::1/64 dev veth0 nodad",
        "link set veth0 up",
    ])?;
    for protocol in ["ipv4", "ipv6"] {
        let of_device = |name: &str| format!("net.{protocol}.neigh.veth0.{name}");
        namespace.set_sysctl(&of_device("mcast_solicit"), 1)?;
        namespace.set_sysctl(&of_device("retrans_time_ms"), 50)?;
    }
    Ok(())
}

fn no_neighbour(namespace: &Namespace, exporter: &mut Exporter) -> Result<()> {
    namespace.ip(&["link add veth0 type veth peer name veth1", "link set veth1 up"])?;
    set_up(namespace)?;
    let addresses: [(Family, SocketAddr); 2] =
        [(Family::Ipv4, "10.99.0.2:80".parse()?), (Family::Ipv6, "[fd99::2]:80".parse()?)];
    for (family, address) in addresses {
        let expected = one(family, State::SynSent, "unreachable");
        // The kernel sends the SYN again after a second. A guest that waits for a processor can stand still so long.
        let mut sent_again = expected.clone();
        sent_again.retried.insert((family, "failed".to_owned()), 1);
        assert_one_counted(
            exporter,
            &[&expected, &sent_again],
            |_| match TcpStream::connect_timeout(&address, DEADLINE) {
                Err(found) if found.kind() == ErrorKind::HostUnreachable => Ok(()),
                other => bail!("{other:?}, not {}", ErrorKind::HostUnreachable),
            },
        )?;
    }
    Ok(())
}

/// A connection that times out has the error of the last ICMP message about it.
fn neighbour_gone(namespace: &Namespace, exporter: &mut Exporter) -> Result<()> {
    const ADDRESS: &str = "10.99.0.2/24 dev veth1";
    let here = gettid();
    let neighbour = elsewhere(move |namespace| {
        namespace.ip(&[
            &format!("link add veth1 type veth peer name veth0 netns {here}"),
            &format!("address add {ADDRESS}"),
            "link set veth1 up",
        ])?;
        Ok(TcpListener::bind("10.99.0.2:80")?)
    })?;
    set_up(namespace)?;
    let expected = one(Family::Ipv4, State::Established, "unreachable");
    assert_counted(exporter, &expected, |_| {
        // It can be marked as failed by an earlier attempt.
        let forget = || namespace.ip(&["neigh flush dev veth0"]);
        forget()?;
        let mut stream = TcpStream::connect("10.99.0.2:80")?;
        neighbour.run(|| ip(&[&format!("address del {ADDRESS}")]))?;
        forget()?;
        SockRef::from(&stream).set_tcp_user_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"unanswered")?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let ended = stream.read(&mut [0]);
        let error = ended.err().context("the connection has an end")?;
        ensure!(error.kind() == ErrorKind::HostUnreachable, "{error}");
        neighbour.run(|| ip(&[&format!("address add {ADDRESS}")]))
    })
}

fn second_syn(namespace: &Namespace, exporter: &mut Exporter) -> Result<()> {
    let wire = Wire::open(namespace)?;
    for addressing in Addressing::ALL {
        let retried = BTreeMap::from([((addressing.family(), "established".to_owned()), 1)]);
        let expected = Causes { retried, ..Causes::default() };
        assert_counted(exporter, &expected, |_| {
            let mut held = states::syn_sent(&wire, addressing)?;
            held.remote()?.await_syn_again()?;
            held.remote()?.accept_from_kernel()?;
            held.await_state(State::Established)?;
            Ok(held)
        })?;
    }
    Ok(())
}

/// One thread: nothing interrupts the tracer between two transitions.
fn churn(_: &Namespace, exporter: &mut Exporter) -> Result<()> {
    for family in Family::ALL {
        let churn = Churn { threads: 1, connections: 500, family, resets: true };
        let (orderly, reset) = (250, 250);
        let closed = [
            (State::Listen, "none", 1),
            (State::FinWait2, "none", orderly),
            (State::LastAck, "none", orderly),
            (State::Established, "none", reset),
            (State::Established, "reset", reset),
        ];
        let closed = closed.map(|(from, cause, count)| ((family, from, cause.to_owned()), count));
        let expected = Causes { closed: closed.into(), ..Causes::default() };
        assert_counted(exporter, &expected, |_| {
            let done = churn.run()?;
            assert_eq!((done.orderly, done.reset), (orderly, reset));
            proc_view::await_quiet(DEADLINE)
        })?;
        ensure_a_silence_for_each_exit(&exporter.scrape()?)?;
    }
    Ok(())
}
