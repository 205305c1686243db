//! Which source lists the sockets, and how often that can be afforded: decisions without I/O.

use std::time::Duration;

use crate::snapshot::SnapshotSource;

/// Which source takes the snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceChoice {
    /// /proc while a snapshot takes less than 1 % of the interval, else the BPF iterator. If that takes
    /// longer too, the interval grows.
    Auto,
    /// /proc/net/tcp and tcp6.
    Procfs,
    /// The BPF iterator over TCP sockets.
    Iter,
}

/// What listings have cost, and what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    choice: SourceChoice,
    /// The interval that was asked for.
    interval: Duration,
    /// A listing may take one part in this of the interval.
    share: u32,
    /// Sockets and time of the last listing by procfs.
    procfs: Option<(u64, Duration)>,
    /// Time of the last listing.
    last: Duration,
}

/// What procfs takes before it has been tried: so much for its hash table, so much for a socket.
const TABLE: Duration = Duration::from_millis(30);
const ROW: Duration = Duration::from_micros(2);

impl Pace {
    /// With a tracer, listings are a check and take 1 % of the time at most; without one they are all
    /// there is, and take a tenth.
    pub(super) fn new(choice: SourceChoice, interval: Duration, traced: bool) -> Self {
        let share = if traced { 100 } else { 10 };
        Self { choice, interval, share, procfs: None, last: Duration::ZERO }
    }

    /// What was asked for.
    pub(super) fn choice(&self) -> SourceChoice {
        self.choice
    }

    /// The source to list about so many `sockets` with.
    pub(super) fn source(&self, sockets: u64) -> SnapshotSource {
        match self.choice {
            SourceChoice::Iter => SnapshotSource::Iter,
            SourceChoice::Auto if self.expected(sockets) * self.share > self.interval => {
                SnapshotSource::Iter
            }
            SourceChoice::Procfs | SourceChoice::Auto => SnapshotSource::Procfs,
        }
    }

    /// Notes what a listing took.
    pub(super) fn took(&mut self, source: SnapshotSource, rows: u64, duration: Duration) {
        self.last = duration;
        if source == SnapshotSource::Procfs {
            self.procfs = Some((rows, duration));
        }
    }

    /// The time between two listings: what was asked for, or what the last one allows.
    ///
    /// Whoever names a source has the interval that he asked for.
    pub(super) fn interval(&self) -> Duration {
        match self.choice {
            SourceChoice::Auto => self.interval.max(self.last * self.share),
            SourceChoice::Procfs | SourceChoice::Iter => self.interval,
        }
    }

    /// What procfs would take for so many sockets, by its last listing.
    fn expected(&self, sockets: u64) -> Duration {
        let sockets = u32::try_from(sockets).unwrap_or(u32::MAX);
        let Some((rows, duration)) = self.procfs else { return TABLE + ROW * sockets };
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        // What it took for the table is in the duration: only the difference is reckoned by the row.
        let fewer = rows.saturating_sub(sockets);
        (duration + ROW * sockets.saturating_sub(rows)).saturating_sub(ROW * fewer).max(TABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(15);

    fn pace(choice: SourceChoice) -> Pace {
        Pace::new(choice, INTERVAL, true)
    }

    #[test]
    fn few_sockets_are_listed_by_procfs_and_many_by_the_iterator_from_the_first_listing_on() {
        assert_eq!(pace(SourceChoice::Auto).source(1000), SnapshotSource::Procfs);
        assert_eq!(pace(SourceChoice::Auto).source(1_000_000), SnapshotSource::Iter);
    }

    #[test]
    fn a_listing_by_procfs_that_took_more_than_one_percent_of_the_interval_was_the_last() {
        let mut pace = pace(SourceChoice::Auto);
        pace.took(SnapshotSource::Procfs, 1000, INTERVAL / 100);
        assert_eq!(pace.source(1000), SnapshotSource::Procfs);
        pace.took(SnapshotSource::Procfs, 1000, INTERVAL / 99);
        assert_eq!(pace.source(1000), SnapshotSource::Iter);
    }

    #[test]
    fn procfs_comes_back_when_the_sockets_have_gone() {
        let mut pace = pace(SourceChoice::Auto);
        pace.took(SnapshotSource::Procfs, 200_000, Duration::from_millis(400));
        pace.took(SnapshotSource::Iter, 200_000, Duration::from_millis(80));
        assert_eq!(pace.source(200_000), SnapshotSource::Iter);
        assert_eq!(pace.source(20_000), SnapshotSource::Procfs);
    }

    #[test]
    fn the_interval_stretches_to_a_hundred_listings_where_none_is_cheap_and_none_was_named() {
        let slow = Duration::from_millis(400);
        let stretched = |choice, traced| {
            let mut pace = Pace::new(choice, INTERVAL, traced);
            pace.took(SnapshotSource::Iter, 1_000_000, slow);
            pace.interval()
        };
        assert_eq!(stretched(SourceChoice::Auto, true), slow * 100);
        assert_eq!(stretched(SourceChoice::Auto, false), INTERVAL);
        assert_eq!(stretched(SourceChoice::Iter, true), INTERVAL);
        assert_eq!(pace(SourceChoice::Auto).interval(), INTERVAL);
    }
}
