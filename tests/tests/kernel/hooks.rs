//! Mini-sockets and half-open requests, of which the tracepoint reports nothing.
//!
//! With hooks the snapshot interval is an hour, so that the numbers come from seed and hooks alone. Without
//! hooks snapshots are frequent, and the tests expect the same numbers.

use std::env;
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::corrections::{missed, unexplained_corrections};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::harness::Test;
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view::{self, Connections};
use tcpstat_tests::silent_peer::Remote;
use tcpstat_tests::states::{fin_wait2_orphan, listen, time_wait};
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::wire::Wire;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        hooks_attach_or_their_refusal_is_logged,
        check_reports_the_hooks_that_serve_attaches,
        mini_sockets_are_counted_when_they_appear_change_and_end,
        mini_sockets_that_expire_are_no_longer_counted,
        mini_sockets_that_are_refused_are_not_counted,
        mini_sockets_whose_port_is_reused_are_no_longer_counted,
        both_families_of_time_wait_are_right_after_churn,
        requests_are_counted_until_they_are_completed_or_reset,
        requests_of_a_closed_listener_are_counted_until_they_expire,
        requests_that_expire_are_no_longer_counted,
        requests_answered_by_syn_cookies_are_not_counted
    ]
}

/// If this is `1`, a kernel that refuses the hooks is a failure.
const REQUIRE_VARIABLE: &str = "TCPSTAT_REQUIRE_HOOKS";
const ALL_HOOKS: &str = "timewait,requests";

fn hooks_attach_or_their_refusal_is_logged(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--log.level=debug"])?;
    let hooks = exporter.hooks()?;
    ensure!(!are_required() || hooks == ALL_HOOKS, "{hooks}: {}", exporter.log());
    for group in ["timewait", "requests"] {
        let attached = hooks.contains(group);
        let refused = exporter.log().contains(&format!("hooks=\"{group}\""));
        ensure!(attached != refused, "{group}, {hooks}: {}", exporter.log());
    }
    Ok(())
}

fn check_reports_the_hooks_that_serve_attaches(_: &Namespace) -> Result<()> {
    let hooks = Exporter::start(&[])?.hooks()?;
    assert_eq!(hooks_of_check()?, hooks);
    let report = tcpstat(["check"])?.stdout;
    for group in ["timewait", "requests"] {
        assert_ne!(
            hooks.contains(group),
            report.contains(&format!("without {group} only snapshots show ")),
            "{report}"
        );
    }
    Ok(())
}

fn are_required() -> bool {
    env::var_os(REQUIRE_VARIABLE).is_some_and(|value| value == "1")
}

/// An exporter that takes one snapshot if all hooks attach; otherwise one with frequent snapshots.
fn start() -> Result<Exporter> {
    // Not from an exporter: a connection to it would leave a mini-socket.
    if are_required() || hooks_of_check()? == ALL_HOOKS {
        return Exporter::start(&["--snapshot=procfs", "--snapshot-interval=1h"]);
    }
    Exporter::start(&FREQUENT_SNAPSHOTS)
}

/// The hooks that attach here.
fn hooks_of_check() -> Result<String> {
    let report = tcpstat(["check"])?.stdout;
    let hooks = report.lines().find_map(|line| line.strip_prefix("hooks")).map(str::trim);
    hooks.map(str::to_owned).context(report)
}

/// Waits until the exporter agrees with `/proc`, without a correction and without a sockstat mismatch, except for those of
/// missed events.
fn await_right(exporter: &mut Exporter) -> Result<Connections> {
    proc_view::await_quiet(DEADLINE)?;
    let counts = await_agreement(exporter)?;
    assert_eq!(unexplained_corrections(exporter)?, 0.0);
    let scrape = exporter.scrape()?;
    let mismatches = scrape.value("tcpstat_sockstat_mismatches_total", &[])?;
    ensure!(mismatches == 0.0 || missed(&scrape)? > 0.0, "{}", exporter.log());
    Ok(counts)
}

/// The counts of IPv4 and IPv6: of the three kinds of address two are IPv6 sockets.
fn both(connections: &Connections, state: State) -> [u64; 2] {
    Family::ALL.map(|family| connections[&(family, state)])
}

