//! The last ten minutes, one sample a second, in a ring of bounded size.
//!
//! Plain data: no I/O, no clock. Time comes in as a value, by two clocks: the host's uptime, which never
//! steps and which every interval is measured by, and the wall clock, which tells people when it was.

mod sample;

use std::{cmp::Ordering, collections::VecDeque};

pub use sample::{Moment, Rates, Sample};

/// Milliseconds from one sample to the next.
pub const INTERVAL_MS: u64 = 1_000;

/// How far back the ring reaches, in milliseconds of uptime.
pub const SPAN_MS: u64 = 10 * 60 * 1_000;

/// Samples in the ring at most.
pub const CAPACITY: usize = (SPAN_MS / INTERVAL_MS) as usize;

// All of it stays below 400 KB.
const _: () = assert!(CAPACITY * size_of::<Sample>() < 400_000);

/// The last samples, in the order of their uptime.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
}

impl History {
    /// Adds the newest sample, and drops what is older than [`SPAN_MS`] before it.
    ///
    /// One of the same moment takes the place of the last. One of an earlier uptime is of another boot,
    /// and drops all that is there.
    pub fn push(&mut self, sample: Sample) {
        if let Some(newest) = self.newest() {
            match sample.at.uptime_ms.cmp(&newest.at.uptime_ms) {
                Ordering::Less => self.samples.clear(),
                Ordering::Equal => drop(self.samples.pop_back()),
                Ordering::Greater => {}
            }
        }
        let oldest_kept = sample.at.uptime_ms.saturating_sub(SPAN_MS);
        while let Some(oldest) = self.samples.front()
            && (oldest.at.uptime_ms <= oldest_kept || self.samples.len() == CAPACITY)
        {
            self.samples.pop_front();
        }
        if self.samples.capacity() == 0 {
            self.samples.reserve_exact(CAPACITY);
        }
        self.samples.push_back(sample);
    }

    /// The newest sample.
    #[must_use]
    pub fn newest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// Every sample, the oldest first.
    #[must_use]
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> + ExactSizeIterator {
        self.samples.iter()
    }

    /// Every two samples that follow one another, with the rates between them: `None` where they cannot
    /// be told.
    pub fn intervals(&self) -> impl Iterator<Item = (&Sample, &Sample, Option<Rates>)> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs.map(|(earlier, later)| (earlier, later, Rates::between(earlier, later)))
    }

    /// The rates between the last two samples.
    #[must_use]
    pub fn rates(&self) -> Option<Rates> {
        let mut newest_first = self.samples.iter().rev();
        let (later, earlier) = (newest_first.next()?, newest_first.next()?);
        Rates::between(earlier, later)
    }

    /// When `sample` was taken by the wall clock as it stands at the newest sample, in milliseconds
    /// since the epoch: whatever the clock has stepped by meanwhile, times ascend and keep their
    /// distances.
    #[must_use]
    pub fn unix_ms(&self, sample: &Sample) -> u64 {
        let newest = self.newest().unwrap_or(sample).at;
        newest.unix_ms.saturating_sub(newest.uptime_ms.saturating_sub(sample.at.uptime_ms))
    }
}

#[cfg(test)]
mod tests;
