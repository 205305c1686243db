//! The running kernel: procfs, the sources of snapshots, and the tracer. It is the audit's [`World`].

use std::{thread, time::Duration};

use thiserror::Error;
use tracing::{debug, warn};

use super::{Files, LastSnapshot, Snapshot, SnapshotError, sources::Sources};
use crate::{
    kernel::{Counters, LoadError, Namespaces, Program, Slot, Tracer},
    ledger::{
        audit::{RewoundSnapshot, World},
        sockstat_sample::SockstatSample,
    },
    procfs::{Limits, Privileges, Procfs, ProcfsError, Sockstat},
};

/// Time between two samples or snapshots that confirm each other.
const CONFIRMATION_GAP: Duration = Duration::from_millis(50);

/// Maximum number of samples until one is found without a transition.
const SAMPLE_TRIES: u32 = 16;

/// Everything that the tracker reads from the kernel.
pub(super) struct Host {
    pub(super) procfs: Procfs,
    pub(super) sources: Sources,
    /// `None` if there are snapshots only.
    pub(super) tracer: Option<Tracer>,
    pub(super) snapshots: SnapshotRecord,
}

/// What snapshots leave for the metrics.
#[derive(Default)]
pub(super) struct SnapshotRecord {
    pub(super) last: Option<LastSnapshot>,
    /// Rows that did not parse and snapshots that failed.
    pub(super) errors: u64,
    broken_row_logged: bool,
}

/// Why a tracer cannot be loaded.
#[derive(Debug, Error)]
pub(super) enum LoadTracerError {
    /// The network namespace to count is unknown.
    #[error(transparent)]
    Namespace(#[from] ProcfsError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl LoadTracerError {
    /// Cause and remedy in one line; writes the kernel's log, if there is one, at debug level.
    pub(super) fn report(&self) -> String {
        match self {
            Self::Namespace(error) => error.to_string(),
            Self::Load(error) => {
                error.write_kernel_log();
                error.with_remedy(&Privileges::read())
            }
        }
    }
}

impl Host {
    pub(super) fn new(procfs: Procfs, sources: Sources, tracer: Option<Tracer>) -> Self {
        Self { procfs, sources, tracer, snapshots: SnapshotRecord::default() }
    }

    /// The host with its tracer; `None` without one.
    pub(super) fn traced(&mut self) -> Option<TracedHost<'_>> {
        let Self { procfs, sources, tracer, snapshots } = self;
        Some(TracedHost { procfs, sources, tracer: tracer.as_mut()?, snapshots })
    }

    /// Loads `program` as the tracer. Returns the previous tracer, which still counts.
    ///
    /// # Errors
    /// [`LoadTracerError`]; the previous tracer remains then.
    pub(super) fn load_tracer(
        &mut self,
        program: Program,
    ) -> Result<Option<Tracer>, LoadTracerError> {
        let tracer = Tracer::load(program, self.procfs.netns_inum()?, Namespaces::Own)?;
        Ok(self.tracer.replace(tracer))
    }

    /// Takes a snapshot without an event log.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub(super) fn snapshot(&mut self) -> Result<(), SnapshotError> {
        let snapshot = self.sources.snapshot().inspect_err(|_| self.snapshots.errors += 1)?;
        self.snapshots.record(&snapshot, limits(&self.procfs));
        Ok(())
    }
}

/// A [`Host`] that has a tracer.
pub(super) struct TracedHost<'a> {
    procfs: &'a Procfs,
    sources: &'a mut Sources,
    pub(super) tracer: &'a mut Tracer,
    snapshots: &'a mut SnapshotRecord,
}

/// Events that the kernel reports as skipped since the tracer was attached.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EventsMissed {
    /// Transitions of full sockets.
    pub(super) by_program: u64,
    /// Events of mini-sockets and requests, and transitions that have no cell.
    pub(super) others: u64,
}

impl TracedHost<'_> {
    /// Reads the number of missed events; 0 if the kernel does not report it.
    ///
    /// # Errors
    /// Those of [`Procfs::recursion_misses`].
    pub(super) fn events_missed(&self) -> Result<EventsMissed, ProcfsError> {
        let missed = |fd| Ok(Procfs::recursion_misses(fd)?.unwrap_or(0));
        Ok(EventsMissed {
            by_program: self.tracer.program_fd().map(missed).sum::<Result<_, ProcfsError>>()?,
            others: self.tracer.hook_fds().map(missed).sum::<Result<u64, ProcfsError>>()?
                + self.tracer.events_without_cell(),
        })
    }

    /// How long the last snapshot took.
    pub(super) fn last_duration(&self) -> Duration {
        self.snapshots.last.as_ref().map_or(Duration::ZERO, |snapshot| snapshot.duration)
    }
}

impl World for TracedHost<'_> {
    type Error = SnapshotError;

    fn snapshot(&mut self) -> Result<RewoundSnapshot, SnapshotError> {
        let (snapshot, rewound) = self
            .sources
            .rewound_snapshot(&mut self.tracer.log, self.tracer.hooks)
            .inspect_err(|_| self.snapshots.errors += 1)?;
        self.snapshots.record(&snapshot, limits(self.procfs));
        Ok(rewound)
    }

    /// During churn it takes some tries until no transition happens meanwhile.
    fn sample(&mut self) -> SockstatSample {
        let take = || sample(&self.tracer.counters, self.procfs).0;
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

impl SnapshotRecord {
    fn record(&mut self, snapshot: &Snapshot, limits: Limits) {
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
            limits,
        });
    }
}
