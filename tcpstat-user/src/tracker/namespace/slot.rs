//! In which slot the tracer counts a namespace: at its start, and when slot or tracer change.

use std::{sync::Arc, time::Instant};

use super::{ActiveTracer, Counts, Namespace};
use crate::{
    kernel::{Slot, Tracer},
    ledger::audit::Audit,
    transitions::Transitions,
};

impl Namespace {
    /// Lets the tracer count from now on. If the namespace `is_new`, it had no sockets before the first event that its
    /// slot has counted, which is its seed; else its first turn seeds it.
    pub(in crate::tracker) fn begin(&mut self, active: &ActiveTracer, is_new: bool) {
        let zero = active.zero(self.slot);
        self.carry(&Transitions::default(), &zero);
        if is_new {
            self.audit = Some(Audit::of_new_namespace(active.tracer.hooks, &zero));
            self.counted_at_check = zero.total();
            self.verified = Counts { transitions: zero.total(), missed: active.missed() };
        }
    }

    /// Lets the tracer that has replaced `old` count from now on, in `slot`. No gauge changes.
    pub(in crate::tracker) fn move_to(&mut self, slot: Slot, old: &Tracer, active: &ActiveTracer) {
        let (new, old) = active.both(slot, old, self.slot);
        self.go_on(slot, &old, &new);
        self.counted_at_check = new.total();
        // It is verified by the next snapshot only.
        self.verified = Counts { transitions: new.total(), missed: 0 };
    }

    /// Goes on in the slot that the tracer gives it now, after it lost one that had counted `from`. No gauge changes.
    pub(in crate::tracker) fn resume(
        &mut self,
        slot: Slot,
        from: &Transitions,
        active: &ActiveTracer,
    ) {
        self.go_on(slot, from, &active.zero(slot));
    }

    /// Adds the transitions of the old tracer to those of the tracer that has replaced it.
    pub(in crate::tracker) fn carry_over(&mut self, old: &Tracer, active: &ActiveTracer) {
        // The new counters are read first, so a transition between the two readings counts at least once
        // and the sum never decreases.
        let (counted, new_details) = active.tracer.counters.read_detailed(self.slot);
        let (from, old_details) = old.counters.read_detailed(self.slot);
        self.carry(&from, &counted);
        if let Some((from, to)) = old_details.zip(new_details) {
            self.carried_details = Arc::new(self.carried_details.plus(&from).since(&to));
        }
        self.counted_at_check = counted.total();
        self.verified = Counts { transitions: counted.total(), missed: active.missed() };
        self.last_reconcile = Instant::now();
    }

    /// Goes on in `slot`, whose counters are `to`, when those before are `from`.
    fn go_on(&mut self, slot: Slot, from: &Transitions, to: &Transitions) {
        self.slot = slot;
        self.carry(from, to);
        if let Some(audit) = &mut self.audit {
            audit.transfer(from, to);
        }
    }

    /// Adds `from`, which other counters have counted, to the transitions that are shown, and leaves out `to`, which
    /// the new ones have.
    fn carry(&mut self, from: &Transitions, to: &Transitions) {
        self.carried = Arc::new(self.carried.plus(from).since(to));
    }
}
