//! Mini-sockets and half-open requests, which no transition tells of.
//!
//! Where hooks tell of them, there is an hour between listings, so that only seed and hooks can be
//! right. Elsewhere listings are frequent, and the same numbers are demanded.

use std::env;
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view::{self, Connections};
use tcpstat_tests::silent_peer::Remote;
use tcpstat_tests::states::{fin_wait2_orphan, listen, time_wait};
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::wire::Wire;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        kernel_test("hooks_attach_where_they_are_required", attach_where_required),
        kernel_test("check_tells_of_the_hooks_what_serve_does", check_tells_the_same),
        kernel_test("mini_sockets_count_as_they_come_change_and_go", mini_sockets),
        kernel_test("mini_sockets_that_expire_no_longer_count", expired_mini_sockets),
        kernel_test("mini_sockets_that_are_refused_do_not_count", refused_mini_sockets),
        kernel_test("mini_sockets_whose_port_is_used_again_no_longer_count", ports_used_again),
        kernel_test("both_families_of_time_wait_are_right_after_churn", time_wait_after_churn),
        kernel_test("requests_count_until_they_are_completed_or_reset", requests),
        kernel_test("requests_count_until_their_listener_is_gone", requests_without_a_listener),
        kernel_test("requests_that_are_given_up_no_longer_count", requests_given_up),
        kernel_test("requests_answered_by_cookies_never_count", cookies),
    ]
}

/// Set to `1` it makes a kernel fail that refuses them.
const REQUIRE_VARIABLE: &str = "TCPSTAT_REQUIRE_HOOKS";
const ALL_HOOKS: &str = "timewait,requests";

fn attach_where_required(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--log.level=debug"])?;
    let hooks = exporter.hooks()?;
    let required = env::var_os(REQUIRE_VARIABLE).is_some_and(|value| value == "1");
    ensure!(!required || hooks == ALL_HOOKS, "{hooks}: {}", exporter.log());
    for group in ["timewait", "requests"] {
        let attached = hooks.contains(group);
        let refused = exporter.log().contains(&format!("hooks=\"{group}\""));
        ensure!(attached != refused, "{group}, {hooks}: {}", exporter.log());
    }
    Ok(())
}

fn check_tells_the_same(_: &Namespace) -> Result<()> {
    let hooks = Exporter::start(&[])?.hooks()?;
    assert_eq!(hooks_of_check()?, hooks);
    let report = tcpstat(["check"])?.stdout;
    for group in ["timewait", "requests"] {
        assert_ne!(
            hooks.contains(group),
            report.contains(&format!("{group} refused: ")),
            "{report}"
        );
    }
    Ok(())
}

/// An exporter that lists once, where it has hooks on everything; else one that lists often, however
/// long a listing takes.
fn start() -> Result<Exporter> {
    // Asking an exporter would leave a mini-socket behind.
    let interval = if hooks_of_check()? == ALL_HOOKS { "1h" } else { "200ms" };
    Exporter::start(&["--snapshot=procfs", "--snapshot-interval", interval])
}

/// The hooks that attach here.
fn hooks_of_check() -> Result<String> {
    let report = tcpstat(["check"])?.stdout;
    let told = report.lines().find_map(|line| line.strip_prefix("hooks")).map(str::trim);
    told.map(str::to_owned).context(report)
}

/// Waits for rest and for the numbers of /proc, which nothing had to mend.
fn await_right(exporter: &mut Exporter) -> Result<Connections> {
    proc_view::await_quiet(DEADLINE)?;
    let told = await_agreement(exporter)?;
    let scrape = exporter.scrape()?;
    for sample in scrape.family("tcpstat_corrections_total") {
        ensure!(sample.value == 0.0, "{sample:?}\n{}", exporter.log());
    }
    ensure!(scrape.value("tcpstat_sockstat_mismatches_total", &[])? == 0.0, "{}", exporter.log());
    Ok(told)
}

/// Both families: of three kinds of address two are IPv6 sockets.
fn both(told: &Connections, state: State) -> [u64; 2] {
    Family::ALL.map(|family| told[&(family, state)])
}

fn of_each(make: impl Fn(Addressing) -> Result<Held>) -> Result<Vec<Held>> {
    Addressing::ALL.into_iter().map(make).collect()
}

fn mini_sockets(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut before = of_each(|addressing| fin_wait2_orphan(&wire, addressing))?;
    let mut exporter = start()?;
    let waiting = of_each(|addressing| time_wait(&wire, addressing))?;
    let mut orphans = of_each(|addressing| fin_wait2_orphan(&wire, addressing))?;
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::TimeWait), [1, 2]);
    assert_eq!(both(&told, State::FinWait2), [2, 4]);

    for orphan in before.iter_mut().chain(&mut orphans) {
        orphan.remote()?.fin()?;
        orphan.await_state(State::TimeWait)?;
    }
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::TimeWait), [3, 6]);
    assert_eq!(both(&told, State::FinWait2), [0, 0]);

    for held in waiting.into_iter().chain(before) {
        held.end()?;
    }
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::TimeWait), [1, 2]);
    Ok(())
}

