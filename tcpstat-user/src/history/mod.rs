//! The last ten minutes, one sample each second, in a ring of bounded size.
//!
//! Plain data: no I/O, no clock. Time is a parameter, by two clocks: the host's uptime, which never steps and
//! measures every interval, and the wall clock, which people read.

mod peak;
mod sample;
mod scopes;

use std::{cmp::Ordering, collections::VecDeque};

pub use peak::Peak;
pub use sample::Moment;
pub(crate) use sample::{Rates, Sample};
pub(crate) use scopes::{ScopeKey, ScopeSample, ScopesHistory};

/// Time between two samples, in milliseconds.
pub(crate) const INTERVAL_MS: u64 = 1_000;

/// Time that the ring covers, in milliseconds of uptime.
pub(crate) const SPAN_MS: u64 = 10 * 60 * 1_000;

/// Maximum number of samples in the ring.
pub(crate) const CAPACITY: usize = (SPAN_MS / INTERVAL_MS) as usize;

// The ring takes less than 400 KB.
const _: () = assert!(CAPACITY * size_of::<Sample>() < 400_000);

/// The last samples, in the order of their uptime.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
}

impl History {
    /// Adds the newest sample, and drops the samples that are [`SPAN_MS`] older or more.
    ///
    /// A sample with the same uptime replaces the last one. A sample with a lower uptime is of another
    /// boot, and replaces all.
    pub(crate) fn push(&mut self, sample: Sample) {
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

    /// The newest sample; `None` before the first.
    pub(crate) fn newest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// All samples, oldest first.
    pub(crate) fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> + ExactSizeIterator {
        self.samples.iter()
    }

    /// The rates between the last two samples; `None` if they are unknown.
    pub(crate) fn rates(&self) -> Option<Rates> {
        let mut newest_first = self.samples.iter().rev();
        let (later, earlier) = (newest_first.next()?, newest_first.next()?);
        Rates::between(earlier, later)
    }

    /// The time of `sample`, by the wall clock of the newest sample, in milliseconds since the epoch. So
    /// times ascend and keep their distances even if the clock has stepped between the samples.
    pub(crate) fn unix_ms(&self, sample: &Sample) -> u64 {
        let newest = self.newest().unwrap_or(sample).at;
        newest.unix_ms.saturating_sub(newest.uptime_ms.saturating_sub(sample.at.uptime_ms))
    }
}

#[cfg(test)]
mod tests;
