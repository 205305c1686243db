//! A classic histogram of seconds, as a scrape shows it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::exposition::Scrape;

/// The sockets of one histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bounds, and the sockets at or below each of them. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The sum in seconds.
    pub sum: f64,
    /// Number of sockets.
    pub count: u64,
}

impl Histogram {
    /// Reads the one with this name and these labels; buckets, sum and count must fit one another.
    ///
    /// # Errors
    /// Fails if they do not, and if a sample is missing.
    pub fn of(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> Result<Self> {
        let name = |suffix: &str| format!("{name}_{suffix}");
        let buckets = scrape.family(&name("bucket")).into_iter();
        let buckets = buckets.filter(|sample| sample.has(labels)).map(|sample| {
            let bound = sample.labels.get("le").context("no label le")?.parse::<f64>()?;
            Ok((bound, sample.count().context("not a count")?))
        });
        let buckets = buckets.collect::<Result<Vec<_>>>()?;
        let sum = scrape.value(&name("sum"), labels)?;
        let count = scrape.count(&name("count"), labels)?;
        let histogram = Self { buckets, sum, count };
        let grows = histogram.buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1);
        let last = histogram.buckets.last().copied();
        ensure!(grows && last == Some((f64::INFINITY, count)), "{histogram:?}");
        Ok(histogram)
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

    /// Waits until `read` gives so many more sockets than `earlier` has, and returns these.
    ///
    /// # Errors
    /// Those of `read`, and if there are fewer after [`DEADLINE`].
    pub fn await_since(
        exporter: &mut Exporter,
        read: impl Fn(&Scrape) -> Result<Self>,
        earlier: &Self,
        sockets: u64,
    ) -> Result<Self> {
        wait_until("more sockets in a histogram", DEADLINE, || {
            let since = read(&exporter.scrape()?)?.since(earlier)?;
            Ok(if since.count >= sockets {
                Progress::Done(since)
            } else {
                Progress::NotYet(format!("{since:?}"))
            })
        })
    }

    /// Fails unless these are so many sockets, each of a time between these bounds, which may be shown as wrong by
    /// `tolerance` seconds.
    ///
    /// # Errors
    /// Names what is not.
    pub fn ensure_between(
        &self,
        sockets: u32,
        least: Duration,
        most: Duration,
        tolerance: f64,
    ) -> Result<()> {
        let (least, most) = (least.as_secs_f64() - tolerance, most.as_secs_f64() + tolerance);
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
