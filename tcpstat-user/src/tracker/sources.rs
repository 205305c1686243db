//! The two sources of snapshots: /proc/net/tcp and the BPF iterator. If one fails, the other one takes the
//! snapshot.

use std::{io, sync::Arc, time::Duration};

use thiserror::Error;
use tracing::{info, warn};

use super::{
    Snapshot,
    iterator::LazyIterator,
    pace::{Pace, SourceChoice},
    roots::Roots,
    rows::LoggedRows,
    snapshot::{Rewound, logged, undisturbed, unlogged},
};
use crate::{
    clock,
    destinations::{Destinations, EphemeralPorts},
    kernel::{IterError, LogError, Slot, SocketIterator, Tracer, release_memory},
    ledger::rewind::{ByAddress, ByTuple, PortSet},
    procfs::ProcfsError,
    snapshot::SnapshotSource,
};

/// Why a snapshot failed.
#[derive(Debug, Error)]
pub(crate) enum SnapshotError {
    /// No process is in the network namespace, so no file lists its sockets.
    #[error("no process is in the network namespace")]
    NoProcess,
    /// Several namespaces that are counted together take too long.
    #[error(
        "a snapshot of the {all} network namespaces in the scope `other` takes longer than {limit:?}, after {listed} of them: raise \
         --scopes-max, which gives each a scope of its own"
    )]
    TooMany {
        /// How many there are.
        all: usize,
        /// How many were listed in time.
        listed: usize,
        /// The most CPU time.
        limit: Duration,
    },
    /// Sockets changed state while it was taken, which leaves others in doubt, and it is too slow to be repeated at once.
    #[error("it is not exact, because sockets changed state meanwhile")]
    Inexact,
    /// /proc/net/tcp cannot be read.
    #[error(transparent)]
    Procfs(#[from] ProcfsError),
    /// The iterator failed.
    #[error(transparent)]
    Iter(#[from] IterError),
    /// The iterator cannot be loaded, or failed before; the cause.
    #[error("iter/tcp was refused: {0}")]
    Refused(String),
    /// Both sources failed.
    #[error("neither source of snapshots works: {first}; {second}")]
    Both {
        /// The error of the preferred source.
        first: Box<SnapshotError>,
        /// The error of the other source.
        second: Box<SnapshotError>,
    },
    /// The event log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The thread that empties the event log cannot be started.
    #[error(
        "starting the thread that drains the event log: {0}: raise the limit on tasks (RLIMIT_NPROC, TasksMax=, pids.max)"
    )]
    Thread(io::Error),
}

impl SnapshotError {
    /// Whether the other source may succeed.
    fn is_of_source(&self) -> bool {
        match self {
            Self::NoProcess
            | Self::Procfs(_)
            | Self::Iter(_)
            | Self::Refused(_)
            | Self::Both { .. } => true,
            Self::TooMany { .. } | Self::Inexact | Self::Log(_) | Self::Thread(_) => false,
        }
    }
}

/// After a snapshot of more rows, memory is returned to the kernel.
const MANY_ROWS: u64 = 50_000;

/// Both sources, and which of them is used.
pub(super) struct Sources {
    roots: Roots,
    /// `None` if the iterator would list another network namespace.
    iterator: Option<LazyIterator>,
    /// Whether the last attempt with procfs failed, which is logged once.
    procfs_failed: bool,
    pace: Pace,
    /// Rows of the last snapshot.
    rows: u64,
    /// Whether rows should have cgroups, which only those of the iterator have.
    cgroups: bool,
}

