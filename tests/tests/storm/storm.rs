//! A storm of connections, and the state of the exporter after it.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tcpstat_loss::Loss;
use tcpstat_tests::agreement::difference_between_snapshots;
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::flow::{Balance, Rest, assert_grown, lost_at_least, transitions};
use tcpstat_tests::kernel_release::kernel_release;
use tcpstat_tests::loopback::{Churn, Churned};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::Family;

use crate::budget::SnapshotTimes;

/// Threads of each family; eight together.
const THREADS: usize = 4;

/// Time between two scrapes. A scrape may wake the tracker, which checks by itself every second: faster
/// scrapes than a real scraper's would also make it heal faster.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(250);

/// Limits the sockets in TIME_WAIT. They end a minute after the storm, and would be all that still changes.
const MAX_TIME_WAITS: u32 = 1_000;

/// Names a file to which the line of each loss is appended.
const LOSSES_VARIABLE: &str = "TCPSTAT_LOSSES";

/// A storm that has ended.
pub(crate) struct Storm {
    pub(crate) exporter: Exporter,
    pub(crate) length: Duration,
    /// Transitions that the storm's connections made.
    pub(crate) made: u64,
    /// What the counted transitions lack, gauge by gauge, without the gauges that balance.
    pub(crate) imbalance: Balance,
    pub(crate) loss: Loss,
    /// The snapshots during the storm.
    pub(crate) snapshots: SnapshotTimes,
    /// The differences to `/proc` that were left when the wait for agreement ended.
    pub(crate) left: String,
}

impl Storm {
    /// Starts an exporter, then makes connections in eight threads and both families for `duration`. Every
    /// second connection ends by a reset. The snapshot interval is an hour, so that only what the exporter
    /// notices is healed. Then waits until the exporter agrees with `/proc`, and reports the loss.
    pub(crate) fn run(namespace: &Namespace, args: &[&str], duration: Duration) -> Result<Self> {
        namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", MAX_TIME_WAITS)?;
        let mut all = vec!["--snapshot-interval=1h", "--log.level=debug"];
        all.extend(args);
        let mut exporter = Exporter::start(&all)?;
        let before = Rest::await_with(&mut exporter)?;
        let mut snapshots = SnapshotTimes::default();
        snapshots.add(&exporter.scrape()?)?;

        let started = Instant::now();
        let mut counted = before.transitions.clone();
        let made = churn(started + duration, || {
            let scrape = exporter.scrape()?;
            let now = transitions(&scrape)?;
            assert_grown(&counted, &now)?;
            counted = now;
            snapshots.add(&scrape)
        })?;
        let length = started.elapsed();
        let (healed, left) = heal(&mut exporter)?;

        let after = Rest::await_with(&mut exporter)?;
        let mut imbalance = after.imbalance_since(&before);
        imbalance.retain(|_, difference| *difference != 0);
        let events = after.counted_since(&before);
        let lost = lost_at_least(&imbalance).max(made.saturating_sub(events));
        let loss = loss(&exporter.scrape()?, events, lost, healed)?;
        report(&loss)?;
        Ok(Self { exporter, length, made, imbalance, loss, snapshots, left })
    }
}

/// Makes connections until `end`, and calls `scrape` meanwhile. Returns the number of transitions. It follows
/// from the number of connections alone: each connection that is closed in order makes the same number,
/// whatever the order of its segments.
fn churn(end: Instant, mut scrape: impl FnMut() -> Result<()>) -> Result<u64> {
    let (report, reported) = channel();
    for family in Family::ALL {
        let report = report.clone();
        let churn = Churn { threads: THREADS, connections: usize::MAX, family, resets: true };
        thread::spawn(move || report.send(churn.run_until(end)));
    }
    drop(report);
    let mut done: Vec<Churned> = Vec::new();
    while done.len() < Family::ALL.len() {
        match reported.recv_timeout(SCRAPE_INTERVAL) {
            Ok(churned) => done.push(churned.context("connections of the storm")?),
            Err(RecvTimeoutError::Timeout) => scrape()?,
            Err(RecvTimeoutError::Disconnected) => bail!("the storm panicked"),
        }
    }
    Ok(done.iter().flat_map(|churned| churned.transitions().into_values()).sum())
}

/// Waits until the exporter agrees with `/proc` and reports that it is consistent. Returns how long that took,
/// or what still differed after [`DEADLINE`].
fn heal(exporter: &mut Exporter) -> Result<(Option<Duration>, String)> {
    let ended = Instant::now();
    loop {
        let consistent = exporter.scrape()?.value("tcpstat_consistent", &[])? == 1.0;
        let left = match difference_between_snapshots(exporter)? {
            None if consistent => return Ok((Some(ended.elapsed()), String::new())),
            None => "tcpstat_consistent is 0".to_owned(),
            Some(difference) => difference,
        };
        if ended.elapsed() > DEADLINE {
            return Ok((None, left));
        }
        sleep(SCRAPE_INTERVAL);
    }
}

/// The loss, with what the exporter reports of itself.
fn loss(scrape: &Scrape, events: u64, lost: u64, healed: Option<Duration>) -> Result<Loss> {
    let info = scrape.family("tcpstat_tracer_info");
    let program = info.first().and_then(|info| info.labels.get("program"));
    let missed = scrape.family("tcpstat_events_missed_total");
    Ok(Loss {
        kernel: kernel_release()?,
        program: program.context("no program")?.clone(),
        events,
        lost,
        counted: missed.first().and_then(|sample| sample.count()).context("no missed events")?,
        healed,
    })
}

/// Writes the loss to the standard output, and to the file of `TCPSTAT_LOSSES`.
fn report(loss: &Loss) -> Result<()> {
    println!("{loss}");
    let Some(path) = env::var_os(LOSSES_VARIABLE) else { return Ok(()) };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    writeln!(file.with_context(|| format!("{}", path.display()))?, "{loss}")?;
    Ok(())
}
