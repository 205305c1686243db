//! What the tracker publishes after each change: all that a scrape needs besides the counters and files.

use std::{sync::Arc, time::Duration};

use super::{Health, PublishedScopes, dwell::PublishedDwells, held::Held};
use crate::{
    ages::{CloseWaitAges, TickRate},
    destinations::FullestDestination,
    detailed::DetailedTransitions,
    history::Moment,
    kernel::{Counters, Program, Slot},
    ledger::{Ledger, sockstat_sample::SockstatChecks},
    listeners::ShownListeners,
    procfs::Limits,
    scopes::NetnsName,
    snapshot::{SnapshotSource, Tally},
    states::{Hooks, PerState},
    transitions::Transitions,
};

/// The state of the tracker after its last check or snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// Ledger and counters; `None` before the seed and without a tracer.
    pub(crate) live: Option<Arc<Live>>,
    /// The last snapshot; `None` before the first.
    pub(crate) snapshot: Option<LastSnapshot>,
    /// Current time between two snapshots.
    pub(crate) snapshot_interval: Duration,
    /// Rows that did not parse and snapshots that failed, since the start.
    pub(crate) snapshot_errors: u64,
    /// Ledger minus snapshot, at the last exact snapshot, before the correction.
    pub(crate) drift: PerState<i64>,
    /// Sockets that corrections added to each gauge or removed from it, since the start.
    pub(crate) corrections: PerState<u64>,
    /// Events since the start that the tracer did not count, by the kernel's report or its own.
    pub(crate) events_missed: u64,
    /// How often the tracker switched to a program that misses fewer events, since the start.
    pub(crate) tracer_changes: u64,
    /// What sockstat checks and snapshots have shown.
    pub(crate) health: Health,
    /// How long sockets have been in CLOSE_WAIT, at the last reading, and what that is measured in; `None` without a reading.
    pub(crate) close_wait_ages: Option<(CloseWaitAges, TickRate)>,
    /// The dwells that are measured; `None` if there are none.
    pub(crate) dwells: Option<PublishedDwells>,
    /// The network namespaces; `None` if only this one is counted.
    pub(crate) namespaces: Option<Arc<PublishedNamespaces>>,
    /// The listening sockets at the last reading; `None` if nothing reads them.
    pub(crate) listeners: Option<Arc<ShownListeners>>,
}

/// The network namespaces that are counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublishedNamespaces {
    /// The label of the own namespace; `None` before the first search.
    pub(crate) own: Option<NetnsLabel>,
    pub(crate) others: Vec<Arc<PublishedNetns>>,
    /// Namespaces since the start that found no slot.
    pub(crate) overflow: u64,
    /// Namespaces and processes whose files cannot be read.
    pub(crate) hidden: u64,
}

/// The label of a network namespace.
#[derive(Clone, Debug)]
pub(crate) struct NetnsLabel {
    /// The value, which no other namespace has.
    pub(crate) value: Arc<str>,
    /// What it is made from.
    pub(crate) name: Arc<NetnsName>,
}

/// One network namespace besides the own one.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublishedNetns {
    /// `None` for those that are counted together.
    pub(crate) label: Option<NetnsLabel>,
    pub(crate) numbers: Published,
    /// Mini-sockets at the last check or snapshot; `None` if nothing lists them.
    pub(crate) tw: Option<u64>,
}

/// The ledger, and the counters that it is evaluated with.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    /// The program that counts transitions.
    pub(crate) program: Program,
    /// The hooks that count mini-sockets and requests.
    pub(crate) hooks: Hooks,
    /// The counters of program and hooks.
    pub(crate) counters: Arc<Counters>,
    /// Where they count this namespace.
    pub(crate) slot: Slot,
    /// The ledger.
    pub(crate) ledger: Ledger,
    /// The ticks in which it counts silences; `None` if it does not.
    pub(crate) silence_rate: Option<TickRate>,
    /// Transitions that earlier tracers counted.
    pub(crate) carried: Arc<Transitions>,
    /// Transitions that earlier tracers counted, with their details.
    pub(crate) carried_details: Arc<DetailedTransitions>,
    /// The state of the sockstat checks.
    pub(crate) checks: SockstatChecks,
    /// Sockets that changed their family since the ledger was right, at the last conclusive check.
    pub(crate) changed_family: i64,
    /// The scopes of the namespace that are counted.
    pub(crate) scopes: Option<PublishedScopes>,
}

/// Sums and circumstances of the last snapshot.
#[derive(Clone, Debug)]
pub(crate) struct LastSnapshot {
    /// Where the rows came from.
    pub(crate) source: SnapshotSource,
    /// The sums of the rows.
    pub(crate) tally: Tally,
    /// The destination that takes the most ephemeral ports; `None` if it is not known which these are.
    pub(crate) fullest: Option<FullestDestination>,
    /// When the snapshot ended.
    pub(crate) finished: Moment,
    /// How long the snapshot took.
    pub(crate) duration: Duration,
    /// The kernel's limits at that time.
    pub(crate) limits: Limits,
}

impl PublishedNetns {
    /// Takes what a reading of the sockets that processes hold has shown.
    pub(super) fn set_held(&mut self, held: &Held) {
        self.numbers.close_wait_ages = held.close_wait_ages;
        self.numbers.listeners.clone_from(&held.listeners);
    }
}

impl Published {
    /// Whether there are numbers: the first snapshot has been taken.
    pub(crate) fn ready(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Whether a kind of scope is counted.
    pub(crate) fn has_scopes(&self) -> bool {
        let own = self.live.as_ref().is_some_and(|live| live.scopes.is_some());
        own || self.namespaces.is_some()
    }
}
