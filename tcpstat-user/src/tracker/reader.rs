//! What the tracker reads of one network namespace: its procfs, its sources of snapshots, and its counters.

mod walked;

use std::{thread, time::Duration};

use tracing::warn;

use super::{
    Files, LastSnapshot, OwnScopes, PublishedScopes, Snapshot, SnapshotError,
    own_scopes::TracedScopes, roots::Roots, snapshot::Rewound, sources::Sources,
};
use crate::{
    destinations::EphemeralPorts,
    detailed::DetailedTransitions,
    kernel::{Counters, Reserved, Slot, Tracer},
    ledger::{
        audit::{RewoundSnapshot, World},
        sockstat_sample::SockstatSample,
    },
    procfs::{Limits, Sockstat},
};

/// Time between two samples or snapshots that confirm each other.
const CONFIRMATION_GAP: Duration = Duration::from_millis(50);

/// If a snapshot of the namespaces that share a slot takes longer, it is repeated in another turn.
const SLOW: Duration = Duration::from_millis(500);

/// Maximum number of samples until one is found without a transition.
const SAMPLE_TRIES: u32 = 16;

/// Takes the snapshots of a namespace, and keeps what the metrics show about them.
pub(super) struct Reader {
    sources: Sources,
    last: Option<LastSnapshot>,
    errors: u64,
    /// sockstat `tw` when it was last read.
    tw: Option<u64>,
    /// Whether the metrics show the limits of the namespace, and how much of them is used.
    shows_limits: bool,
    /// Whether a row that did not parse was logged, which happens once.
    broken_row_logged: bool,
    /// The scopes of the namespace that are counted.
    scopes: Option<TracedScopes>,
}

impl Reader {
    pub(super) fn new(sources: Sources, shows_limits: bool) -> Self {
        Self {
            sources,
            last: None,
            errors: 0,
            tw: None,
            shows_limits,
            broken_row_logged: false,
            scopes: None,
        }
    }

    /// The reader with these scopes of the namespace.
    pub(super) fn with_scopes(self, scopes: Option<OwnScopes>) -> Self {
        Self { scopes: scopes.map(TracedScopes::new), ..self }
    }

    /// Learns of new scopes.
    pub(super) fn refresh_scopes(&mut self, tracer: &mut Tracer) {
        if let Some(scopes) = &mut self.scopes {
            scopes.refresh(tracer);
        }
    }

    /// Adds the slots of the scopes.
    pub(super) fn reserve_scopes(&self, reserved: &mut Reserved) {
        if let Some(scopes) = &self.scopes {
            scopes.reserve(reserved);
        }
    }

    /// Lets the scopes continue with the tracer `new`. Returns whether there are any.
    pub(super) fn rebind_scopes(&mut self, old: &Tracer, new: &mut Tracer) -> bool {
        if let Some(scopes) = &mut self.scopes {
            scopes.rebind(old, new);
        }
        self.scopes.is_some()
    }

    /// What a scrape needs of the scopes.
    pub(super) fn scopes(&self) -> Option<PublishedScopes> {
        self.scopes.as_ref()?.publication()
    }

    /// The directories that list the namespace.
    pub(super) fn roots(&self) -> &Roots {
        self.sources.roots()
    }

    /// Lists the same namespace by these directories from now on.
    pub(super) fn set_roots(&mut self, roots: Roots) {
        self.sources.set_roots(roots);
    }

    /// The time between two snapshots.
    pub(super) fn interval(&self) -> Duration {
        self.sources.interval()
    }

    /// The last snapshot that succeeded.
    pub(super) fn last(&self) -> Option<&LastSnapshot> {
        self.last.as_ref()
    }

    /// How long the last snapshot took; zero before the first.
    pub(super) fn last_duration(&self) -> Duration {
        self.last.as_ref().map_or(Duration::ZERO, |snapshot| snapshot.duration)
    }

    /// Rows that did not parse and snapshots that failed.
    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    /// sockstat `tw` when a sample last read it, else the mini-sockets of the last snapshot.
    pub(super) fn tw(&self) -> Option<u64> {
        self.tw.or_else(|| self.last.as_ref().map(|last| last.tally.minis()))
    }

