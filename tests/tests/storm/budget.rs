//! The time that snapshots may take while sockets change state: a tenth.
//!
//! The budget is counted, not timed, so the machine's speed does not matter: after a reconcile the exporter
//! waits ten times as long as its snapshot took. So all reconciles of a storm but the last have ten times
//! their durations within the storm.

use std::time::Duration;

use anyhow::{Context, Result};
use tcpstat_tests::exposition::{Sample, Scrape};

/// One part in this of the time.
const BUDGET: f64 = 10.0;

/// The durations of the snapshots that scrapes have reported.
#[derive(Debug, Default)]
pub(crate) struct SnapshotTimes {
    reconciles: Option<u64>,
    /// Of all snapshots.
    seconds: f64,
    longest: f64,
}

impl SnapshotTimes {
    /// Adds the snapshots since the scrape before. The first scrape adds none.
    pub(crate) fn add(&mut self, scrape: &Scrape) -> Result<()> {
        let samples = scrape.family("tcpstat_reconciles_total").into_iter();
        let counts: Option<Vec<_>> = samples.map(Sample::count).collect();
        let reconciles: u64 = counts.context("no counts of reconciles")?.iter().sum();
        let duration = scrape.value("tcpstat_snapshot_duration_seconds", &[])?;
        let before = self.reconciles.replace(reconciles).unwrap_or(reconciles);
        if reconciles > before {
            self.seconds += f64::from(u32::try_from(reconciles - before)?) * duration;
            self.longest = self.longest.max(duration);
        }
        Ok(())
    }

    /// Fails if the snapshots took more than their part of a storm of that length.
    pub(crate) fn assert_within_budget(&self, length: Duration) {
        let limit = length.as_secs_f64() / BUDGET + self.longest;
        println!("snapshots: {:.3} s of {limit:.3} s", self.seconds);
        assert!(self.seconds <= limit, "{self:?} in {length:?}");
    }
}
