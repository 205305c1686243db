//! The slots that a tracer gives before its first event.

use tracing::debug;

use super::{
    netns_slots::{KeyedSlots, NetnsKey, SlotError},
    slot::Slot,
};

/// The scopes that an earlier tracer counts. A tracer that replaces it gives them their slots first, so that others cannot take
/// those, and counts each event of them where it belongs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reserved {
    /// The network namespaces with a slot of their own.
    pub(crate) netns: Vec<NetnsKey>,
    /// The ids of the cgroups of each scope, which share a slot.
    pub(crate) cgroups: Vec<Vec<u64>>,
    /// The cgroups without a slot of their own.
    pub(crate) other_cgroups: Vec<u64>,
}

impl Reserved {
    /// Gives the namespaces their slots. One that gets none is left to its first event.
    pub(super) fn assign_netns(&self, slots: &mut KeyedSlots) {
        for &key in &self.netns {
            note(key, slots.slot(key));
        }
    }

    /// The same for cgroups.
    pub(super) fn assign_cgroups(&self, slots: &mut KeyedSlots) {
        for &id in &self.other_cgroups {
            note(id, slots.move_to(id, Slot::OTHER));
        }
        for ids in &self.cgroups {
            let Some((&first, others)) = ids.split_first() else { continue };
            let Some(slot) = note(first, slots.slot(first)) else { continue };
            for &id in others {
                note(id, slots.move_to(id, slot));
            }
        }
    }
}

fn note<T>(key: u64, given: Result<T, SlotError>) -> Option<T> {
    given.inspect_err(|error| debug!(%error, key, "a scope has no slot yet")).ok()
}