    /// Takes a snapshot without an event log.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub(super) fn snapshot(&mut self) -> Result<(), SnapshotError> {
        let ephemeral = self.ephemeral_ports();
        let snapshot = self.sources.snapshot(ephemeral).inspect_err(|_| self.errors += 1)?;
        self.record(&snapshot);
        Ok(())
    }

    /// The reader with the tracer that counts its namespace in `slot`.
    pub(super) fn traced<'a>(&'a mut self, tracer: &'a mut Tracer, slot: Slot) -> TracedReader<'a> {
        TracedReader { reader: self, tracer, slot }
    }

    /// `None` if destinations are not counted.
    fn ephemeral_ports(&self) -> Option<EphemeralPorts> {
        if self.shows_limits { self.roots().ephemeral_ports() } else { None }
    }

    fn record(&mut self, snapshot: &Snapshot) {
        self.errors += snapshot.broken_rows;
        if let (Some(broken), false) = (&snapshot.first_broken, self.broken_row_logged) {
            self.broken_row_logged = true;
            warn!(
                rows = snapshot.broken_rows,
                "{broken}: rows like this are left out and counted (tcpstat_snapshot_errors_total)"
            );
        }
        self.last = Some(LastSnapshot {
            source: snapshot.source,
            tally: snapshot.tally,
            fullest: snapshot.fullest,
            finished: snapshot.finished,
            duration: snapshot.duration,
            limits: if self.shows_limits { self.roots().limits() } else { Limits::default() },
        });
    }
}

/// What the audit of a namespace asks: its reader, and the tracer that all namespaces share.
pub(super) struct TracedReader<'a> {
    reader: &'a mut Reader,
    tracer: &'a mut Tracer,
    slot: Slot,
}

impl World for TracedReader<'_> {
    type Error = SnapshotError;

    fn snapshot(&mut self) -> Result<RewoundSnapshot, SnapshotError> {
        let ephemeral = self.reader.ephemeral_ports();
        let Reader { sources, errors, scopes, .. } = &mut *self.reader;
        // While another tracer is seeded the scopes are still those of the current one.
        let is_current = scopes.as_mut().is_some_and(|scopes| scopes.is_of(self.tracer));
        let scopes = scopes.as_mut().filter(|_| is_current);
        let ports = scopes.as_ref().map(|scopes| scopes.port_set());
        // The own namespace is the one that is expected to have the most transitions.
        let listed_first = self.slot != Slot::OWN;
        let Rewound { snapshot, mut all, scopes: rewound_scopes, netns_assigned } = sources
            .rewound_snapshot(self.tracer, self.slot, listed_first, ports.as_ref(), ephemeral)
            .inspect_err(|_| *errors += 1)?;
        if let (Some(scopes), Some(maps), Some(rewound)) =
            (scopes, &mut self.tracer.scopes, rewound_scopes)
        {
            scopes.seed(maps, &rewound);
        }
        self.reader.record(&snapshot);
        all.complete &= self.lists_all(netns_assigned);
        Ok(all)
    }

    /// During churn it takes some tries until no transition happens meanwhile.
    fn sample(&mut self) -> SockstatSample {
        let take = || sample(&self.tracer.counters, self.slot, self.reader.roots()).sample;
        let mut taken = take();
        for _ in 1..SAMPLE_TRIES {
            if taken.before == taken.after {
                break;
            }
            taken = take();
        }
        self.reader.tw = taken.tw;
        if !self.lists_all(self.tracer.netns_assigned()) {
            (taken.inuse, taken.tw) = (None, None);
        }
        taken
    }

    /// Of many namespaces sockets with the same addresses are in doubt together, and the own namespace waits meanwhile.
    fn check_repeatable(&self) -> Result<(), SnapshotError> {
        let is_slow = self.slot == Slot::OTHER && self.reader.last_duration() > SLOW;
        if is_slow { Err(SnapshotError::Inexact) } else { Ok(()) }
    }

    fn pause(&mut self) {
        thread::sleep(CONFIRMATION_GAP);
    }
}

impl TracedReader<'_> {
    /// Whether the directories list all namespaces that the slot counts, if the tracer has given slots to so many. One that
    /// has come to [`Slot::OTHER`] since the last search is counted, and no directory lists it.
    fn lists_all(&self, netns_assigned: u64) -> bool {
        let slots = self.tracer.netns_slots.as_ref().filter(|_| self.slot == Slot::OTHER);
        slots.is_none_or(|slots| slots.all_known(netns_assigned))
    }
}

/// What [`sample`] reads.
pub(super) struct Sampled {
    pub(super) sample: SockstatSample,
    pub(super) sockstat: Option<Sockstat>,
    /// The last reading with its details, if they are counted.
    pub(super) detailed: Option<DetailedTransitions>,
}

/// Reads sockstat between two readings of the counters. Only sockstat takes system calls.
pub(super) fn sample(counters: &Counters, slot: Slot, files: &impl Files) -> Sampled {
    let before = counters.read(slot);
    let sockstat = files.sockstat();
    let inuse = sockstat.map(|sockstat| sockstat.inuse);
    let tw = sockstat.map(|sockstat| sockstat.tw);
    let (after, detailed) = counters.read_detailed(slot);
    Sampled { sample: SockstatSample { before, inuse, tw, after }, sockstat, detailed }
}
