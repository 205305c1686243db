//! The tracer that counts for all namespaces: which program it has, and how many events it has missed.

use tracing::{debug, info, warn};

use super::programs::Programs;
use crate::{
    kernel::{Program, Slot, Tracer},
    procfs::{Privileges, Procfs, ProcfsError},
};

/// The current tracer, and what it and earlier ones have missed.
pub(super) struct ActiveTracer {
    pub(super) tracer: Tracer,
    programs: Programs,
    missed: u64,
    /// Events that earlier tracers missed.
    missed_by_earlier: u64,
    changes: u64,
}

/// What has been counted, and what has not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Transitions since the tracer was attached.
    pub(super) transitions: u64,
    /// Missed events since the start.
    pub(super) missed: u64,
}

/// Events that were not counted since the tracer was attached, as the kernel or the tracer reports.
#[derive(Clone, Copy, Debug, Default)]
struct EventsMissed {
    /// Transitions of full sockets.
    by_program: u64,
    /// Events of mini-sockets and requests, and transitions that have no cell.
    others: u64,
}

impl ActiveTracer {
    /// `programs` are those that may replace the program of `tracer`.
    pub(super) fn new(tracer: Tracer, programs: &[Program]) -> Self {
        let programs = Programs::new(programs);
        Self { tracer, programs, missed: 0, missed_by_earlier: 0, changes: 0 }
    }

    /// Missed events since the start, at the last check.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// The transitions of `slot` until now, and the missed events at the last check.
    pub(super) fn counts(&self, slot: Slot) -> Counts {
        Counts { transitions: self.tracer.counters.read(slot).total(), missed: self.missed }
    }

    /// How often another program has replaced the one that counted.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Reads the number of missed events. Gives the program to switch to, if there are too many.
    pub(super) fn check(&mut self) -> Option<Program> {
        self.tracer.flush_log();
        let mut missed_by_program = 0;
        match self.events_missed() {
            Ok(EventsMissed { by_program, others }) => {
                missed_by_program = by_program;
                self.missed = self.missed_by_earlier + by_program + others;
            }
            Err(error) => debug!(%error, "the number of missed events is unknown"),
        }
        let counted = self.tracer.counters.read(Slot::OWN).total();
        self.programs.judge(self.tracer.program, counted, missed_by_program)
    }

    /// Loads `program`, which counts the same namespaces from now on, beside the current tracer. Logs a failure, and
    /// gives `None` then.
    pub(super) fn load(&mut self, program: Program) -> Option<Tracer> {
        Tracer::load(program, self.tracer.netns_inum, self.tracer.namespaces)
            .inspect_err(|error| {
                error.write_kernel_log();
                let cause = error.with_remedy(&Privileges::read());
                let program_word = program.word();
                warn!(
                    program = program_word,
                    "too many missed events, and switching programs failed: {cause}"
                );
                self.programs.refused(program);
            })
            .ok()
    }

    /// Lets `tracer` count from now on. Returns the tracer before, which still counts too.
    pub(super) fn replace(&mut self, tracer: Tracer) -> Tracer {
        let old = std::mem::replace(&mut self.tracer, tracer);
        info!(
            from = old.program.word(),
            to = self.tracer.program.word(),
            missed = self.missed,
            "too many missed events: switched to the program that misses fewer"
        );
        self.programs.switched();
        self.missed_by_earlier = self.missed;
        self.changes += 1;
        old
    }

    /// Reads the number of missed events; 0 if the kernel does not report it.
    ///
    /// # Errors
    /// Those of [`Procfs::recursion_misses`].
    fn events_missed(&self) -> Result<EventsMissed, ProcfsError> {
        let missed = |fd| Ok(Procfs::recursion_misses(fd)?.unwrap_or(0));
        Ok(EventsMissed {
            by_program: self.tracer.program_fd().map(missed).sum::<Result<_, ProcfsError>>()?,
            others: self.tracer.hook_fds().map(missed).sum::<Result<u64, ProcfsError>>()?
                + self.tracer.events_without_cell(),
        })
    }
}
