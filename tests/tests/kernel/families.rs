//! Sockets that change their family without a transition. Every user can do that.

use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::addrform::become_ipv4;
use tcpstat_tests::agreement::{assert_agreement, await_agreement};
use tcpstat_tests::corrections::await_no_drift;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::kernel_release::kernel_series;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::{Family, State};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for snapshot in ["procfs", "iter"] {
        // Without IPv4 sockets the ledger of IPv4 is below zero at once; with many it never is.
        for (name, pairs) in [("no", 0), ("many", 200)] {
            tests.push(kernel_test(
                format!("family_changes_beside_{name}_ipv4_sockets_change_no_sum_with_{snapshot}"),
                move |_: &Namespace| families_change_endlessly(snapshot, pairs),
            ));
        }
    }
    tests.extend(kernel_tests![families_that_differ_are_corrected_once_between_two_intervals]);
    tests
}

/// The end of the interval is far away. The first change of family is corrected at once. The next is reported,
/// and corrected at the end of the interval: otherwise any user could make the exporter take snapshots endlessly.
fn families_that_differ_are_corrected_once_between_two_intervals(_: &Namespace) -> Result<()> {
    for _ in 1..ATTEMPTS {
        let mut exporter = start_with_long_interval()?;
        let corrected = corrected_once(&mut exporter);
        if missed_events(&exporter.scrape()?)? == 0.0 {
            return corrected;
        }
    }
    corrected_once(&mut start_with_long_interval()?)
}

/// The kernel counts missed events of all network namespaces together, and other tests make it miss some: then a
/// snapshot comes before the end of the interval.
const ATTEMPTS: u32 = 3;

fn missed_events(scrape: &Scrape) -> Result<f64> {
    scrape.value("tcpstat_reconciles_total", &[("reason", "missed_events")])
}

fn start_with_long_interval() -> Result<Exporter> {
    Exporter::start(&[tracer()?, "--snapshot-interval=1h"])
}

fn corrected_once(exporter: &mut Exporter) -> Result<()> {
    let _ipv4 = Pairs::connect(20, Family::Ipv4)?;
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let connect = || -> Result<TcpStream> {
        let port = listener.local_addr()?.port();
        Ok(TcpStream::connect(("::ffff:127.0.0.1", port))?)
    };
    let (first, second) = (connect()?, connect()?);
    await_agreement(exporter)?;

    become_ipv4(&first)?;
    assert_agreement(exporter)?;
    wait_until("snapshot", DEADLINE, || {
        let taken = reconciles(&exporter.scrape()?)?;
        Ok(if taken == 1.0 { Progress::Done(()) } else { Progress::NotYet(taken.to_string()) })
    })?;
    await_consistent(exporter, 1.0)?;

    become_ipv4(&second)?;
    assert_agreement(exporter)?;
    await_consistent(exporter, 0.0)?;
    assert_agreement(exporter)?;
    assert_eq!(reconciles(&exporter.scrape()?)?, 1.0);
    Ok(())
}

fn await_consistent(exporter: &mut Exporter, expected: f64) -> Result<()> {
    wait_until("consistency", DEADLINE, || {
        let consistent = exporter.scrape()?.value("tcpstat_consistent", &[])?;
        Ok(if consistent == expected {
            Progress::Done(())
        } else {
            Progress::NotYet(exporter.log())
        })
    })
}

/// The program that loses least on this kernel. The flag names it, so that it stays: events that another test
/// makes the kernel miss would switch to another program, with a new seed.
fn tracer() -> Result<&'static str> {
    let (major, _) = kernel_series()?;
    Ok(if major < 7 { "--tracer=btf" } else { "--tracer=tracepoint" })
}

/// Snapshots that were compared with the counts, without that of the seed.
fn reconciles(scrape: &Scrape) -> Result<f64> {
    let reasons = scrape.family("tcpstat_reconciles_total");
    ensure!(!reasons.is_empty(), "no reconciles");
    Ok(reasons.iter().map(|sample| sample.value).sum())
}

