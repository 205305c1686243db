//! How long sockets are in CLOSE_WAIT: what the metrics say, and what the test's own clock says.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::exporter::Exporter;
use crate::exposition::{Sample, Scrape};
use crate::flow::transitions;
use crate::tcp::State;

/// The kernel measures in ticks of at most 10 ms (CONFIG_HZ is 100 or more), and a CPU can see a tick late.
const TICKS: f64 = 0.05;

/// `tcpstat_close_wait_silence_seconds`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Silences {
    /// Upper bounds, and the sockets at or below each of them. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The sum in seconds.
    pub sum: f64,
    /// Number of sockets.
    pub count: u64,
}

/// The metrics of ages at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Ages {
    /// `tcpstat_close_wait_oldest_seconds`.
    pub oldest: f64,
    /// `tcpstat_close_wait_aged_connections`, for a minute, five, and an hour.
    pub older_than: [u64; 3],
}

impl Silences {
    /// Reads a scrape, in which buckets, sum and count must fit one another.
    ///
    /// # Errors
    /// Fails if they do not, and if a sample is missing.
    pub fn of(scrape: &Scrape) -> Result<Self> {
        let name = |suffix: &str| format!("tcpstat_close_wait_silence_seconds_{suffix}");
        let buckets = scrape.family(&name("bucket")).into_iter().map(|sample| {
            let bound = sample.labels.get("le").context("no label le")?.parse::<f64>()?;
            Ok((bound, sample.count().context("not a count")?))
        });
        let buckets = buckets.collect::<Result<Vec<_>>>()?;
        let (sum, count) = (scrape.value(&name("sum"), &[])?, count(scrape, &name("count"), &[])?);
        let silences = Self { buckets, sum, count };
        let grows = silences.buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1);
        let last = silences.buckets.last().copied();
        ensure!(grows && last == Some((f64::INFINITY, silences.count)), "{silences:?}");
        Ok(silences)
    }

    /// Fails unless each transition out of CLOSE_WAIT since the start has a silence.
    ///
    /// # Errors
    /// Names both numbers.
    pub fn ensure_one_for_each_exit(scrape: &Scrape) -> Result<()> {
        let transitions = transitions(scrape)?.into_iter();
        let exits = transitions.filter(|((_, from, _), _)| *from == State::CloseWait);
        let exits: u64 = exits.map(|(_, count)| count).sum();
        let silences = Self::of(scrape)?;
        ensure!(silences.count == exits, "{exits} sockets left CLOSE_WAIT: {silences:?}");
        Ok(())
    }

    /// What was counted since `earlier`.
    ///
    /// # Errors
    /// Fails if a count has fallen.
    pub fn since(&self, earlier: &Self) -> Result<Self> {
        let buckets = self.buckets.iter().zip(&earlier.buckets).map(|(now, before)| {
            let count = now.1.checked_sub(before.1).context("a bucket has fallen")?;
            Ok((now.0, count))
        });
        Ok(Self {
            buckets: buckets.collect::<Result<_>>()?,
            sum: self.sum - earlier.sum,
            count: self.count - earlier.count,
        })
    }

    /// Fails unless these are the silences of so many sockets, each of a length between these bounds.
    ///
    /// # Errors
    /// Names what is not.
    pub fn ensure_between(&self, sockets: u32, least: Duration, most: Duration) -> Result<()> {
        let (least, most) = (least.as_secs_f64() - TICKS, most.as_secs_f64() + TICKS);
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

impl Ages {
    /// Reads a scrape.
    ///
    /// # Errors
    /// Fails if a sample is missing.
    pub fn of(scrape: &Scrape) -> Result<Self> {
        let older =
            |word| count(scrape, "tcpstat_close_wait_aged_connections", &[("older_than", word)]);
        Ok(Self {
            oldest: scrape.value("tcpstat_close_wait_oldest_seconds", &[])?,
            older_than: [older("1m")?, older("5m")?, older("1h")?],
        })
    }

    /// Scrapes the exporter.
    ///
    /// # Errors
    /// As [`Ages::of`].
    pub fn read(exporter: &mut Exporter) -> Result<Self> {
        Self::of(&exporter.scrape()?)
    }
}

/// The whole number of the one sample that has these labels.
fn count(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
    scrape.value(name, labels)?;
    let has = |sample: &&Sample| {
        labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|is| is == value))
    };
    let sample = scrape.family(name).into_iter().find(has).context("no sample")?;
    sample.count().with_context(|| format!("not a count: {sample:?}"))
}

/// When sockets entered CLOSE_WAIT, by the test's clock.
#[derive(Clone, Copy, Debug)]
pub struct Entered {
    /// No socket was there before.
    pub earliest: Instant,
    /// All were there.
    pub latest: Instant,
}

impl Entered {
    /// Lets `enter` bring sockets into CLOSE_WAIT.
    ///
    /// # Errors
    /// Those of `enter`.
    pub fn during<T>(enter: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        let earliest = Instant::now();
        let entered = enter()?;
        Ok((Self { earliest, latest: Instant::now() }, entered))
    }

    /// Fails if `oldest` is more seconds than the sockets can have been there until now.
    ///
    /// # Errors
    /// Names both.
    pub fn ensure_not_older(&self, oldest: f64) -> Result<()> {
        let most = self.earliest.elapsed().as_secs_f64() + TICKS;
        ensure!(oldest <= most, "{oldest} s is shown after {most} s");
        Ok(())
    }
}

/// Whether `oldest` is at least this age.
#[must_use]
pub fn is_at_least(oldest: f64, age: Duration) -> bool {
    oldest >= age.as_secs_f64() - TICKS
}
