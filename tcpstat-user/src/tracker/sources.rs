//! Who lists the sockets: procfs, or the iterator where it is asked for, or cheaper, and to be had. Where one
//! of them fails the other one lists, in the same call.

use std::{
    io,
    time::{Duration, Instant},
};

use thiserror::Error;
use tracing::{info, warn};

use super::{
    Snapshot,
    pace::{Pace, SourceChoice},
    snapshot::{logged, take, take_by_iterator},
};
use crate::{
    kernel::{EventLog, IterError, LoadError, LogError, SocketIterator, release_memory},
    ledger::{
        audit::RewoundSnapshot,
        rewind::{ByAddress, ByTuple},
    },
    procfs::{Privileges, Procfs, ProcfsError},
    snapshot::{SnapshotSource, Tally},
    states::Hooks,
};

/// Why a listing failed.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// By procfs.
    #[error(transparent)]
    Procfs(#[from] ProcfsError),
    /// By the iterator.
    #[error(transparent)]
    Iter(#[from] IterError),
    /// The iterator was refused earlier.
    #[error("iter/tcp was refused: {0}")]
    Refused(String),
    /// By both sources, the preferred one first.
    #[error("neither source of snapshots works: {first}; {second}")]
    Both {
        /// Of the preferred source.
        first: Box<SnapshotError>,
        /// Of the other one.
        second: Box<SnapshotError>,
    },
    /// Its event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The thread that drains the event log.
    #[error(
        "starting the thread that drains the event log: {0}: raise the limit on tasks (RLIMIT_NPROC, TasksMax=, pids.max)"
    )]
    Thread(io::Error),
}

impl SnapshotError {
    /// Whether another source of rows can do better.
    fn is_of_source(&self) -> bool {
        match self {
            Self::Procfs(_) | Self::Iter(_) | Self::Refused(_) | Self::Both { .. } => true,
            Self::Log(_) | Self::Thread(_) => false,
        }
    }
}

/// So many rows that what was kept of them is worth giving back.
const MANY_ROWS: u64 = 50_000;

/// After so long the iterator is tried again where the kernel lacked memory or descriptors for it. Loading
/// it takes some tens of milliseconds.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Procfs and the iterator.
pub(super) struct Sources {
    procfs: Procfs,
    iterator: Iterate,
    /// Whether the last try of procfs failed: that is told once.
    procfs_failed: bool,
    /// Why the last try of the iterator failed: that is told once.
    iterator_failed: Option<String>,
    pace: Pace,
    /// Sockets of the last listing.
    rows: u64,
}

/// It takes memory and a moment to load, so it is loaded when it is first wanted.
enum Iterate {
    /// It lists another namespace.
    Elsewhere,
    Untried,
    Runs(Box<SocketIterator>),
    /// The kernel lacked something that it may have later.
    Waits {
        until: Instant,
        cause: String,
        loaded: Option<Box<SocketIterator>>,
    },
    /// It is not tried again.
    Refused(String),
}

