//! Decides which source takes the next snapshot, and when, from what earlier snapshots have cost. No I/O.

use std::time::Duration;

use crate::snapshot::SnapshotSource;

/// Which source takes the snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceChoice {
    /// /proc while a snapshot takes less than 1 % of the interval, else the BPF iterator. If that takes
    /// longer too, the interval grows.
    Auto,
    /// /proc/net/tcp and tcp6.
    Procfs,
    /// The BPF iterator over TCP sockets.
    Iter,
}

/// What snapshots have cost.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    choice: SourceChoice,
    /// The configured interval.
    interval: Duration,
    /// A snapshot may take this fraction of the interval as CPU time: 1 / `share`.
    share: u32,
    /// Rows and CPU time of the last snapshot from procfs.
    procfs: Option<(u64, Duration)>,
    /// CPU time of the last snapshot.
    last: Duration,
}

/// Estimated time that procfs takes for the hash table, until it is measured.
const TABLE: Duration = Duration::from_millis(30);
/// Estimated time that procfs takes for each socket.
const ROW: Duration = Duration::from_micros(2);

impl Pace {
    /// With a tracer, snapshots are a check and take at most 1 % of the time. Without a tracer they are the
    /// only numbers, and take at most a tenth.
    pub(super) fn new(choice: SourceChoice, interval: Duration, traced: bool) -> Self {
        let share = if traced { 100 } else { 10 };
        Self { choice, interval, share, procfs: None, last: Duration::ZERO }
    }

    /// The source for the next snapshot, which will have about `sockets` rows.
    pub(super) fn source(&self, sockets: u64) -> SnapshotSource {
        match self.choice {
            SourceChoice::Iter => SnapshotSource::Iter,
            SourceChoice::Auto if self.expected(sockets) * self.share > self.interval => {
                SnapshotSource::Iter
            }
            SourceChoice::Procfs | SourceChoice::Auto => SnapshotSource::Procfs,
        }
    }

    /// Notes the rows and the CPU time of a snapshot. Not its duration: one that waits for a processor must not delay
    /// the next one by minutes.
    pub(super) fn record(&mut self, source: SnapshotSource, rows: u64, cpu: Duration) {
        self.last = cpu;
        if source == SnapshotSource::Procfs {
            self.procfs = Some((rows, cpu));
        }
    }

    /// The time between two snapshots: the configured interval, or more if the last snapshot took too much
    /// of it.
    ///
    /// A user who chooses a source gets the configured interval in any case.
    pub(super) fn interval(&self) -> Duration {
        match self.choice {
            SourceChoice::Auto => self.interval.max(self.last * self.share),
            SourceChoice::Procfs | SourceChoice::Iter => self.interval,
        }
    }

    /// How long procfs would take for `sockets`, estimated from its last snapshot.
    fn expected(&self, sockets: u64) -> Duration {
        let sockets = u32::try_from(sockets).unwrap_or(u32::MAX);
        let Some((rows, cpu)) = self.procfs else { return TABLE + ROW * sockets };
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        // The time includes the hash table: only the difference in rows is estimated.
        let fewer = rows.saturating_sub(sockets);
        (cpu + ROW * sockets.saturating_sub(rows)).saturating_sub(ROW * fewer).max(TABLE)
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
    fn the_first_snapshot_is_by_procfs_for_few_sockets_and_by_the_iterator_for_many() {
        assert_eq!(pace(SourceChoice::Auto).source(1000), SnapshotSource::Procfs);
        assert_eq!(pace(SourceChoice::Auto).source(1_000_000), SnapshotSource::Iter);
    }

    #[test]
    fn procfs_is_not_used_again_after_it_took_more_than_one_percent_of_the_interval() {
        let mut pace = pace(SourceChoice::Auto);
        pace.record(SnapshotSource::Procfs, 1000, INTERVAL / 100);
        assert_eq!(pace.source(1000), SnapshotSource::Procfs);
        pace.record(SnapshotSource::Procfs, 1000, INTERVAL / 99);
        assert_eq!(pace.source(1000), SnapshotSource::Iter);
    }

    #[test]
    fn procfs_is_used_again_when_there_are_fewer_sockets() {
        let mut pace = pace(SourceChoice::Auto);
        pace.record(SnapshotSource::Procfs, 200_000, Duration::from_millis(400));
        pace.record(SnapshotSource::Iter, 200_000, Duration::from_millis(80));
        assert_eq!(pace.source(200_000), SnapshotSource::Iter);
        assert_eq!(pace.source(20_000), SnapshotSource::Procfs);
    }

    #[test]
    fn the_interval_grows_to_a_hundred_snapshots_unless_the_user_chose_a_source() {
        let slow = Duration::from_millis(400);
        let stretched = |choice, traced| {
            let mut pace = Pace::new(choice, INTERVAL, traced);
            pace.record(SnapshotSource::Iter, 1_000_000, slow);
            pace.interval()
        };
        assert_eq!(stretched(SourceChoice::Auto, true), slow * 100);
        assert_eq!(stretched(SourceChoice::Auto, false), INTERVAL);
        assert_eq!(stretched(SourceChoice::Iter, true), INTERVAL);
        assert_eq!(pace(SourceChoice::Auto).interval(), INTERVAL);
    }
}
