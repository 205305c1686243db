//! The storm itself, and what came of it.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tcpstat_tests::agreement::difference_between_snapshots;
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::flow::{Balance, Rest, lost_at_least};
use tcpstat_tests::loopback::{Churn, Churned};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::Family;

use crate::budget::Listings;
use crate::loss::Loss;

/// Threads of each family, which make eight.
const THREADS: usize = 4;

/// Time between two scrapes. Each may wake the tracker, which looks for itself every second: scraping
/// faster than it ever is in life would have it heal faster too.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(250);

/// What is left in TIME_WAIT at most. Its sockets end a minute after the storm, and would be all that
/// moves then.
const MOST_TIME_WAITS: u32 = 1_000;

/// A gauge that was below zero would be shown as one near 2^64.
const MORE_THAN_EVER: u64 = 1_000_000;

/// A storm that has passed.
pub(crate) struct Storm {
    /// Who saw it.
    pub(crate) exporter: Exporter,
    /// How long it lasted.
    pub(crate) lasted: Duration,
    /// Transitions that its connections made.
    pub(crate) made: u64,
    /// What the counted ones lack, gauge by gauge; what balances is left out.
    pub(crate) imbalance: Balance,
    /// The same in figures.
    pub(crate) loss: Loss,
    /// What was listed while it lasted.
    pub(crate) listings: Listings,
    /// What was still not as in `/proc` when the wait for it ended.
    pub(crate) left: String,
}

impl Storm {
    /// Starts an exporter, and has eight threads connect, accept and close in both families, every
    /// second connection by a reset; an hour lies between two snapshots, so that nothing is healed
    /// but what is noticed. Then waits until the exporter tells what `/proc` shows.
    pub(crate) fn rage(namespace: &Namespace, args: &[&str], duration: Duration) -> Result<Self> {
        namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", MOST_TIME_WAITS)?;
        let mut all = vec!["--snapshot-interval=1h", "--log.level=debug"];
        all.extend(args);
        let mut exporter = Exporter::start(&all)?;
        let before = Rest::await_with(&mut exporter)?;
        let mut listings = Listings::default();
        listings.see(&exporter.scrape()?)?;

        let started = Instant::now();
        let made = churn(started + duration, || {
            let scrape = exporter.scrape()?;
            let told = scrape.connections()?;
            assert!(told.values().all(|count| *count < MORE_THAN_EVER), "{told:?}");
            listings.see(&scrape)
        })?;
        let lasted = started.elapsed();
        let (healed, left) = heal(&mut exporter)?;

        let after = Rest::await_with(&mut exporter)?;
        let mut imbalance = after.imbalance_since(&before);
        imbalance.retain(|_, difference| *difference != 0);
        let events = after.counted_since(&before);
        let lost = lost_at_least(&imbalance).max(made.saturating_sub(events));
        let loss = Loss::of(&exporter.scrape()?, events, lost, healed)?;
        Ok(Self { exporter, lasted, made, imbalance, loss, listings, left })
    }
}

/// Makes connections until `end`, and scrapes meanwhile. The number of transitions they made, which
/// their number alone decides: each closed in order makes the same number of them in whatever order
/// its segments come.
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

/// Waits until the exporter tells what `/proc` shows and says that it is right; how long that took,
/// or what was still missing after [`DEADLINE`].
fn heal(exporter: &mut Exporter) -> Result<(Option<Duration>, String)> {
    let quiet = Instant::now();
    loop {
        let consistent = exporter.scrape()?.value("tcpstat_consistent", &[])? == 1.0;
        let left = match difference_between_snapshots(exporter)? {
            None if consistent => return Ok((Some(quiet.elapsed()), String::new())),
            None => "the exporter says that it is not consistent".to_owned(),
            Some(difference) => difference,
        };
        if quiet.elapsed() > DEADLINE {
            return Ok((None, left));
        }
        sleep(SCRAPE_INTERVAL);
    }
}