fn expired_mini_sockets(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_fin_timeout", 2)?;
    let wire = Wire::open(namespace)?;
    let mut exporter = start()?;
    let orphans = of_each(|addressing| fin_wait2_orphan(&wire, addressing))?;
    for orphan in &orphans {
        orphan.await_row("expiry", |row| row.is_none())?;
    }
    // What was counted twice, or never, would show now.
    let _waiting = of_each(|addressing| time_wait(&wire, addressing))?;
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::FinWait2), [0, 0]);
    assert_eq!(both(&told, State::TimeWait), [1, 2]);
    Ok(())
}

/// `inet_twsk_alloc` gives none above `net.ipv4.tcp_max_tw_buckets`.
fn refused_mini_sockets(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", 5)?;
    let mut exporter = start()?;
    Pairs::connect(20, Family::Ipv6)?.close()?;
    Pairs::connect(20, Family::Ipv4)?.close()?;
    let told = await_right(&mut exporter)?;
    assert_eq!(told[&(Family::Ipv6, State::TimeWait)], 5);
    assert_eq!(told[&(Family::Ipv4, State::TimeWait)], 0);
    Ok(())
}

/// A connection takes the place of a mini-socket in the table (`inet_ehash_nolisten`).
fn ports_used_again(namespace: &Namespace) -> Result<()> {
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
    let told = await_right(&mut exporter)?;
    assert!(told[&(Family::Ipv4, State::TimeWait)] <= 2, "{told:?}");
    assert_eq!(both(&told, State::SynRecv), [0, 0]);
    Ok(())
}

/// A port is free again a second after the connection that had it.
fn connect_when_a_port_is_free(address: SocketAddr) -> Result<TcpStream> {
    wait_until("a free port", DEADLINE, || match TcpStream::connect(address) {
        Ok(client) => Ok(Progress::Done(client)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
            Ok(Progress::NotYet(error.to_string()))
        }
        Err(error) => Err(error.into()),
    })
}

fn time_wait_after_churn(_: &Namespace) -> Result<()> {
    let mut exporter = start()?;
    for (family, connections) in Family::ALL.into_iter().zip([150, 250]) {
        Churn { threads: 4, connections, family, resets: true }.run()?;
    }
    let told = await_right(&mut exporter)?;
    let [ipv4, ipv6] = both(&told, State::TimeWait);
    assert!(ipv4 >= 4 * 75 && ipv6 >= 4 * 125, "{told:?}");
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

fn requests(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut before = HalfOpen::of_each_addressing(&wire, 2)?;
    let mut exporter = start()?;
    let mut after = HalfOpen::of_each_addressing(&wire, 4)?;
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::SynRecv), [6, 12]);

    // Completed: one accepted, one that waits for it.
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
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::SynRecv), [4, 8]);

    for half_open in before.iter_mut().chain(&mut after) {
        half_open.remotes.last_mut().context("a remote")?.rst()?;
    }
    proc_view::await_connections("reset requests", DEADLINE, |now| {
        both(now, State::SynRecv) == [2, 4]
    })?;
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::SynRecv), [2, 4]);
    Ok(())
}

/// They stay in the table until their timer finds the listener gone.
fn requests_without_a_listener(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut exporter = start()?;
    let half_open = HalfOpen::of_each_addressing(&wire, 3)?;
    let _stay = HalfOpen::of_each_addressing(&wire, 1)?;
    drop(half_open);
    proc_view::await_connections("the end of the requests", DEADLINE, |now| {
        both(now, State::SynRecv) == [1, 2]
    })?;
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::SynRecv), [1, 2]);
    Ok(())
}

fn requests_given_up(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_synack_retries", 0)?;
    let wire = Wire::open(namespace)?;
    let mut exporter = start()?;
    let _half_open = HalfOpen::of_each_addressing(&wire, 3)?;
    proc_view::await_connections("requests that are given up", DEADLINE, |now| {
        both(now, State::SynRecv) == [0, 0]
    })?;
    namespace.set_sysctl("net.ipv4.tcp_synack_retries", 5)?;
    let _stay = HalfOpen::of_each_addressing(&wire, 1)?;
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::SynRecv), [1, 2]);
    Ok(())
}

/// Such a request is in no table.
fn cookies(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_syncookies", 2)?;
    let wire = Wire::open(namespace)?;
    let mut exporter = start()?;
    let _half_open = HalfOpen::of_each_addressing(&wire, 3)?;
    let _pairs = [Pairs::connect(20, Family::Ipv4)?, Pairs::connect(20, Family::Ipv6)?];
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::SynRecv), [0, 0]);
    namespace.set_sysctl("net.ipv4.tcp_syncookies", 0)?;
    let _stay = HalfOpen::of_each_addressing(&wire, 1)?;
    let told = await_right(&mut exporter)?;
    assert_eq!(both(&told, State::SynRecv), [1, 2]);
    Ok(())
}
