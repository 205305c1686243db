//! What listings may take of the time while sockets move: a tenth.
//!
//! That is counted, not timed: whatever the machine's pace, a reconcile must be followed by ten times
//! as long without one as its listing took. So of the reconciles of a storm all but the last have ten
//! times their durations within the storm's.

use std::time::Duration;

use anyhow::{Context, Result};
use tcpstat_tests::exposition::{Sample, Scrape};

/// One part in this of the time.
const BUDGET: f64 = 10.0;

/// The listings that scrapes have told of.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    reconciles: Option<u64>,
    /// Durations of all, and of the longest.
    seconds: f64,
    longest: f64,
}

impl Listings {
    /// Takes note of one scrape. What came before the first is left out.
    pub(crate) fn see(&mut self, scrape: &Scrape) -> Result<()> {
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

    /// Fails when they took more than their part of a storm that lasted so long.
    pub(crate) fn assert_within_budget(&self, lasted: Duration) {
        let most = lasted.as_secs_f64() / BUDGET + self.longest;
        println!("listings: {:.3} s of {most:.3} s", self.seconds);
        assert!(self.seconds <= most, "{self:?} in {lasted:?}");
    }
}
