//! The tracer that counts for all namespaces: which program it has, and how many events it has missed.

use std::collections::HashMap;

use tracing::{debug, info, warn};

use super::programs::Programs;
use crate::{
    kernel::{NetnsKey, Program, Reserved, Slot, Tracer},
    procfs::{Privileges, Procfs, ProcfsError},
    transitions::Transitions,
};

/// The current tracer, and what it and earlier ones have missed.
pub(super) struct ActiveTracer {
    pub(super) tracer: Tracer,
    programs: Programs,
    missed: u64,
    /// Events that earlier tracers missed.
    missed_by_earlier: u64,
    changes: u64,
    /// The counters of a slot when it became free again.
    zeros: HashMap<Slot, Transitions>,
}

/// How often two tracers are read until no event comes between.
const READ_TRIES: u32 = 16;

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
        Self {
            tracer,
            programs,
            missed: 0,
            missed_by_earlier: 0,
            changes: 0,
            zeros: HashMap::new(),
        }
    }

    /// Missed events since the start, at the last check.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// The transitions of `slot` until now, and the missed events at the last check.
    pub(super) fn counts(&self, slot: Slot) -> Counts {
        Counts { transitions: self.tracer.counters.read(slot).total(), missed: self.missed }
    }

    /// The counters of a slot when its namespace got it.
    pub(super) fn zero(&self, slot: Slot) -> Transitions {
        self.zeros.get(&slot).cloned().unwrap_or_default()
    }

    /// The slot of the namespace with this key; the shared one if there is none for it.
    pub(super) fn slot(&mut self, key: NetnsKey) -> Slot {
        let Some(slots) = &mut self.tracer.netns_slots else { return Slot::OTHER };
        slots.slot(key).unwrap_or_else(|error| {
            debug!(%error, key, "a network namespace has no slot");
            Slot::OTHER
        })
    }

    /// The namespaces that got a slot from the tracer since the last call.
    pub(super) fn new_namespaces(&mut self) -> Vec<(NetnsKey, Slot)> {
        let Some(slots) = &mut self.tracer.netns_slots else { return Vec::new() };
        slots.new_namespaces().unwrap_or_else(|error| {
            debug!(%error, "new network namespaces are unknown");
            Vec::new()
        })
    }

    /// Notes that the namespaces that [`Self::new_namespaces`] has returned are counted or listed.
    pub(super) fn note_known(&mut self) {
        if let Some(slots) = &mut self.tracer.netns_slots {
            slots.note_known();
        }
    }

    /// Takes their slots from namespaces that are gone and have no sockets, so that others can have them. Returns what
    /// each has counted: one that made a transition meanwhile is not gone.
    pub(super) fn retire(&mut self, keys: &[NetnsKey]) -> Vec<(NetnsKey, Transitions)> {
        let Some(slots) = &mut self.tracer.netns_slots else { return Vec::new() };
        let (retired, refused) = slots.retire(keys);
        if let Some(error) = refused {
            debug!(%error, "some network namespaces keep their slots");
        }
        let counted = retired.into_iter().map(|(key, slot)| {
            let counted = self.tracer.counters.read(slot);
            self.zeros.insert(slot, counted.clone());
            if let Err(error) = slots.make_free(slot) {
                debug!(%error, ?slot, "a slot stays unused");
            }
            (key, counted)
        });
        counted.collect()
    }

    /// The counters of a slot of the tracer, and those of a slot of `old` that counts the same namespace, between two
    /// events if there are not too many.
    pub(super) fn both(
        &self,
        slot: Slot,
        old: &Tracer,
        old_slot: Slot,
    ) -> (Transitions, Transitions) {
        let mut new = self.tracer.counters.read(slot);
        let mut before = old.counters.read(old_slot);
        for _ in 0..READ_TRIES {
            let again = self.tracer.counters.read(slot);
            if again == new {
                break;
            }
            (new, before) = (again, old.counters.read(old_slot));
        }
        (new, before)
    }

    /// How often another program has replaced the one that counted.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Reads the number of missed events. Gives the program to switch to, if there are too many.
    pub(super) fn check(&mut self) -> Option<Program> {
        self.tracer.flush_log();
        let EventsMissed { by_program, others } = self
            .events_missed()
            .inspect_err(|error| debug!(%error, "the number of missed events is unknown"))
            .ok()?;
        self.missed = self.missed_by_earlier + by_program + others;
        let counters = &self.tracer.counters;
        let own = counters.read(Slot::OWN).total();
        self.programs.judge(self.tracer.program, own, by_program, || counters.total())
    }

    /// Loads `program`, which counts the same namespaces from now on, beside the current tracer. Logs a failure, and
    /// gives `None` then.
    /// The scopes that have slots are `reserved`.
    pub(super) fn load(&mut self, program: Program, reserved: &Reserved) -> Option<Tracer> {
        let loaded = self.tracer.load_beside(program, reserved).inspect_err(|error| {
            error.write_kernel_log();
            let cause = error.with_remedy(&Privileges::read());
            let program_word = program.word();
            warn!(
                program = program_word,
                "too many missed events, and switching programs failed: {cause}"
            );
            self.programs.refused(program);
        });
        loaded.ok()
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
        self.zeros.clear();
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
