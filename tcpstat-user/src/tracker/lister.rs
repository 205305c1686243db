//! Who lists the sockets: procfs, or the iterator where it is asked for, or cheaper, and to be had.

use std::time::Duration;

use thiserror::Error;
use tracing::{info, warn};

use super::{
    Pass,
    pace::{Pace, SourceChoice},
    pass::{logged, take, take_by_iterator},
};
use crate::{
    kernel::{EventLog, IterError, LoadError, LogError, SocketIterator, release_memory},
    ledger::{
        audit::Listing,
        rewind::{ByAddress, ByTuple},
    },
    procfs::{Procfs, ProcfsError},
    snapshot::{Source, Tally},
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
    /// Its event log.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// So many rows that what was kept of them is worth giving back.
const MANY_ROWS: u64 = 50_000;

/// Procfs and the iterator.
pub(super) struct Lister {
    procfs: Procfs,
    iterator: Iterate,
    pace: Pace,
    /// Sockets of the last listing.
    rows: u64,
}

/// It takes memory and a moment to load, so it is loaded when it is first wanted.
enum Iterate {
    Untried,
    Runs(Box<SocketIterator>),
    /// It is not tried again.
    Refused,
}

impl Lister {
    /// `traced` as [`Pace::new`] takes it.
    pub(super) fn new(
        procfs: Procfs,
        choice: SourceChoice,
        interval: Duration,
        traced: bool,
    ) -> Self {
        let pace = Pace::new(choice, interval, traced);
        // It lists the sockets of this process' namespace: those of procfs only if that is mounted.
        let iterator =
            if procfs.netns_inum().is_ok() { Iterate::Untried } else { Iterate::Refused };
        Self { procfs, iterator, pace, rows: 0 }
    }

    /// The time between two listings.
    pub(super) fn interval(&self) -> Duration {
        self.pace.interval()
    }

    /// Lists every socket.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub(super) fn list(&mut self) -> Result<Pass, SnapshotError> {
        let procfs = self.procfs.clone();
        let pass = match self.iterator() {
            Some(iterator) => {
                take_by_iterator(iterator).inspect_err(|error| self.give_up(error))?
            }
            None => take(&procfs)?,
        };
        self.note(pass.source, &pass.tally, pass.duration);
        Ok(pass)
    }

    /// Lists every socket, and rewinds the listing to the moment when the log opened; `hooks` are
    /// those that count.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub(super) fn list_logged(
        &mut self,
        log: &mut EventLog,
        hooks: Hooks,
    ) -> Result<(Pass, Listing), SnapshotError> {
        let procfs = self.procfs.clone();
        let listed = match self.iterator() {
            Some(iterator) => {
                logged::<ByAddress, _>(Source::Iter, log, hooks, |rows| iterator.each_socket(rows))
            }
            None => {
                logged::<ByTuple, _>(Source::Procfs, log, hooks, |rows| procfs.each_socket(rows))
            }
        };
        if let Err(SnapshotError::Iter(error)) = &listed {
            self.give_up(error);
        }
        let (pass, listing) = listed?;
        self.note(pass.source, &pass.tally, pass.duration);
        Ok((pass, listing))
    }

    fn note(&mut self, source: Source, tally: &Tally, duration: Duration) {
        if tally.rows > MANY_ROWS {
            release_memory();
        }
        self.rows = tally.rows;
        self.pace.took(source, tally.rows, duration);
    }

    /// The iterator, if it is its turn and it runs.
    fn iterator(&mut self) -> Option<&mut SocketIterator> {
        // The kernel's count costs next to nothing; where it cannot be had, the last listing's.
        let sockets =
            self.procfs.sockstat().map_or(self.rows, |count| count.inuse.total() + count.tw);
        if self.pace.source(sockets) == Source::Procfs {
            return None;
        }
        if matches!(self.iterator, Iterate::Untried) {
            self.iterator = match SocketIterator::load() {
                Ok(iterator) => {
                    info!(
                        sockets,
                        "listing sockets by iter/tcp from now on where /proc takes too long"
                    );
                    Iterate::Runs(Box::new(iterator))
                }
                Err(error) => {
                    self.tell_refusal(&error);
                    Iterate::Refused
                }
            };
        }
        match &mut self.iterator {
            Iterate::Runs(iterator) => Some(iterator),
            Iterate::Untried | Iterate::Refused => None,
        }
    }

    fn give_up(&mut self, error: &IterError) {
        warn!("{error}: listing sockets by /proc from now on");
        self.iterator = Iterate::Refused;
    }

    /// A warning only to those who asked for it: the others lose nothing but time.
    fn tell_refusal(&self, error: &LoadError) {
        let told = format!("listing sockets by /proc: iter/tcp: {}", error.with_remedy());
        if self.pace.choice() == SourceChoice::Iter {
            warn!("{told}");
        } else {
            info!("{told}");
        }
    }
}