/// What lists.
enum Lists<'a> {
    Procfs(&'a Procfs),
    Iterator(&'a mut SocketIterator),
}

impl Sources {
    /// `traced` as [`Pace::new`] takes it.
    pub(super) fn new(
        procfs: Procfs,
        choice: SourceChoice,
        interval: Duration,
        traced: bool,
    ) -> Self {
        let pace = Pace::new(choice, interval, traced);
        let iterator =
            if procfs.lists_own_namespace() { Iterate::Untried } else { Iterate::Elsewhere };
        Self { procfs, iterator, procfs_failed: false, iterator_failed: None, pace, rows: 0 }
    }

    /// The time between two listings.
    pub(super) fn interval(&self) -> Duration {
        self.pace.interval()
    }

    /// Lists every socket.
    ///
    /// # Errors
    /// [`SnapshotError`], where no source lists.
    pub(super) fn list(&mut self) -> Result<Snapshot, SnapshotError> {
        let pass = self.by_either(|lists| match lists {
            Lists::Procfs(procfs) => Ok(take(procfs)?),
            Lists::Iterator(iterator) => Ok(take_by_iterator(iterator)?),
        })?;
        self.note(pass.source, &pass.tally, pass.duration);
        Ok(pass)
    }

    /// Lists every socket, and rewinds the listing to the moment when the log opened; `hooks` are
    /// those that count.
    ///
    /// # Errors
    /// [`SnapshotError`], where no source lists, or the log fails.
    pub(super) fn list_logged(
        &mut self,
        log: &mut EventLog,
        hooks: Hooks,
    ) -> Result<(Snapshot, RewoundSnapshot), SnapshotError> {
        let (pass, listing) = self.by_either(|lists| match lists {
            Lists::Procfs(procfs) => {
                logged::<ByTuple, _>(SnapshotSource::Procfs, log, hooks, |rows| {
                    procfs.each_socket(rows)
                })
            }
            Lists::Iterator(iterator) => {
                logged::<ByAddress, _>(SnapshotSource::Iter, log, hooks, |rows| {
                    iterator.each_socket(rows)
                })
            }
        })?;
        self.note(pass.source, &pass.tally, pass.duration);
        Ok((pass, listing))
    }

    fn note(&mut self, source: SnapshotSource, tally: &Tally, duration: Duration) {
        if tally.rows > MANY_ROWS {
            release_memory();
        }
        self.rows = tally.rows;
        self.pace.took(source, tally.rows, duration);
    }

    /// Lists by the source whose turn it is, and where that fails by the other one.
    fn by_either<T>(
        &mut self,
        mut list: impl FnMut(Lists<'_>) -> Result<T, SnapshotError>,
    ) -> Result<T, SnapshotError> {
        // The kernel's count costs next to nothing; where it cannot be had, the last listing's.
        let sockets =
            self.procfs.sockstat().map_or(self.rows, |count| count.inuse.total() + count.tw);
        let (first, iterates) = match (self.pace.source(sockets), &self.iterator) {
            (_, Iterate::Elsewhere) => return self.by_procfs(&mut list),
            (SnapshotSource::Procfs, _) => (self.by_procfs(&mut list), false),
            (SnapshotSource::Iter, _) => (self.by_iterator(&mut list), true),
        };
        let first = match first {
            Err(error) if error.is_of_source() => error,
            listed => return listed,
        };
        let second = if iterates { self.by_procfs(&mut list) } else { self.by_iterator(&mut list) };
        match second {
            Err(second) if second.is_of_source() => {
                Err(SnapshotError::Both { first: Box::new(first), second: Box::new(second) })
            }
            Ok(_) if !iterates && !std::mem::replace(&mut self.procfs_failed, true) => {
                warn!("{first}: taking snapshots from iter/tcp for now");
                second
            }
            second => second,
        }
    }

    fn by_procfs<T>(
        &mut self,
        list: &mut impl FnMut(Lists<'_>) -> Result<T, SnapshotError>,
    ) -> Result<T, SnapshotError> {
        let listed = list(Lists::Procfs(&self.procfs))?;
        if std::mem::take(&mut self.procfs_failed) {
            info!("taking snapshots from /proc again");
        }
        Ok(listed)
    }

    fn by_iterator<T>(
        &mut self,
        list: &mut impl FnMut(Lists<'_>) -> Result<T, SnapshotError>,
    ) -> Result<T, SnapshotError> {
        let listed = list(Lists::Iterator(self.iterator()?));
        match &listed {
            Err(SnapshotError::Iter(error)) => self.put_off(error),
            Ok(_) if self.iterator_failed.take().is_some() => info!("iter/tcp works again"),
            _ => {}
        }
        listed
    }

    /// The iterator, if it runs.
    fn iterator(&mut self) -> Result<&mut SocketIterator, SnapshotError> {
        let refused = |cause: &str| Err(SnapshotError::Refused(cause.to_owned()));
        let loaded = match &mut self.iterator {
            Iterate::Refused(cause) => return refused(cause),
            Iterate::Waits { until, cause, .. } if Instant::now() < *until => {
                return refused(cause);
            }
            Iterate::Waits { loaded, .. } => loaded.take(),
            Iterate::Untried | Iterate::Runs(_) | Iterate::Elsewhere => None,
        };
        match loaded {
            Some(iterator) => self.iterator = Iterate::Runs(iterator),
            None if matches!(self.iterator, Iterate::Runs(_)) => {}
            None => match SocketIterator::load() {
                Ok(iterator) => {
                    info!(
                        "iter/tcp is loaded: it takes the snapshots when /proc is too slow or fails"
                    );
                    self.iterator = Iterate::Runs(Box::new(iterator));
                }
                Err(error) => {
                    let cause = error.to_string();
                    if self.is_news(&cause) {
                        self.tell_refusal(&error);
                    }
                    self.iterator = later(error.is_temporary(), cause, None);
                }
            },
        }
        match &mut self.iterator {
            Iterate::Runs(iterator) => Ok(iterator),
            Iterate::Waits { cause, .. } | Iterate::Refused(cause) => {
                Err(SnapshotError::Refused(cause.clone()))
            }
            Iterate::Untried | Iterate::Elsewhere => {
                refused("it lists a different network namespace")
            }
        }
    }

    /// After a listing by the iterator failed.
    fn put_off(&mut self, error: &IterError) {
        let (cause, passing) = (error.to_string(), error.is_temporary());
        if self.is_news(&cause) {
            let until = if passing { "for now" } else { "from now on" };
            let told = error.with_remedy(&Privileges::read());
            warn!("{told}: taking snapshots from /proc {until}");
        }
        let loaded = match std::mem::replace(&mut self.iterator, Iterate::Untried) {
            Iterate::Runs(iterator) if passing => Some(iterator),
            _ => None,
        };
        self.iterator = later(passing, cause, loaded);
    }

    /// Whether the iterator did not fail for that `cause` at its last try too.
    fn is_news(&mut self, cause: &str) -> bool {
        self.iterator_failed.replace(cause.to_owned()).is_none_or(|before| before != cause)
    }

    /// A warning only to those who asked for it: the others lose nothing but time.
    fn tell_refusal(&self, error: &LoadError) {
        error.write_kernel_log();
        let told = format!(
            "taking snapshots from /proc: iter/tcp: {}",
            error.with_remedy(&Privileges::read())
        );
        if self.pace.choice() == SourceChoice::Iter {
            warn!("{told}");
        } else {
            info!("{told}");
        }
    }
}

fn later(passing: bool, cause: String, loaded: Option<Box<SocketIterator>>) -> Iterate {
    if passing {
        Iterate::Waits { until: Instant::now() + RETRY_INTERVAL, cause, loaded }
    } else {
        Iterate::Refused(cause)
    }
}
