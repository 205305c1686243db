//! How long sockets are in the states of `--dwell`: what the metrics say, and what the test's own clock says.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::exposition::{Sample, Scrape};

/// A dwell is rounded down to microseconds, and the sum is shown with as many digits.
const ROUNDING: f64 = 2e-6;

/// `tcpstat_dwell_seconds` of one state.
#[derive(Clone, Debug, PartialEq)]
pub struct Dwells {
    /// Upper bounds, and the sockets at or below each of them. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The sum in seconds.
    pub sum: f64,
    /// Number of sockets.
    pub count: u64,
}

impl Dwells {
    /// Reads those of a state; buckets, sum and count must fit one another.
    ///
    /// # Errors
    /// Fails if they do not, and if a sample is missing.
    pub fn of(scrape: &Scrape, state: &str) -> Result<Self> {
        let labels = [("state", state)];
        let is_of = |value: Option<&String>| value.is_some_and(|value| value == state);
        let buckets = scrape.family("tcpstat_dwell_seconds_bucket").into_iter();
        let buckets = buckets.filter(|sample| is_of(sample.labels.get("state"))).map(|sample| {
            let bound = sample.labels.get("le").context("no label le")?.parse::<f64>()?;
            Ok((bound, sample.count().context("not a count")?))
        });
        let buckets = buckets.collect::<Result<Vec<_>>>()?;
        let sum = scrape.value("tcpstat_dwell_seconds_sum", &labels)?;
        let shown = scrape.value("tcpstat_dwell_seconds_count", &labels)?;
        let count = buckets.last().context("no bucket")?.1;
        let dwells = Self { buckets, sum, count };
        let grows = dwells.buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1);
        let last = dwells.buckets.last().is_some_and(|last| last.0.is_infinite());
        ensure!(grows && last && format!("{shown}") == format!("{count}"), "{shown}: {dwells:?}");
        Ok(dwells)
    }

    /// Waits until so many sockets have left the state since `earlier`.
    ///
    /// # Errors
    /// Fails if they have not within [`DEADLINE`].
    pub fn await_since(
        exporter: &mut Exporter,
        state: &str,
        earlier: &Self,
        sockets: u64,
    ) -> Result<Self> {
        wait_until("end of a dwell", DEADLINE, || {
            let since = Self::of(&exporter.scrape()?, state)?.since(earlier)?;
            Ok(if since.count >= sockets {
                Progress::Done(since)
            } else {
                Progress::NotYet(format!("{since:?}"))
            })
        })
    }

    /// What was counted since `earlier`.
    ///
    /// # Errors
    /// Fails if a count has fallen.
    pub fn since(&self, earlier: &Self) -> Result<Self> {
        let fallen = "a count has fallen";
        let buckets = self
            .buckets
            .iter()
            .zip(&earlier.buckets)
            .map(|(now, before)| Ok((now.0, now.1.checked_sub(before.1).context(fallen)?)));
        Ok(Self {
            buckets: buckets.collect::<Result<_>>()?,
            sum: self.sum - earlier.sum,
            count: self.count.checked_sub(earlier.count).context(fallen)?,
        })
    }

    /// Fails unless these are the dwells of so many sockets, each of a length between these bounds.
    ///
    /// # Errors
    /// Names what is not.
    pub fn ensure_between(&self, sockets: u32, least: Duration, most: Duration) -> Result<()> {
        let (least, most) = (least.as_secs_f64() - ROUNDING, most.as_secs_f64() + ROUNDING);
        let fits = |&(bound, count): &(f64, u64)| {
            (most > bound || count == u64::from(sockets)) && (least <= bound || count == 0)
        };
        let mean = self.sum / f64::from(sockets);
        ensure!(
            self.count == u64::from(sockets)
                && self.buckets.iter().all(fits)
                && (least..=most).contains(&mean),
            "{sockets} sockets of {least} s to {most} s: {self:?}"
        );
        Ok(())
    }
}

/// `tcpstat_dwell_overflow_total`.
///
/// # Errors
/// Fails if it is missing.
pub fn overflow(scrape: &Scrape) -> Result<u64> {
    let sample = scrape.family("tcpstat_dwell_overflow_total").first().copied();
    sample.and_then(Sample::count).context("no tcpstat_dwell_overflow_total")
}

/// How many entries were removed, by the exporter's log at level debug.
///
/// # Errors
/// Fails if the log has another form.
pub fn removed(log: &str) -> Result<u64> {
    let lines = log.lines().filter(|line| line.contains("removed dwells of sockets"));
    let numbers = lines.map(|line| {
        let (_, rest) = line.split_once("removed=").context("no number")?;
        Ok(rest.split_whitespace().next().context("no number")?.parse::<u64>()?)
    });
    Ok(numbers.collect::<Result<Vec<_>>>()?.into_iter().sum())
}

/// The numbers of entries of the hash maps that a process has.
///
/// # Errors
/// Fails if its descriptors cannot be read.
pub fn hash_map_entries(pid: u32) -> Result<Vec<u64>> {
    /// `BPF_MAP_TYPE_HASH`
    const HASH: u64 = 1;
    let mut sizes = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor can be closed meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let number = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
        };
        if number("map_type:") == Some(HASH) {
            sizes.push(number("max_entries:").context("no max_entries")?);
        }
    }
    Ok(sizes)
}
