//! One pass over all sockets, rewound to the moment it began where the event log can tell.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use tracing::debug;

use super::SnapshotError;
use crate::{
    clock,
    history::Moment,
    kernel::{EventLog, IterError, SocketIterator},
    ledger::{audit::RewoundSnapshot, rewind::Rewind},
    procfs::{Procfs, ProcfsError},
    snapshot::{BrokenRow, Identity, Kind, Row, RowSink, SnapshotSource, Tally, Tuple},
    states::{Hooks, Object},
};

/// What a pass found.
#[derive(Debug)]
pub struct Snapshot {
    /// Where the rows came from.
    pub source: SnapshotSource,
    /// What was listed.
    pub tally: Tally,
    /// Rows that did not parse.
    pub broken_rows: u64,
    /// The first of them: file, line, field and value.
    pub first_broken: Option<String>,
    /// How long it took.
    pub duration: Duration,
    /// When it ended.
    pub finished: Moment,
}

/// Lists every socket that `procfs` shows.
///
/// # Errors
/// Those of [`Procfs::each_socket`].
pub fn take(procfs: &Procfs) -> Result<Snapshot, ProcfsError> {
    alone(SnapshotSource::Procfs, |rows| procfs.each_socket(rows))
}

/// Lists every socket that the iterator shows.
///
/// # Errors
/// Those of [`SocketIterator::each_socket`].
pub fn take_by_iterator(iterator: &mut SocketIterator) -> Result<Snapshot, IterError> {
    alone(SnapshotSource::Iter, |rows| iterator.each_socket(rows))
}

/// Adds up the rows that `list` hands over.
///
/// # Errors
/// That of `list`.
fn alone<E>(
    source: SnapshotSource,
    list: impl FnOnce(&mut Rows) -> Result<(), E>,
) -> Result<Snapshot, E> {
    let started = Instant::now();
    let mut rows = Rows::default();
    list(&mut rows)?;
    Ok(rows.finish(source, started))
}

/// Adds up the rows that `list` hands over, and rewinds them to the moment when the log opened.
///
/// A second thread empties the log meanwhile: one read(2) of an empty table takes the kernel tens of
/// milliseconds, in which a busy host fills any buffer.
///
/// # Errors
/// That of `list`, [`SnapshotError::Log`], or [`SnapshotError::Thread`].
pub(super) fn logged<R: Rewind, E: Into<SnapshotError>>(
    source: SnapshotSource,
    log: &mut EventLog,
    hooks: Hooks,
    list: impl FnOnce(&mut LoggedRows<R>) -> Result<(), E>,
) -> Result<(Snapshot, RewoundSnapshot), SnapshotError> {
    let started = Instant::now();
    let mut log = log.open()?;
    let cut = log.cut().clone();
    let mut logged = LoggedRows { hooks, rows: Rows::default(), rewind: R::default() };
    let listing_ended = AtomicBool::new(false);
    let (listed, mut rewind) = thread::scope(|scope| {
        let drain = thread::Builder::new().name("drain".into()).spawn_scoped(scope, || {
            let mut rewind = R::default();
            while !listing_ended.load(Ordering::Relaxed) {
                log.drain(|event| rewind.event(&event));
                thread::sleep(DRAIN_INTERVAL);
            }
            rewind
        });
        let drain = drain.map_err(SnapshotError::Thread)?;
        let listed = list(&mut logged);
        listing_ended.store(true, Ordering::Relaxed);
        // A panic there leaves a log that is known to be incomplete.
        Ok::<_, SnapshotError>((listed, drain.join().unwrap_or_default()))
    })?;
    let closed = log.close(|event| rewind.event(&event));
    listed.map_err(Into::into)?;
    let LoggedRows { rows, rewind: rewind_rows, .. } = logged;
    let listing = RewoundSnapshot {
        tally: rows.tally,
        cut,
        at_cut: rewind.with_rows_of(rewind_rows).at_cut(),
        log_complete: closed.complete(),
    };
    let source_word = source.word();
    debug!(source_word, rows = rows.tally.rows, doubts = listing.at_cut.doubts, log = ?closed, "listed");
    Ok((rows.finish(source, started), listing))
}

