//! The running kernel as the audit asks it, and what the asking tells for the metrics.

use std::{thread, time::Duration};

use tracing::{debug, warn};

use super::{Files, LastSnapshot, Snapshot, SnapshotError, sources::Sources};
use crate::{
    kernel::{Counters, LoadError, Program, Tracer},
    ledger::{
        audit::{RewoundSnapshot, World},
        sockstat_sample::SockstatSample,
    },
    procfs::{Limits, Privileges, Procfs, ProcfsError, Sockstat},
};

/// What lies between two looks or snapshots that are to confirm one another.
const CONFIRMATION_GAP: Duration = Duration::from_millis(50);

/// Looks taken at most for one in which nothing moved.
const WITNESS_TRIES: u32 = 16;

/// Procfs, and the tracer where there is one.
pub(super) struct Host {
    /// Where the kernel's own counts are read.
    pub(super) procfs: Procfs,
    /// Who lists.
    pub(super) sources: Sources,
    /// Who counts.
    pub(super) tracer: Option<Tracer>,
    /// The last listing.
    pub(super) snapshot: Option<LastSnapshot>,
    /// Rows that did not parse and listings that failed.
    pub(super) snapshot_errors: u64,
    broken_row_named: bool,
}

impl Host {
    pub(super) fn new(procfs: Procfs, sources: Sources, tracer: Option<Tracer>) -> Self {
        Self {
            procfs,
            sources,
            tracer,
            snapshot: None,
            snapshot_errors: 0,
            broken_row_named: false,
        }
    }

    /// The host with its tracer, where it has one.
    pub(super) fn traced(&mut self) -> Option<TracedHost<'_>> {
        let Self { procfs, sources, tracer, snapshot, snapshot_errors, broken_row_named } = self;
        let tracer = tracer.as_mut()?;
        let notes = Notes { snapshot, snapshot_errors, broken_row_named };
        Some(TracedHost { procfs, sources, tracer, notes })
    }

    /// Loads `program` in the place of the tracer, which is returned and goes on counting.
    ///
    /// # Errors
    /// Why it does not run, in one line; the tracer stays then.
    pub(super) fn load_tracer(&mut self, program: Program) -> Result<Option<Tracer>, String> {
        let netns_inum = self.procfs.netns_inum().map_err(|error| error.to_string())?;
        let told = |error: LoadError| {
            error.write_kernel_log();
            error.with_remedy(&Privileges::read())
        };
        let tracer = Tracer::load(program, netns_inum).map_err(told)?;
        Ok(self.tracer.replace(tracer))
    }

    /// Lists every socket without a rewind.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub(super) fn list_alone(&mut self) -> Result<(), SnapshotError> {
        let Self { procfs, sources, snapshot, snapshot_errors, broken_row_named, .. } = self;
        let pass = sources.list().inspect_err(|_| *snapshot_errors += 1)?;
        Notes { snapshot, snapshot_errors, broken_row_named }.note(&pass, limits(procfs));
        Ok(())
    }
}

/// A [`Host`] that has a tracer.
pub(super) struct TracedHost<'a> {
    procfs: &'a Procfs,
    sources: &'a mut Sources,
    /// Who counts.
    pub(super) tracer: &'a mut Tracer,
    notes: Notes<'a>,
}

/// Events that the kernel skipped since the tracer was attached.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EventsMissed {
    /// Transitions of full sockets.
    pub(super) by_program: u64,
    /// What mini-sockets and requests did, and transitions that the tracer does not know.
    pub(super) others: u64,
}

impl TracedHost<'_> {
    /// Events that the kernel says it skipped; 0 where it does not tell.
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

    /// How long the last listing took.
    pub(super) fn last_duration(&self) -> Duration {
        self.notes.snapshot.as_ref().map_or(Duration::ZERO, |snapshot| snapshot.duration)
    }
}

impl World for TracedHost<'_> {
    type Error = SnapshotError;

    fn list(&mut self) -> Result<RewoundSnapshot, SnapshotError> {
        let listed = self.sources.list_logged(&mut self.tracer.log, self.tracer.hooks);
        let (pass, listing) = listed.inspect_err(|_| *self.notes.snapshot_errors += 1)?;
        self.notes.note(&pass, limits(self.procfs));
        Ok(listing)
    }

    /// Under churn a moment without a transition takes some tries to find.
    fn sample(&mut self) -> SockstatSample {
        let look = || sample(&self.tracer.counters, self.procfs).0;
        let mut found = look();
        for _ in 1..WITNESS_TRIES {
            if found.before == found.after {
                break;
            }
            found = look();
        }
        found
    }

    fn pause(&mut self) {
        thread::sleep(CONFIRMATION_GAP);
    }
}

/// Sockstat between two looks at the counters. No other system call.
pub(super) fn sample(
    counters: &Counters,
    files: &impl Files,
) -> (SockstatSample, Option<Sockstat>) {
    let before = counters.read();
    let sockstat = files.sockstat();
    let inuse = sockstat.map(|sockstat| sockstat.inuse);
    let tw = sockstat.map(|sockstat| sockstat.tw);
    (SockstatSample { before, inuse, tw, after: counters.read() }, sockstat)
}

/// The limits that can be read; a folder that only looks like a procfs has none.
fn limits(procfs: &Procfs) -> Limits {
    let known = |limit: Result<u64, ProcfsError>| {
        limit.inspect_err(|error| debug!(%error, "a limit is unknown")).ok()
    };
    Limits {
        time_wait: known(procfs.time_wait_limit()),
        ephemeral_ports: known(procfs.ephemeral_ports()),
    }
}

/// What listings leave behind for the metrics.
struct Notes<'a> {
    snapshot: &'a mut Option<LastSnapshot>,
    snapshot_errors: &'a mut u64,
    broken_row_named: &'a mut bool,
}

impl Notes<'_> {
    fn note(&mut self, pass: &Snapshot, limits: Limits) {
        *self.snapshot_errors += pass.broken_rows;
        if let (Some(broken), false) = (&pass.first_broken, *self.broken_row_named) {
            *self.broken_row_named = true;
            warn!(
                rows = pass.broken_rows,
                "{broken}: rows like this are left out and counted (tcpstat_snapshot_errors_total)"
            );
        }
        *self.snapshot = Some(LastSnapshot {
            source: pass.source,
            tally: pass.tally,
            finished: pass.finished,
            duration: pass.duration,
            limits,
        });
    }
}
