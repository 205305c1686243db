//! What a scope has counted, in the slots that it has had.

use crate::{
    kernel::{Counters, ScopeCut, Slot},
    transitions::Transitions,
};

/// The counters of a scope: its slot now, and what it has counted elsewhere before.
#[derive(Clone, Debug)]
pub(super) struct Count {
    slot: Slot,
    /// What the slot had counted when the scope got it.
    zero: Transitions,
    /// What the scope has counted in other slots.
    carried: Transitions,
}

impl Count {
    /// A scope that gets a slot which had counted `zero`.
    pub(super) fn new(slot: Slot, zero: Transitions) -> Self {
        Self { slot, zero, carried: Transitions::default() }
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    /// Adds what was counted elsewhere.
    pub(super) fn carry(&mut self, counted: &Transitions) {
        self.carried = self.carried.plus(counted);
    }

    /// The transitions until now.
    pub(super) fn now(&self, counters: &Counters) -> Transitions {
        self.of(&counters.read(self.slot))
    }

    /// The transitions until the cut.
    pub(super) fn at(&self, cut: &ScopeCut) -> Transitions {
        self.of(&cut.of(self.slot))
    }

    fn of(&self, slot: &Transitions) -> Transitions {
        self.carried.plus(&slot.since(&self.zero))
    }
}
