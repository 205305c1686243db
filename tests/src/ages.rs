//! How long sockets are in CLOSE_WAIT: what the metrics say, and what the test's own clock says.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::exporter::Exporter;
use crate::exposition::Scrape;
use crate::flow::transitions;
use crate::histogram::Histogram;
use crate::loopback::Pairs;
use crate::tcp::{Family, State};

/// The kernel measures in ticks of at most 10 ms (CONFIG_HZ is 100 or more), and a CPU can see a tick late: seconds.
pub const TICKS: f64 = 0.05;

/// The metrics of ages at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Ages {
    /// `tcpstat_close_wait_oldest_seconds`.
    pub oldest: f64,
    /// `tcpstat_close_wait_aged_connections`, for a minute, five, and an hour.
    pub older_than: [u64; 3],
}

/// `tcpstat_close_wait_silence_seconds`.
///
/// # Errors
/// As [`Histogram::of`].
pub fn silences(scrape: &Scrape) -> Result<Histogram> {
    Histogram::of(scrape, "tcpstat_close_wait_silence_seconds", &[])
}

/// Fails unless each transition out of CLOSE_WAIT since the start has a silence.
///
/// # Errors
/// Names both numbers.
pub fn ensure_a_silence_for_each_exit(scrape: &Scrape) -> Result<()> {
    let transitions = transitions(scrape)?.into_iter();
    let exits = transitions.filter(|((_, from, _), _)| *from == State::CloseWait);
    let exits: u64 = exits.map(|(_, count)| count).sum();
    let silences = silences(scrape)?;
    ensure!(silences.count == exits, "{exits} sockets left CLOSE_WAIT: {silences:?}");
    Ok(())
}

impl Ages {
    /// Reads a scrape.
    ///
    /// # Errors
    /// Fails if a sample is missing.
    pub fn of(scrape: &Scrape) -> Result<Self> {
        let older =
            |word| scrape.count("tcpstat_close_wait_aged_connections", &[("older_than", word)]);
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

/// Sockets in CLOSE_WAIT over loopback: the second one of each pair. Their peers have a descriptor and acknowledge.
///
/// # Errors
/// Those of [`Pairs::connect`] and [`Pairs::half_close_clients`].
pub fn half_closed(sockets: usize, family: Family) -> Result<(Entered, Pairs)> {
    let pairs = Pairs::connect(sockets, family)?;
    let (entered, ()) = Entered::during(|| pairs.half_close_clients())?;
    Ok((entered, pairs))
}
