//! What the tracker publishes after each change: all that a scrape needs besides the counters and files.

use std::{sync::Arc, time::Duration};

use super::Health;
use crate::{
    history::Moment,
    kernel::{Counters, Program},
    ledger::{Ledger, sockstat_sample::SockstatChecks},
    procfs::Limits,
    snapshot::{SnapshotSource, Tally},
    states::{Hooks, PerState},
    transitions::Transitions,
};

/// The state of the tracker after its last check or snapshot.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Ledger and counters; `None` before the seed and without a tracer.
    pub live: Option<Arc<Live>>,
    /// The last snapshot; `None` before the first.
    pub snapshot: Option<LastSnapshot>,
    /// Current time between two snapshots.
    pub snapshot_interval: Duration,
    /// Rows that did not parse and snapshots that failed, since the start.
    pub snapshot_errors: u64,
    /// Ledger minus snapshot, at the last exact snapshot, before the correction.
    pub drift: PerState<i64>,
    /// Sockets that corrections added to each gauge or removed from it, since the start.
    pub corrections: PerState<u64>,
    /// Events for which the kernel reports that it did not run the tracer, since the start.
    pub events_missed: u64,
    /// How often the tracker switched to a program that misses fewer events, since the start.
    pub tracer_changes: u64,
    /// What sockstat checks and snapshots have shown.
    pub health: Health,
}

/// The ledger, and the counters that it is evaluated with.
#[derive(Clone, Debug)]
pub struct Live {
    /// The program that counts transitions.
    pub program: Program,
    /// The hooks that count mini-sockets and requests.
    pub hooks: Hooks,
    /// The counters of program and hooks.
    pub counters: Arc<Counters>,
    /// The ledger.
    pub ledger: Ledger,
    /// Transitions that earlier tracers counted.
    pub carried: Arc<Transitions>,
    /// The state of the sockstat checks.
    pub(crate) checks: SockstatChecks,
    /// Sockets that changed their family since the ledger was right, at the last conclusive check.
    pub changed_family: i64,
}

/// Sums and circumstances of the last snapshot.
#[derive(Clone, Debug)]
pub struct LastSnapshot {
    /// Where the rows came from.
    pub source: SnapshotSource,
    /// The sums of the rows.
    pub tally: Tally,
    /// When the snapshot ended.
    pub finished: Moment,
    /// How long the snapshot took.
    pub duration: Duration,
    /// The kernel's limits at that time.
    pub limits: Limits,
}

impl Published {
    /// Whether there are numbers: the first snapshot has been taken.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.snapshot.is_some()
    }
}
