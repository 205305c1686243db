//! Takes one snapshot: reads all rows of a source, and rewinds them if there is an event log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::debug;

use super::{
    SnapshotError,
    own_scopes::RewoundScopes,
    rows::{LoggedRows, Rows},
};
use crate::{
    destinations::{Destinations, FullestDestination},
    history::Moment,
    kernel::{Counters, EventLog, IterError, ScopeMaps, Slot, SocketIterator},
    ledger::{
        audit::RewoundSnapshot,
        rewind::{ByTuple, PortSet, Rewind, ScopedEvents, ScopedRows},
    },
    procfs::{Procfs, ProcfsError},
    snapshot::{SnapshotSource, Tally},
    states::Hooks,
    transitions::Event,
};

/// A snapshot as metrics and commands show it: the sums of all rows, and how they were read.
///
/// What the ledger is compared with is a [`RewoundSnapshot`].
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Where the rows came from.
    pub(crate) source: SnapshotSource,
    /// The sums of the rows.
    pub(crate) tally: Tally,
    /// `None` if destinations are not counted.
    pub(crate) fullest: Option<FullestDestination>,
    /// Number of rows that did not parse.
    pub(crate) broken_rows: u64,
    /// The first of them: file, line, field and value.
    pub(crate) first_broken: Option<String>,
    /// How long the snapshot took.
    pub(crate) duration: Duration,
    /// When the snapshot ended.
    pub(crate) finished: Moment,
}

/// Takes a snapshot from /proc/net/tcp and tcp6.
///
/// # Errors
/// Those of [`Procfs::each_socket`].
pub(crate) fn take(procfs: &Procfs) -> Result<Snapshot, ProcfsError> {
    unlogged(SnapshotSource::Procfs, None, |rows| procfs.each_socket(rows))
}

/// Takes a snapshot from the BPF iterator.
///
/// # Errors
/// Those of [`SocketIterator::each_socket`].
pub(crate) fn take_by_iterator(iterator: &mut SocketIterator) -> Result<Snapshot, IterError> {
    unlogged(SnapshotSource::Iter, None, |rows| iterator.each_socket(rows))
}

/// Adds up the rows that `list` passes on.
///
/// # Errors
/// That of `list`.
pub(super) fn unlogged<E>(
    source: SnapshotSource,
    destinations: Option<Destinations>,
    list: impl FnOnce(&mut Rows) -> Result<(), E>,
) -> Result<Snapshot, E> {
    let started = Instant::now();
    let mut rows = Rows::new(destinations);
    list(&mut rows)?;
    Ok(rows.finish(source, started))
}

/// The counters of scopes, and the ports that are counted.
pub(super) type CountedScopes<'a> = (&'a ScopeMaps, Arc<PortSet>);

/// A snapshot, and what the ledger is compared with.
#[derive(Debug)]
pub(super) struct Rewound {
    pub(super) snapshot: Snapshot,
    pub(super) all: RewoundSnapshot,
    /// The same by scope.
    pub(super) scopes: Option<RewoundScopes>,
    /// How many namespaces had got a slot from the tracer at the cut, or later.
    pub(super) netns_assigned: u64,
}

/// Adds up the rows that `list` passes on, and rewinds them to the moment when `log` opened for
/// `slot`.
///
/// Meanwhile a second thread empties the log: a single read(2) of an empty table keeps the kernel busy for
/// tens of milliseconds, in which a busy host fills any buffer.
///
/// # Errors
/// That of `list`, [`SnapshotError::Log`], or [`SnapshotError::Thread`].
pub(super) fn logged<R: Rewind, E: Into<SnapshotError>>(
    source: SnapshotSource,
    log: &mut EventLog,
    slot: Slot,
    hooks: Hooks,
    scopes: Option<CountedScopes<'_>>,
    destinations: Option<Destinations>,
    list: impl FnOnce(&mut LoggedRows<R>) -> Result<(), E>,
) -> Result<Rewound, SnapshotError> {
    let started = Instant::now();
    let (maps, ports) = scopes.unzip();
    let scope_bank = maps.map(ScopeMaps::logged_bank);
    let mut log = log.open(slot)?;
    let cut = log.cut().clone();
    let scope_cut = maps.zip(scope_bank).map(|(maps, bank)| maps.cut(bank));
    let mut logged = LoggedRows::new(hooks, ports.map(ScopedRows::new), destinations);
    let (listed, mut events) = while_emptied(
        |events: &mut LoggedEvents<R>| log.drain(|event| events.take(&event)),
        maps.is_some(),
        || list(&mut logged),
    )?;
    let scopes_torn = maps.zip(scope_cut.as_ref()).is_some_and(|(maps, cut)| maps.is_torn(cut));
    let closed = log.close(|event| events.take(&event));
    listed.map_err(Into::into)?;
    let LoggedRows { rows, rewind, scoped, .. } = logged;
    let LoggedEvents { all, scoped: scoped_events } = events;
    let events = all.with_rows_of(rewind);
    let rewound = RewoundSnapshot {
        tally: rows.tally,
        cut,
        at_cut: events.at_cut(),
        complete: closed.complete(),
    };
    let scoped = scoped.zip(scoped_events).zip(scope_cut);
    let scopes = scoped.map(|((rows, scoped_events), cut)| RewoundScopes {
        snapshot: rows.at_cut(&scoped_events, |id| events.has_events(id)),
        has_cgroups: source == SnapshotSource::Iter,
        cut,
        exact: rewound.exact() && !scopes_torn,
    });
    let (source_word, doubts) = (source.word(), rewound.at_cut.doubts);
    debug!(source = source_word, rows = rows.tally.rows, doubts, log = ?closed, "took a snapshot");
    Ok(Rewound {
        snapshot: rows.finish(source, started),
        all: rewound,
        scopes,
        netns_assigned: closed.netns_assigned,
    })
}