fn of_each(make: impl Fn(Addressing) -> Result<Held>) -> Result<Vec<Held>> {
    Addressing::ALL.into_iter().map(make).collect()
}

fn mini_sockets_are_counted_when_they_appear_change_and_end(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut before = of_each(|addressing| fin_wait2_orphan(&wire, addressing))?;
    let mut exporter = start()?;
    let waiting = of_each(|addressing| time_wait(&wire, addressing))?;
    let mut orphans = of_each(|addressing| fin_wait2_orphan(&wire, addressing))?;
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::TimeWait), [1, 2]);
    assert_eq!(both(&counts, State::FinWait2), [2, 4]);

    for orphan in before.iter_mut().chain(&mut orphans) {
        orphan.remote()?.fin()?;
        orphan.await_state(State::TimeWait)?;
    }
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::TimeWait), [3, 6]);
    assert_eq!(both(&counts, State::FinWait2), [0, 0]);

    for held in waiting.into_iter().chain(before) {
        held.end()?;
    }
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::TimeWait), [1, 2]);
    Ok(())
}

fn mini_sockets_that_expire_are_no_longer_counted(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_fin_timeout", 2)?;
    let wire = Wire::open(namespace)?;
    let mut exporter = start()?;
    let orphans = of_each(|addressing| fin_wait2_orphan(&wire, addressing))?;
    for orphan in &orphans {
        orphan.await_row("expiry", |row| row.is_none())?;
    }
    // A socket that was counted twice, or never, shows now.
    let _waiting = of_each(|addressing| time_wait(&wire, addressing))?;
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::FinWait2), [0, 0]);
    assert_eq!(both(&counts, State::TimeWait), [1, 2]);
    Ok(())
}

/// `inet_twsk_alloc` makes no more than `net.ipv4.tcp_max_tw_buckets`.
fn mini_sockets_that_are_refused_are_not_counted(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", 5)?;
    let mut exporter = start()?;
    Pairs::connect(20, Family::Ipv6)?.close()?;
    Pairs::connect(20, Family::Ipv4)?.close()?;
    let counts = await_right(&mut exporter)?;
    assert_eq!(counts[&(Family::Ipv6, State::TimeWait)], 5);
    assert_eq!(counts[&(Family::Ipv4, State::TimeWait)], 0);
    Ok(())
}

/// A connection replaces a mini-socket in the table (`inet_ehash_nolisten`).
fn mini_sockets_whose_port_is_reused_are_no_longer_counted(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_tw_reuse", 1)?;
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "40000 40001")?;
    let mut exporter = start()?;
    let listener = TcpListener::bind("127.0.0.1:30000")?;
    let address = listener.local_addr()?;
    for _ in 0..4 {
        let client = connect_when_a_port_is_free(address)?;
        let (accepted, _) = listener.accept()?;
        drop(client);
        proc_view::await_connections("the end of the client", DEADLINE, |now| {
            now[&(Family::Ipv4, State::FinWait1)] == 0
                && now[&(Family::Ipv4, State::CloseWait)] == 1
        })?;
        drop(accepted);
    }
    let counts = await_right(&mut exporter)?;
    assert!(counts[&(Family::Ipv4, State::TimeWait)] <= 2, "{counts:?}");
    assert_eq!(both(&counts, State::SynRecv), [0, 0]);
    Ok(())
}

/// A port is free again a second after its connection.
fn connect_when_a_port_is_free(address: SocketAddr) -> Result<TcpStream> {
    wait_until("a free port", DEADLINE, || match TcpStream::connect(address) {
        Ok(client) => Ok(Progress::Done(client)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
            Ok(Progress::NotYet(error.to_string()))
        }
        Err(error) => Err(error.into()),
    })
}

/// Few connections: the first sockets must not end before the last one is counted, in a guest too.
fn both_families_of_time_wait_are_right_after_churn(_: &Namespace) -> Result<()> {
    let mut exporter = start()?;
    for (family, connections) in Family::ALL.into_iter().zip([50, 80]) {
        Churn { threads: 4, connections, family, resets: true }.run()?;
    }
    let counts = await_right(&mut exporter)?;
    let [ipv4, ipv6] = both(&counts, State::TimeWait);
    // Half of the connections end in order. On loopback a connect can take a port in TIME_WAIT after a second
    // (`net.ipv4.tcp_tw_reuse` at 2), so some of their mini-sockets may have ended.
    assert!(ipv4 >= 2 * 25 && ipv6 >= 2 * 40, "{counts:?}");
    Ok(())
}

