//! Adds up the rows of a snapshot, and drops rows that the kernel shows twice.

use std::time::Instant;

use super::Snapshot;
use crate::{
    clock,
    destinations::Destinations,
    ledger::rewind::{Rewind, ScopedRows},
    snapshot::{BrokenRow, Identity, Kind, Row, RowSink, SnapshotSource, Tally, Tuple},
    states::{Hooks, Object},
};

/// The sums of the rows so far.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) tally: Tally,
    /// `None` if destinations are not counted.
    destinations: Option<Destinations>,
    repeated: RepeatedRows,
    broken: u64,
    first_broken: Option<String>,
}

impl Rows {
    /// Counts destinations too, if there are any to count.
    pub(super) fn new(destinations: Option<Destinations>) -> Self {
        Self { destinations, ..Self::default() }
    }

    fn add(&mut self, row: &Row) {
        self.tally.add(row);
        if let Some(destinations) = &mut self.destinations {
            destinations.row(row);
        }
    }

    pub(super) fn finish(self, source: SnapshotSource, started: Instant) -> Snapshot {
        Snapshot {
            source,
            tally: self.tally,
            fullest: self.destinations.as_ref().map(Destinations::fullest),
            broken_rows: self.broken,
            first_broken: self.first_broken,
            duration: started.elapsed(),
            finished: clock::now(),
        }
    }
}

impl RowSink for Rows {
    fn listed(&mut self) {
        self.repeated.begin_read();
    }

    fn row(&mut self, row: &Row) {
        if !self.repeated.is_repeated(row) {
            self.add(row);
        }
    }

    fn broken(&mut self, row: BrokenRow<'_>) {
        self.broken += 1;
        self.first_broken.get_or_insert_with(|| row.to_string());
    }
}

/// [`Rows`] that are also given to the rewind.
pub(super) struct LoggedRows<R> {
    /// The hooks that count: rows of objects without a hook are not rewound.
    hooks: Hooks,
    pub(super) rows: Rows,
    pub(super) rewind: R,
    /// The rows by scope, if scopes are counted.
    pub(super) scoped: Option<ScopedRows>,
}

impl<R: Rewind> LoggedRows<R> {
    pub(super) fn new(
        hooks: Hooks,
        scoped: Option<ScopedRows>,
        destinations: Option<Destinations>,
    ) -> Self {
        Self { hooks, rows: Rows::new(destinations), rewind: R::default(), scoped }
    }
}

impl<R: Rewind> RowSink for LoggedRows<R> {
    fn listed(&mut self) {
        self.rows.listed();
    }

    fn row(&mut self, row: &Row) {
        if self.rows.repeated.is_repeated(row) {
            return;
        }
        let logged = self.hooks.counts(Object::in_state(row.kind.state()));
        if !logged || self.rewind.row(row) {
            self.rows.add(row);
            if let Some(scoped) = &mut self.scoped {
                scoped.row(row, R::row_id(row).filter(|_| logged));
            }
        }
    }

    fn broken(&mut self, row: BrokenRow<'_>) {
        self.rows.broken(row);
    }
}

/// Recognises rows of /proc/net/tcp that a snapshot shows twice.
///
/// The kernel unlocks a hash bucket between two reads, and finds its place again by counting sockets.
/// Sockets that joined the bucket meanwhile shift rows that were already shown to the beginning of the next
/// read. There a row with the tuple and inode of one of the last rows before is a repetition. Rows with an
/// address need no such check.
#[derive(Default)]
struct RepeatedRows {
    /// The last rows, in a ring.
    last: [Option<(Tuple, Kind, u64)>; Self::REACH],
    next: usize,
    /// Rows since the last read began.
    rows_of_read: usize,
}

impl RepeatedRows {
    /// At most this many sockets are expected to join one bucket between two reads.
    const REACH: usize = 8;

    fn begin_read(&mut self) {
        self.rows_of_read = 0;
    }

    fn is_repeated(&mut self, row: &Row) -> bool {
        let Identity::Tuple { tuple, inode } = row.identity else { return false };
        self.rows_of_read += 1;
        // The inode first: it differs for nearly all sockets.
        let same = |last: &(Tuple, Kind, u64)| {
            last.2 == inode && last.0 == tuple && same_object(last.1, row.kind)
        };
        if self.rows_of_read <= Self::REACH && self.last.iter().flatten().any(same) {
            return true;
        }
        self.last[self.next] = Some((tuple, row.kind, inode));
        self.next = (self.next + 1) % Self::REACH;
        false
    }
}

/// Whether two rows with the same tuple and inode can show one kernel object. Its state may have changed.
fn same_object(first: Kind, second: Kind) -> bool {
    std::mem::discriminant(&first) == std::mem::discriminant(&second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::{Family, State};

    fn row(number: u16, kind: Kind, inode: u64) -> Row {
        let tuple = Tuple {
            family: Family::Ipv4,
            saddr: [1; 16],
            sport: number,
            daddr: [2; 16],
            dport: 443,
        };
        let identity = Identity::Tuple { tuple, inode };
        Row {
            family: Family::Ipv4,
            identity,
            kind,
            receive_queue: 0,
            send_queue: 0,
            sport: number,
            cgroup: 0,
        }
    }

    const ESTABLISHED: Kind = Kind::Full(State::Established);

    #[test]
    fn a_row_that_the_next_read_repeats_counts_once() {
        let mut rows = Rows::default();
        rows.listed();
        rows.row(&row(1, ESTABLISHED, 11));
        rows.row(&row(2, ESTABLISHED, 12));
        rows.listed();
        rows.row(&row(2, Kind::Full(State::CloseWait), 12));
        rows.row(&row(3, ESTABLISHED, 13));
        assert_eq!(rows.tally.rows, 3);
    }

    #[test]
    fn each_listener_that_shares_a_tuple_counts() {
        let mut rows = Rows::default();
        rows.listed();
        rows.row(&row(80, Kind::Full(State::Listen), 11));
        rows.listed();
        rows.row(&row(80, Kind::Full(State::Listen), 12));
        assert_eq!(rows.tally.rows, 2);
    }

    #[test]
    fn a_mini_socket_with_the_tuple_of_a_full_socket_counts_too() {
        let mut rows = Rows::default();
        rows.listed();
        rows.row(&row(1, Kind::TimeWait, 0));
        rows.listed();
        rows.row(&row(1, ESTABLISHED, 0));
        assert_eq!(rows.tally.rows, 2);
    }
}