/// The events of a log: all of them, and again by scope if scopes are counted.
struct LoggedEvents<R> {
    all: R,
    scoped: Option<ScopedEvents>,
}

impl<R: Rewind> LoggedEvents<R> {
    fn new(with_scopes: bool) -> Self {
        Self { all: R::default(), scoped: with_scopes.then(ScopedEvents::default) }
    }

    fn take(&mut self, event: &Event) {
        self.all.event(event);
        if let Some(scoped) = &mut self.scoped {
            scoped.event(event);
        }
    }
}

/// Calls `list` while a second thread calls `drain`, which empties the log. Returns what `list` returned, and the events
/// until then.
fn while_emptied<R: Rewind, T>(
    mut drain: impl FnMut(&mut LoggedEvents<R>) + Send,
    with_scopes: bool,
    list: impl FnOnce() -> T,
) -> Result<(T, LoggedEvents<R>), SnapshotError> {
    let ended = AtomicBool::new(false);
    let empty = || {
        let mut events = LoggedEvents::new(with_scopes);
        while !ended.load(Ordering::Relaxed) {
            drain(&mut events);
            thread::sleep(DRAIN_INTERVAL);
        }
        events
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("drain".into()).spawn_scoped(scope, empty);
        let thread = thread.map_err(SnapshotError::Thread)?;
        let set = SetWhenDropped(&ended);
        let listed = list();
        drop(set);
        // After a panic the events are missing, so the log is known to be incomplete.
        let events = thread.join().unwrap_or_else(|_| LoggedEvents::new(with_scopes));
        Ok((listed, events))
    })
}

/// Sets a flag also if a panic drops it: the thread that reads the flag ends then, and with it the scope that waits for it.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Adds up the rows that `list` passes on, if no transition is counted in `slot` meanwhile: then they show the
/// sockets at one moment, as a rewound snapshot does. Without an event log, so it costs less than [`logged`].
/// Gives `None` after a transition.
///
/// # Errors
/// That of `list`.
pub(super) fn undisturbed<E: Into<SnapshotError>>(
    counters: &Counters,
    slot: Slot,
    hooks: Hooks,
    list: impl FnOnce(&mut LoggedRows<ByTuple>) -> Result<(), E>,
) -> Result<Option<(Snapshot, RewoundSnapshot)>, SnapshotError> {
    let started = Instant::now();
    let cut = counters.read(slot);
    let mut logged = LoggedRows::new(hooks, None, None);
    list(&mut logged).map_err(Into::into)?;
    if counters.read(slot) != cut {
        return Ok(None);
    }
    let LoggedRows { rows, rewind, .. } = logged;
    let at_cut = rewind.at_cut();
    let rewound = RewoundSnapshot { tally: rows.tally, cut, at_cut, complete: true };
    Ok(Some((rows.finish(SnapshotSource::Procfs, started), rewound)))
}

/// In this time a host with ten million events a second fills a third of the log's buffer.
const DRAIN_INTERVAL: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_panic_in_a_snapshot_ends_the_thread_that_empties_the_log() {
        let snapshot = || {
            let list = || panic!("a snapshot that panics");
            while_emptied(|_: &mut LoggedEvents<ByTuple>| {}, false, list).map(|((), _)| ())
        };
        assert!(catch_unwind(AssertUnwindSafe(snapshot)).is_err());
    }
}