/// Half-open requests of one listener, in the order in which they were made.
struct HalfOpen {
    listener: Held,
    remotes: Vec<Remote>,
}

impl HalfOpen {
    fn make(wire: &Wire, addressing: Addressing, requests: usize) -> Result<Self> {
        let listener = listen(wire, addressing)?;
        let address = listener.socket()?.local_addr()?.as_socket().context("an IP address")?;
        let family = if addressing == Addressing::Ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        let remotes = (0..requests).map(|_| {
            let mut remote = wire.remote(family);
            remote.syn_only(address.port())?;
            Ok(remote)
        });
        Ok(Self { remotes: remotes.collect::<Result<_>>()?, listener })
    }

    fn of_each_addressing(wire: &Wire, requests: usize) -> Result<Vec<Self>> {
        Addressing::ALL
            .into_iter()
            .map(|addressing| Self::make(wire, addressing, requests))
            .collect()
    }
}

fn requests_are_counted_until_they_are_completed_or_reset(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut before = HalfOpen::of_each_addressing(&wire, 2)?;
    let mut exporter = start()?;
    let mut after = HalfOpen::of_each_addressing(&wire, 4)?;
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::SynRecv), [6, 12]);

    // Two are completed: one is accepted, one stays in the accept queue.
    let mut accepted = Vec::new();
    for half_open in &mut after {
        half_open.remotes[0].ack()?;
        let listener = half_open.listener.socket()?;
        listener.set_read_timeout(Some(DEADLINE))?;
        accepted.push(listener.accept().context("accept")?);
        half_open.remotes[1].ack()?;
    }
    proc_view::await_connections("completed requests", DEADLINE, |now| {
        both(now, State::SynRecv) == [4, 8]
    })?;
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::SynRecv), [4, 8]);

    for half_open in before.iter_mut().chain(&mut after) {
        half_open.remotes.last_mut().context("a remote")?.rst()?;
    }
    proc_view::await_connections("reset requests", DEADLINE, |now| {
        both(now, State::SynRecv) == [2, 4]
    })?;
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::SynRecv), [2, 4]);
    Ok(())
}

/// They stay in the table until their timer finds the listener gone.
fn requests_of_a_closed_listener_are_counted_until_they_expire(
    namespace: &Namespace,
) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut exporter = start()?;
    let half_open = HalfOpen::of_each_addressing(&wire, 3)?;
    let _stay = HalfOpen::of_each_addressing(&wire, 1)?;
    drop(half_open);
    proc_view::await_connections("the end of the requests", DEADLINE, |now| {
        both(now, State::SynRecv) == [1, 2]
    })?;
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::SynRecv), [1, 2]);
    Ok(())
}

fn requests_that_expire_are_no_longer_counted(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_synack_retries", 0)?;
    let wire = Wire::open(namespace)?;
    let mut exporter = start()?;
    let _half_open = HalfOpen::of_each_addressing(&wire, 3)?;
    proc_view::await_connections("expiry of the requests", DEADLINE, |now| {
        both(now, State::SynRecv) == [0, 0]
    })?;
    namespace.set_sysctl("net.ipv4.tcp_synack_retries", 5)?;
    let _stay = HalfOpen::of_each_addressing(&wire, 1)?;
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::SynRecv), [1, 2]);
    Ok(())
}

/// Such a request is in no table.
fn requests_answered_by_syn_cookies_are_not_counted(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_syncookies", 2)?;
    let wire = Wire::open(namespace)?;
    let mut exporter = start()?;
    let _half_open = HalfOpen::of_each_addressing(&wire, 3)?;
    let _pairs = [Pairs::connect(20, Family::Ipv4)?, Pairs::connect(20, Family::Ipv6)?];
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::SynRecv), [0, 0]);
    namespace.set_sysctl("net.ipv4.tcp_syncookies", 0)?;
    let _stay = HalfOpen::of_each_addressing(&wire, 1)?;
    let counts = await_right(&mut exporter)?;
    assert_eq!(both(&counts, State::SynRecv), [1, 2]);
    Ok(())
}
