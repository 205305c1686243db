//! The one thread that owns the ledger: it seeds it, holds it against snapshots, and publishes it.
//!
//! Every interval it takes a snapshot and reconciles. Every second, and when a scrape asks, it looks
//! at the check and at the events that the kernel skipped; either makes it reconcile at once. So does
//! calm after many transitions. Where misses mount, it lets another program count.

mod health;
mod host;
mod pace;
mod programs;
mod published;
mod scrape;
mod snapshot;
mod sources;
mod task;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::sync::watch;

pub use health::{Health, Reason};
pub use pace::SourceChoice;
pub use published::{LastSnapshot, Live, Published};
pub use scrape::{Files, Scrape};
pub use snapshot::{Snapshot, take, take_by_iterator};
pub use sources::SnapshotError;
use task::{Task, Wake};

use crate::{
    kernel::{Program, Tracer},
    procfs::Procfs,
};

/// What the tracker is made of.
pub struct Tracker {
    /// Where sockets are listed.
    pub procfs: Procfs,
    /// Who counts; `None` for snapshots alone.
    pub tracer: Option<Tracer>,
    /// Who may count in its place.
    pub programs: Vec<Program>,
    /// Who lists the sockets.
    pub source: SourceChoice,
    /// Time between two snapshots.
    pub snapshot_interval: Duration,
}

/// The tracker at work.
pub struct Tracking {
    /// What it tells. Closed when it has ended.
    pub published: watch::Receiver<Arc<Published>>,
    wake: SyncSender<Wake>,
    stopping: Arc<AtomicBool>,
    ended: Receiver<Result<(), TrackerError>>,
}

/// Asks the tracker to look now; without effect while one request is waiting.
#[derive(Clone, Debug)]
pub struct Nudge(SyncSender<Wake>);

/// Why the tracker ended.
#[derive(Debug, Error)]
pub enum TrackerError {
    /// There was nothing to begin with.
    #[error("the first snapshot failed: {0}")]
    Seed(SnapshotError),
    /// The thread could not be started.
    #[error(
        "starting the tracker's thread: {0}: raise the limit on tasks (RLIMIT_NPROC, TasksMax=, pids.max)"
    )]
    Spawn(std::io::Error),
    /// A defect in this program.
    #[error("the tracker panicked")]
    Panicked,
    /// It was told to stop, and has not.
    #[error("the tracker is still running after {0:?}: its snapshot hangs")]
    Hangs(Duration),
}

impl Tracker {
    /// Starts the thread. It publishes first when it has seeded the ledger.
    ///
    /// # Errors
    /// [`TrackerError::Spawn`].
    pub fn start(self) -> Result<Tracking, TrackerError> {
        let (publish, published) = watch::channel(Arc::default());
        let (wake, woken) = sync_channel(1);
        let (report, ended) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let asked = stopping.clone();
        let mut task = Task::new(self, publish);
        thread::Builder::new()
            .name("tracker".into())
            .spawn(move || {
                let ended = task.run(&woken, &asked);
                // The tracer detaches with it.
                drop(task);
                // An error means that nobody waits for it.
                let _ = report.send(ended);
            })
            .map_err(TrackerError::Spawn)?;
        Ok(Tracking { published, wake, stopping, ended })
    }
}

impl Tracking {
    /// A handle for those who notice something.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        Nudge(self.wake.clone())
    }

    /// Asks the tracker to end, and waits until it has, at most `patience`; a snapshot under way is finished
    /// first.
    ///
    /// # Errors
    /// What it ended with, or [`TrackerError::Hangs`].
    pub fn stop(self, patience: Duration) -> Result<(), TrackerError> {
        self.stopping.store(true, Ordering::Release);
        self.nudge().check();
        self.ended.recv_timeout(patience).unwrap_or_else(|none| match none {
            RecvTimeoutError::Timeout => Err(TrackerError::Hangs(patience)),
            RecvTimeoutError::Disconnected => Err(TrackerError::Panicked),
        })
    }
}

impl Nudge {
    /// See the type.
    pub fn check(&self) {
        // Full: a request waits already. Disconnected: the tracker has ended.
        let _ = self.0.try_send(Wake);
    }
}
