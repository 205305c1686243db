//! What the tracker reads of one network namespace: its procfs, its sources of snapshots, and its counters.

use std::{thread, time::Duration};

use tracing::{debug, warn};

use super::{
    Files, LastSnapshot, OwnScopes, PublishedScopes, Snapshot, SnapshotError,
    own_scopes::TracedScopes, sources::Sources,
};
use crate::{
    kernel::{Counters, Slot, Tracer},
    ledger::{
        audit::{RewoundSnapshot, World},
        sockstat_sample::SockstatSample,
    },
    procfs::{Limits, Procfs, ProcfsError, Sockstat},
};

/// Time between two samples or snapshots that confirm each other.
const CONFIRMATION_GAP: Duration = Duration::from_millis(50);

/// Maximum number of samples until one is found without a transition.
const SAMPLE_TRIES: u32 = 16;

/// Takes the snapshots of a namespace, and keeps what the metrics show about them.
pub(super) struct Reader {
    sources: Sources,
    last: Option<LastSnapshot>,
    errors: u64,
    /// Whether a row that did not parse was logged, which happens once.
    broken_row_logged: bool,
    /// The scopes of the namespace that are counted.
    scopes: Option<TracedScopes>,
}

impl Reader {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, last: None, errors: 0, broken_row_logged: false, scopes: None }
    }

    /// The same, with these scopes of the namespace.
    pub(super) fn with_scopes(self, scopes: Option<OwnScopes>) -> Self {
        Self { scopes: scopes.map(TracedScopes::new), ..self }
    }

    /// Learns of new scopes.
    pub(super) fn refresh_scopes(&mut self, tracer: &mut Tracer) {
        if let Some(scopes) = &mut self.scopes {
            scopes.refresh(tracer);
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

    /// The procfs that lists the namespace.
    pub(super) fn procfs(&self) -> &Procfs {
        self.sources.procfs()
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

    /// Takes a snapshot without an event log.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub(super) fn snapshot(&mut self) -> Result<(), SnapshotError> {
        let snapshot = self.sources.snapshot().inspect_err(|_| self.errors += 1)?;
        self.record(&snapshot);
        Ok(())
    }

    /// The reader with the tracer that counts in its namespace.
    pub(super) fn traced<'a>(&'a mut self, tracer: &'a mut Tracer) -> TracedReader<'a> {
        TracedReader { reader: self, tracer }
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
            finished: snapshot.finished,
            duration: snapshot.duration,
            limits: limits(self.procfs()),
        });
    }
}

/// What the audit of a namespace asks: its reader, and the tracer that all namespaces share.
pub(super) struct TracedReader<'a> {
    reader: &'a mut Reader,
    tracer: &'a mut Tracer,
}

impl World for TracedReader<'_> {
    type Error = SnapshotError;

    fn snapshot(&mut self) -> Result<RewoundSnapshot, SnapshotError> {
        let Reader { sources, errors, scopes, .. } = &mut *self.reader;
        // While another tracer is seeded the scopes are still those of the current one.
        let is_current = scopes.as_mut().is_some_and(|scopes| scopes.is_of(self.tracer));
        let mut scopes = scopes.as_mut().filter(|_| is_current);
        let Tracer { log, hooks, scopes: maps, .. } = &mut *self.tracer;
        let counted = scopes.as_ref().zip(maps.as_ref());
        let counted = counted.map(|(scopes, maps)| (maps, scopes.port_set()));
        let (snapshot, rewound, rewound_scopes) =
            sources.rewound_snapshot(log, *hooks, counted).inspect_err(|_| *errors += 1)?;
        if let (Some(scopes), Some(maps), Some(rewound)) =
            (&mut scopes, maps.as_mut(), rewound_scopes)
        {
            scopes.seed(maps, &rewound);
        }
        self.reader.record(&snapshot);
        Ok(rewound)
    }

    /// During churn it takes some tries until no transition happens meanwhile.
    fn sample(&mut self) -> SockstatSample {
        let take = || sample(&self.tracer.counters, self.reader.procfs()).0;
        let mut taken = take();
        for _ in 1..SAMPLE_TRIES {
            if taken.before == taken.after {
                break;
            }
            taken = take();
        }
        taken
    }

    fn pause(&mut self) {
        thread::sleep(CONFIRMATION_GAP);
    }
}

/// Reads sockstat between two readings of the counters. Only sockstat takes system calls.
pub(super) fn sample(
    counters: &Counters,
    files: &impl Files,
) -> (SockstatSample, Option<Sockstat>) {
    let before = counters.read(Slot::OWN);
    let sockstat = files.sockstat();
    let inuse = sockstat.map(|sockstat| sockstat.inuse);
    let tw = sockstat.map(|sockstat| sockstat.tw);
    (SockstatSample { before, inuse, tw, after: counters.read(Slot::OWN) }, sockstat)
}

/// The limits that can be read. A folder that only looks like a procfs has none.
fn limits(procfs: &Procfs) -> Limits {
    let known = |limit: Result<u64, ProcfsError>| {
        limit.inspect_err(|error| debug!(%error, "a limit is unknown")).ok()
    };
    Limits {
        time_wait: known(procfs.time_wait_limit()),
        ephemeral_ports: known(procfs.ephemeral_ports()),
    }
}