/// A source that can be read.
enum Source<'a> {
    Procfs(&'a Roots),
    Iterator(&'a mut SocketIterator),
}

impl Sources {
    /// `traced`: see [`Pace::new`].
    pub(super) fn new(
        roots: Roots,
        choice: SourceChoice,
        interval: Duration,
        traced: bool,
    ) -> Self {
        let iterator =
            roots.list_own_namespace().then(|| LazyIterator::new(choice == SourceChoice::Iter));
        let pace = Pace::new(choice, interval, traced);
        Self { roots, iterator, procfs_failed: false, pace, rows: 0, cgroups: false }
    }

    /// Prefers the iterator from now on, and lets its rows have cgroups. `loaded`: those of this iterator have.
    pub(super) fn need_cgroups(&mut self, loaded: Option<SocketIterator>) {
        self.cgroups = true;
        if let Some(iterator) = &mut self.iterator {
            iterator.need_cgroups(loaded);
        }
    }

    pub(super) fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Lists the same namespace by these directories from now on.
    pub(super) fn set_roots(&mut self, roots: Roots) {
        self.roots = roots;
    }

    /// The time between two snapshots.
    pub(super) fn interval(&self) -> Duration {
        self.pace.interval()
    }

    /// Takes a snapshot without an event log. If `ephemeral` is known, destinations are counted.
    ///
    /// # Errors
    /// [`SnapshotError`], if no source works.
    pub(super) fn snapshot(
        &mut self,
        ephemeral: Option<EphemeralPorts>,
    ) -> Result<Snapshot, SnapshotError> {
        let begin = clock::thread_cpu();
        let snapshot = self.by_either(|source| {
            let destinations = ephemeral.map(Destinations::new);
            match source {
                Source::Procfs(roots) => {
                    let source = SnapshotSource::Procfs;
                    unlogged(source, destinations, |rows| roots.each_socket(rows))
                }
                Source::Iterator(iterator) => {
                    let source = SnapshotSource::Iter;
                    Ok(unlogged(source, destinations, |rows| iterator.each_socket(rows))?)
                }
            }
        })?;
        self.record(&snapshot, begin);
        Ok(snapshot)
    }

    /// Takes a snapshot, and rewinds it to the moment when the event log opened for `slot`. If `listed_first`, it
    /// first tries whether no transition is counted while procfs lists the sockets: that needs no log. `ports` are
    /// those that are counted, if scopes are. If `ephemeral` is known, destinations are counted.
    ///
    /// # Errors
    /// [`SnapshotError`], if no source works or the log fails.
    pub(super) fn rewound_snapshot(
        &mut self,
        tracer: &mut Tracer,
        slot: Slot,
        listed_first: bool,
        ports: Option<&Arc<PortSet>>,
        ephemeral: Option<EphemeralPorts>,
    ) -> Result<Rewound, SnapshotError> {
        let begin = clock::thread_cpu();
        let hooks = tracer.hooks;
        if listed_first {
            let list = |rows: &mut LoggedRows<ByTuple>| {
                self.roots.each_counted_socket(rows, |logged| logged.rows.tally.sockets())
            };
            if let Some((snapshot, all)) = undisturbed(&tracer.counters, slot, hooks, list)? {
                self.record(&snapshot, begin);
                let netns_assigned = tracer.netns_assigned();
                return Ok(Rewound { snapshot, all, scopes: None, netns_assigned });
            }
        }
        let Tracer { log, scopes, .. } = tracer;
        let rewound = self.by_either(|source| {
            let scopes = scopes.as_ref().zip(ports.cloned());
            let destinations = ephemeral.map(Destinations::new);
            match source {
                Source::Procfs(roots) => {
                    let source = SnapshotSource::Procfs;
                    logged::<ByTuple, _>(source, log, slot, hooks, scopes, destinations, |rows| {
                        roots.each_socket(rows)
                    })
                }
                Source::Iterator(iterator) => {
                    let source = SnapshotSource::Iter;
                    logged::<ByAddress, _>(source, log, slot, hooks, scopes, destinations, |rows| {
                        iterator.each_socket(rows)
                    })
                }
            }
        })?;
        self.record(&rewound.snapshot, begin);
        Ok(rewound)
    }

    /// `begin` is the CPU time of this thread before the snapshot.
    fn record(&mut self, snapshot: &Snapshot, begin: Duration) {
        let rows = snapshot.tally.rows;
        if rows > MANY_ROWS {
            release_memory();
        }
        self.rows = rows;
        // The CPU time includes the load of the iterator, once. The duration includes the wait for a processor.
        let cpu = clock::thread_cpu().saturating_sub(begin).min(snapshot.duration);
        self.pace.record(snapshot.source, rows, cpu);
    }

    /// Calls `list` with the preferred source, and with the other one if that fails.
    fn by_either<T>(
        &mut self,
        mut list: impl FnMut(Source<'_>) -> Result<T, SnapshotError>,
    ) -> Result<T, SnapshotError> {
        if self.iterator.is_none() {
            return self.by_procfs(&mut list);
        }
        let iterator_first =
            self.cgroups || self.pace.source(self.sockets()) == SnapshotSource::Iter;
        let result =
            if iterator_first { self.by_iterator(&mut list) } else { self.by_procfs(&mut list) };
        let first = match result {
            Err(error) if error.is_of_source() => error,
            result => return result,
        };
        let result =
            if iterator_first { self.by_procfs(&mut list) } else { self.by_iterator(&mut list) };
        match result {
            Err(second) if second.is_of_source() => {
                Err(SnapshotError::Both { first: Box::new(first), second: Box::new(second) })
            }
            Ok(_) if !iterator_first && !std::mem::replace(&mut self.procfs_failed, true) => {
                warn!("{first}: taking snapshots from iter/tcp for now");
                result
            }
            result => result,
        }
    }

    /// The number of sockets according to sockstat; if it cannot be read, that of the last snapshot.
    fn sockets(&self) -> u64 {
        self.roots.read_sockstat().map_or(self.rows, |count| count.inuse.total() + count.tw)
    }

    fn by_procfs<T>(
        &mut self,
        list: &mut impl FnMut(Source<'_>) -> Result<T, SnapshotError>,
    ) -> Result<T, SnapshotError> {
        let listed = list(Source::Procfs(&self.roots))?;
        if std::mem::take(&mut self.procfs_failed) {
            info!("taking snapshots from /proc again");
        }
        Ok(listed)
    }

    fn by_iterator<T>(
        &mut self,
        list: &mut impl FnMut(Source<'_>) -> Result<T, SnapshotError>,
    ) -> Result<T, SnapshotError> {
        let Some(iterator) = &mut self.iterator else { return self.by_procfs(list) };
        let result = list(Source::Iterator(iterator.get()?));
        match &result {
            Ok(_) => iterator.succeeded(),
            Err(SnapshotError::Iter(error)) => iterator.failed(error),
            Err(_) => {}
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_waits_for_a_processor_does_not_delay_the_next_one() {
        const INTERVAL: Duration = Duration::from_secs(15);
        const WAIT: Duration = Duration::from_millis(300);
        let mut sources = Sources::new(Roots::default(), SourceChoice::Auto, INTERVAL, true);
        let begin = clock::thread_cpu();
        let mut snapshot =
            unlogged(SnapshotSource::Procfs, None, |_| Ok::<_, ProcfsError>(())).unwrap();
        snapshot.duration += WAIT;
        sources.record(&snapshot, begin);
        assert_eq!(sources.interval(), INTERVAL);
    }
}
