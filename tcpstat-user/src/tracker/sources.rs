//! The two sources of snapshots: /proc/net/tcp and the BPF iterator. If one fails, the other one takes the
//! snapshot.

use std::{io, time::Duration};

use thiserror::Error;
use tracing::{info, warn};

use super::{
    Snapshot,
    iterator::LazyIterator,
    pace::{Pace, SourceChoice},
    snapshot::{CountedScopes, Rewound, logged, take, take_by_iterator},
};
use crate::{
    kernel::{EventLog, IterError, LogError, SocketIterator, release_memory},
    ledger::rewind::{ByAddress, ByTuple},
    procfs::{Procfs, ProcfsError},
    snapshot::SnapshotSource,
    states::Hooks,
};

/// Why a snapshot failed.
#[derive(Debug, Error)]
pub(crate) enum SnapshotError {
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
            Self::Procfs(_) | Self::Iter(_) | Self::Refused(_) | Self::Both { .. } => true,
            Self::Log(_) | Self::Thread(_) => false,
        }
    }
}

/// After a snapshot of more rows, memory is returned to the kernel.
const MANY_ROWS: u64 = 50_000;

/// Both sources, and which of them is used.
pub(super) struct Sources {
    procfs: Procfs,
    /// `None` if the iterator would list another network namespace than `procfs`.
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
    Procfs(&'a Procfs),
    Iterator(&'a mut SocketIterator),
}

impl Sources {
    /// `traced`: see [`Pace::new`].
    pub(super) fn new(
        procfs: Procfs,
        choice: SourceChoice,
        interval: Duration,
        traced: bool,
    ) -> Self {
        let iterator =
            procfs.lists_own_namespace().then(|| LazyIterator::new(choice == SourceChoice::Iter));
        let pace = Pace::new(choice, interval, traced);
        Self { procfs, iterator, procfs_failed: false, pace, rows: 0, cgroups: false }
    }

    /// Prefers the iterator from now on, and lets its rows have cgroups.
    pub(super) fn need_cgroups(&mut self) {
        self.cgroups = true;
        if let Some(iterator) = &mut self.iterator {
            iterator.need_cgroups();
        }
    }

    pub(super) fn procfs(&self) -> &Procfs {
        &self.procfs
    }

    /// The time between two snapshots.
    pub(super) fn interval(&self) -> Duration {
        self.pace.interval()
    }

    /// Takes a snapshot without an event log.
    ///
    /// # Errors
    /// [`SnapshotError`], if no source works.
    pub(super) fn snapshot(&mut self) -> Result<Snapshot, SnapshotError> {
        let snapshot = self.by_either(|source| match source {
            Source::Procfs(procfs) => Ok(take(procfs)?),
            Source::Iterator(iterator) => Ok(take_by_iterator(iterator)?),
        })?;
        self.record(&snapshot);
        Ok(snapshot)
    }

    /// Takes a snapshot, and rewinds it to the moment when `log` opened. `hooks` are the hooks that count, `scopes`
    /// the counters of scopes and the ports that are counted.
    ///
    /// # Errors
    /// [`SnapshotError`], if no source works or the log fails.
    pub(super) fn rewound_snapshot(
        &mut self,
        log: &mut EventLog,
        hooks: Hooks,
        scopes: Option<CountedScopes<'_>>,
    ) -> Result<Rewound, SnapshotError> {
        let rewound = self.by_either(|source| {
            let scopes = scopes.clone();
            match source {
                Source::Procfs(procfs) => {
                    logged::<ByTuple, _>(SnapshotSource::Procfs, log, hooks, scopes, |rows| {
                        procfs.each_socket(rows)
                    })
                }
                Source::Iterator(iterator) => {
                    logged::<ByAddress, _>(SnapshotSource::Iter, log, hooks, scopes, |rows| {
                        iterator.each_socket(rows)
                    })
                }
            }
        })?;
        self.record(&rewound.0);
        Ok(rewound)
    }

    fn record(&mut self, snapshot: &Snapshot) {
        let rows = snapshot.tally.rows;
        if rows > MANY_ROWS {
            release_memory();
        }
        self.rows = rows;
        self.pace.record(snapshot.source, rows, snapshot.duration);
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
        self.procfs.sockstat().map_or(self.rows, |count| count.inuse.total() + count.tw)
    }

    fn by_procfs<T>(
        &mut self,
        list: &mut impl FnMut(Source<'_>) -> Result<T, SnapshotError>,
    ) -> Result<T, SnapshotError> {
        let listed = list(Source::Procfs(&self.procfs))?;
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