/// A host at ten million events a second fills a third of the log's buffer in this time.
const DRAIN_INTERVAL: Duration = Duration::from_millis(1);

/// Adds up rows as they come.
#[derive(Default)]
pub(super) struct Rows {
    tally: Tally,
    seam: Seam,
    broken: u64,
    first_broken: Option<String>,
}

impl Rows {
    fn finish(self, source: SnapshotSource, started: Instant) -> Snapshot {
        Snapshot {
            source,
            tally: self.tally,
            broken_rows: self.broken,
            first_broken: self.first_broken,
            duration: started.elapsed(),
            finished: clock::now(),
        }
    }
}

impl RowSink for Rows {
    fn listed(&mut self) {
        self.seam.begin();
    }

    fn row(&mut self, row: &Row) {
        if !self.seam.doubles(row) {
            self.tally.add(row);
        }
    }

    fn broken(&mut self, row: BrokenRow<'_>) {
        self.broken += 1;
        self.first_broken.get_or_insert_with(|| {
            let BrokenRow { path, line, field, value } = row;
            format!("{} line {line}: invalid {field}: {value:?}", path.display())
        });
    }
}

/// [`Rows`] that keep what the rewind needs.
pub(super) struct LoggedRows<R> {
    /// What the log tells of; other rows are not rewound.
    hooks: Hooks,
    rows: Rows,
    rewind: R,
}

impl<R: Rewind> RowSink for LoggedRows<R> {
    fn listed(&mut self) {
        self.rows.listed();
    }

    fn row(&mut self, row: &Row) {
        if self.rows.seam.doubles(row) {
            return;
        }
        let logged = self.hooks.counts(Object::in_state(row.kind.state()));
        if !logged || self.rewind.row(row) {
            self.rows.tally.add(row);
        }
    }

    fn broken(&mut self, row: BrokenRow<'_>) {
        self.rows.broken(row);
    }
}

/// Recognises rows that a listing shows twice.
///
/// The kernel lets go of a bucket between two reads and finds its place again by counting: sockets
/// that joined the bucket meanwhile push rows that were shown behind the seam. They come first after
/// it, and tuple and inode name the socket. Rows that carry an address need none of this.
#[derive(Default)]
struct Seam {
    /// The last rows, in a ring.
    before: [Option<(Tuple, Kind, u64)>; Self::REACH],
    next: usize,
    rows_after: usize,
}

impl Seam {
    /// More sockets than this joining one bucket between two reads are not expected.
    const REACH: usize = 8;

    fn begin(&mut self) {
        self.rows_after = 0;
    }

    fn doubles(&mut self, row: &Row) -> bool {
        let Identity::Tuple { tuple, inode } = row.identity else { return false };
        self.rows_after += 1;
        // The inode first: it tells nearly all apart.
        let same = |before: &(Tuple, Kind, u64)| {
            before.2 == inode && before.0 == tuple && same_object(before.1, row.kind)
        };
        if self.rows_after <= Self::REACH && self.before.iter().flatten().any(same) {
            return true;
        }
        self.before[self.next] = Some((tuple, row.kind, inode));
        self.next = (self.next + 1) % Self::REACH;
        false
    }
}

/// Whether two rows with one tuple and inode can show one kernel object, which may have moved.
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
        Row { family: Family::Ipv4, identity, kind, receive_queue: 0, send_queue: 0 }
    }

    const ESTABLISHED: Kind = Kind::Full(State::Established);

    #[test]
    fn a_row_shown_again_after_a_seam_counts_once() {
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
    fn listeners_that_share_a_tuple_count_each() {
        let mut rows = Rows::default();
        rows.listed();
        rows.row(&row(80, Kind::Full(State::Listen), 11));
        rows.listed();
        rows.row(&row(80, Kind::Full(State::Listen), 12));
        assert_eq!(rows.tally.rows, 2);
    }

    #[test]
    fn a_mini_socket_with_the_tuple_of_a_full_one_counts_too() {
        let mut rows = Rows::default();
        rows.listed();
        rows.row(&row(1, Kind::TimeWait, 0));
        rows.listed();
        rows.row(&row(1, ESTABLISHED, 0));
        assert_eq!(rows.tally.rows, 2);
    }
}