/// Makes connections over v4-mapped addresses that become IPv4 and end, one after the other, until it is stopped.
struct Changer {
    changed: Arc<AtomicU64>,
    /// Locked while there is a connection.
    busy: Arc<Mutex<()>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

/// The sockets of one connection; the listener is one of IPv6.
const CHANGER_SOCKETS: u64 = 2;

impl Changer {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        let changed = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let busy = Arc::new(Mutex::new(()));
        let (count, stopped) = (Arc::clone(&changed), Arc::clone(&stop));
        let changes = Arc::clone(&busy);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let busy = changes.lock().unwrap_or_else(PoisonError::into_inner);
                let port = listener.local_addr()?.port();
                let client = TcpStream::connect(("::ffff:127.0.0.1", port))?;
                let (accepted, _) = listener.accept()?;
                become_ipv4(&client)?;
                become_ipv4(&accepted)?;
                count.fetch_add(2, Ordering::Relaxed);
                drop((client, accepted));
                drop(busy);
                thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        });
        Ok(Self { changed, busy, stop, thread })
    }

    /// Waits for that many more changes.
    fn await_changes(&self, more: u64) -> Result<()> {
        let before = self.changed();
        wait_until("changes of family", DEADLINE, || {
            let changes = self.changed() - before;
            let done = changes >= more;
            Ok(if done { Progress::Done(()) } else { Progress::NotYet(changes.to_string()) })
        })
    }

    /// No socket changes while the result is kept.
    fn pause(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> u64 {
        self.changed.load(Ordering::Relaxed)
    }

    fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the changer panicked")?
    }
}

/// Changes of family during the test, at least.
const CHANGES: u64 = 200;

fn families_change_endlessly(snapshot: &str, pairs: usize) -> Result<()> {
    let mut exporter = Exporter::start(&[
        tracer()?,
        "--snapshot-interval=500ms",
        &format!("--snapshot={snapshot}"),
    ])?;
    let _ipv4 = Pairs::connect(pairs, Family::Ipv4)?;
    let _ipv6 = Pairs::connect(5, Family::Ipv6)?;
    let before = await_agreement(&mut exporter)?;
    let [ipv4, ipv6] =
        [Family::Ipv4, Family::Ipv6].map(|family| before[&(family, State::Established)]);
    let held = ipv4 + ipv6;

    let changer = Changer::start()?;
    let mut noticed = false;
    // The number of changes at each snapshot that a scrape has shown, the latest first.
    let mut snapshots = vec![(timestamp(&exporter.scrape()?)?, 0)];
    while snapshots.len() < 6 || changer.changed() < CHANGES {
        let changed = changer.changed();
        let scrape = exporter.scrape()?;
        let exported = scrape.connections()?;
        let sum = exported[&(Family::Ipv4, State::Established)]
            + exported[&(Family::Ipv6, State::Established)];
        ensure!((held..=held + CHANGER_SOCKETS).contains(&sum), "{sum} established, {held} held");
        let of_node = [("state", "established")];
        let of_node = scrape.value("node_tcp_connection_states", &of_node)?;
        ensure!(of_node <= f64::from(u32::try_from(held + CHANGER_SOCKETS)?), "{of_node}");

        let consistent = scrape.value("tcpstat_consistent", &[])? == 1.0;
        ensure!(!(noticed && consistent), "consistent although families change");
        noticed |= !consistent;

        let taken = timestamp(&scrape)?;
        if snapshots[0].0 != taken {
            snapshots.insert(0, (taken, changed));
        }
        if let Some((_, two_snapshots_ago)) = snapshots.get(2) {
            let wrong = exported[&(Family::Ipv6, State::Established)].abs_diff(ipv6);
            let since = changer.changed() - two_snapshots_ago;
            ensure!(
                wrong <= since + CHANGER_SOCKETS,
                "IPv6 is wrong by {wrong}, and {since} changed since the snapshot before the last"
            );
        }
    }
    ensure!(noticed, "tcpstat_consistent was 1 at every scrape");
    for _ in 0..10 {
        // If no socket changes during a scrape, sockstat shows each family's number.
        changer.await_changes(10)?;
        let pause = changer.pause();
        let exported = exporter.scrape()?.connections()?[&(Family::Ipv6, State::Established)];
        drop(pause);
        ensure!(exported == ipv6, "{exported} of IPv6 are established, {ipv6} are held");
    }
    changer.stop()?;

    // The changes cause no sockstat mismatch: the snapshots are those of the interval.
    let mismatches = exporter.scrape()?.value("tcpstat_sockstat_mismatches_total", &[])?;
    ensure!(mismatches == 0.0, "{mismatches} sockstat mismatches");
    await_agreement(&mut exporter)?;
    await_no_drift(&mut exporter)?;
    await_consistent(&mut exporter, 1.0)
}

/// When the last snapshot ended.
fn timestamp(scrape: &Scrape) -> Result<u64> {
    let samples = scrape.family("tcpstat_snapshot_timestamp_seconds");
    Ok(samples.first().context("no snapshot")?.value.to_bits())
}
