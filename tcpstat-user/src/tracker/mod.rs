//! The one thread that owns the ledgers: it seeds them, reconciles them with snapshots, and publishes them.
//!
//! There is a ledger for each network namespace (`namespace`), and one tracer for all (`active_tracer`). The
//! namespaces take turns (`schedule`). Today the only one is that of the exporter, or the one it was told to
//! count.
//!
//! Every interval the thread takes a snapshot of the namespace and reconciles. Every second, and when a scrape
//! asks for it, it compares the gauges with sockstat and reads the number of events that the kernel skipped. If
//! either is wrong it reconciles at once. It also reconciles in calm after many transitions. If the program
//! misses too many events, it switches to another program.

mod active_tracer;
mod ages;
mod attempts;
mod budget;
mod dwell;
mod finder;
mod health;
mod held;
mod holders;
mod iterator;
mod listeners;
mod namespace;
mod netns_choice;
mod others;
mod overflow;
mod own_scopes;
mod pace;
mod programs;
mod published;
mod reader;
mod reader_thread;
mod roots;
mod rows;
mod schedule;
mod scopes;
mod scrape;
mod snapshot;
mod sources;
mod task;
mod walker;

use std::{
    path::PathBuf,
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

pub(crate) use finder::{Finder, NetnsCount, count_netns, task_ids};
pub use health::{Health, Reason};
pub(crate) use holders::{
    HolderReader, HolderSource, HolderView, Holders, NamedNetns, NamedProcess, NetnsSelector,
    QueueView, Reading, WhoError, WhoQuery, inode_at,
};
pub(crate) use netns_choice::NetnsChoice;
pub(crate) use own_scopes::{OwnScopes, PublishedScopes};
pub(crate) use pace::SourceChoice;
pub(crate) use published::{LastSnapshot, Live, Published};
pub use scopes::{NetnsDetails, Scope, ScopeKind, Scopes};
pub(crate) use scrape::{Files, Scrape};
pub(crate) use snapshot::{Snapshot, take, take_by_iterator};
pub(crate) use sources::SnapshotError;
use task::{Task, Wake};

use crate::{
    kernel::{Program, Tracer},
    procfs::Procfs,
};

/// A tracker that has not been started.
pub(crate) struct Tracker {
    /// The procfs whose network namespace is counted.
    pub(crate) procfs: Procfs,
    /// The tracer; `None` for snapshots only.
    pub(crate) tracer: Option<Tracer>,
    /// The programs that the tracker may switch to.
    pub(crate) programs: Vec<Program>,
    /// Which source takes the snapshots.
    pub(crate) source: SourceChoice,
    /// Configured time between two snapshots.
    pub(crate) snapshot_interval: Duration,
    /// The network namespaces to count.
    pub(crate) netns: NetnsChoice,
    /// A directory with a directory for each Kubernetes pod, for the names of namespaces.
    pub(crate) pods: PathBuf,
    /// Maximum number of scopes of a kind.
    pub(crate) scopes_max: u32,
    /// Which scopes of the own namespace the tracer counts; `None` for none.
    pub(crate) own_scopes: Option<OwnScopes>,
    /// The most addresses and ports whose listening sockets are shown each; 0 for none, and nothing reads them.
    pub(crate) listeners_max: u32,
    /// Whether the destination that takes the most ephemeral ports is published, and not only its number of sockets.
    pub(crate) shows_destination: bool,
}

/// A running tracker.
pub(crate) struct Tracking {
    /// The current publication. The channel closes when the tracker has ended.
    pub(crate) published: watch::Receiver<Arc<Published>>,
    wake: SyncSender<Wake>,
    stopping: Arc<AtomicBool>,
    ended: Receiver<Result<(), TrackerError>>,
}

/// Asks the tracker to check now. While one request waits, another has no effect.
#[derive(Clone, Debug)]
pub(crate) struct Nudge(SyncSender<Wake>);

/// Why the tracker ended.
#[derive(Debug, Error)]
pub(crate) enum TrackerError {
    /// Without a first snapshot there are no numbers.
    #[error("the first snapshot failed: {0}")]
    Seed(SnapshotError),
    /// The thread cannot be started.
    #[error(
        "starting the tracker's thread: {0}: raise the limit on tasks (RLIMIT_NPROC, TasksMax=, pids.max)"
    )]
    Spawn(std::io::Error),
    /// A defect in this program.
    #[error("the tracker panicked")]
    Panicked,
    /// The thread did not stop within this time.
    #[error("the tracker is still running after {0:?}: its snapshot hangs")]
    Hangs(Duration),
}

impl Tracker {
    /// Starts the thread. Its first publication is after the seed.
    ///
    /// # Errors
    /// [`TrackerError::Spawn`].
    pub(crate) fn start(self) -> Result<Tracking, TrackerError> {
        let (publish, published) = watch::channel(Arc::default());
        let (wake, woken) = sync_channel(1);
        let (report, ended) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let mut task = Task::new(self, publish);
        thread::Builder::new()
            .name("tracker".into())
            .spawn(move || {
                let ended = task.run(&woken, &stop);
                // This detaches the tracer.
                drop(task);
                // An error means that nobody waits for the result.
                let _ = report.send(ended);
            })
            .map_err(TrackerError::Spawn)?;
        Ok(Tracking { published, wake, stopping, ended })
    }
}

impl Tracking {
    /// A handle that asks for a check.
    pub(crate) fn nudge(&self) -> Nudge {
        Nudge(self.wake.clone())
    }

    /// Stops the tracker, and waits for at most `patience`. The tracker finishes a running snapshot first.
    ///
    /// # Errors
    /// The error that the tracker ended with, or [`TrackerError::Hangs`].
    pub(crate) fn stop(self, patience: Duration) -> Result<(), TrackerError> {
        self.stopping.store(true, Ordering::Release);
        self.nudge().check();
        self.ended.recv_timeout(patience).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err(TrackerError::Hangs(patience)),
            RecvTimeoutError::Disconnected => Err(TrackerError::Panicked),
        })
    }
}

impl Nudge {
    /// Asks for a check, and returns at once.
    pub(crate) fn check(&self) {
        // An error means that a request waits already, or that the tracker has ended.
        let _ = self.0.try_send(Wake);
    }
}
