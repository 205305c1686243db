//! Which namespaces a walk over the files of all processes can seed or confirm, and which it does.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{ActiveTracer, NamespaceId, NetnsKey, Others, Schedule, Slot};
use crate::{tracker::tallies::HeldTally, transitions::Transitions};

/// After so many confirmations and up to twice as many, a namespace has a snapshot of its own, at different times for
/// different namespaces: after one to two hours by default.
const CONFIRMATIONS: u64 = 12;

/// A namespace before a walk.
pub(in crate::tracker) struct ToTally {
    id: NamespaceId,
    key: NetnsKey,
    slot: Slot,
    /// Its counters.
    counted: Transitions,
}

impl Others {
    /// The time between two walks: a namespace that each of them confirms has no snapshot of its own meanwhile.
    pub(in crate::tracker) fn tally_interval(&self) -> Duration {
        self.intervals.calm * 9 / 10
    }

    /// The namespaces that the next walk may seed or confirm: those with a process, whose sockstat says whether the walk has
    /// shown all sockets, and with a slot of their own.
    pub(in crate::tracker) fn to_tally(&self, active: &ActiveTracer) -> Vec<ToTally> {
        let may = self.namespaces.iter().filter(|&(&id, other)| {
            let most = CONFIRMATIONS + id.number() % CONFIRMATIONS;
            other.has_process()
                && other.namespace.slot() != Slot::OTHER
                && other.namespace.confirmations() < most
        });
        let to_tally = may.map(|(&id, other)| {
            let counted = other.namespace.counted(active);
            ToTally { id, key: other.key, slot: other.namespace.slot(), counted }
        });
        to_tally.collect()
    }

    /// Seeds and confirms namespaces by what processes hold in them. Returns how many. One whose gauges differ has its
    /// snapshot soon.
    pub(in crate::tracker) fn take_tallies(
        &mut self,
        namespaces: Vec<ToTally>,
        tallies: &HashMap<NetnsKey, HeldTally>,
        duration: Duration,
        active: &mut ActiveTracer,
        schedule: &mut Schedule,
    ) -> usize {
        let mut taken = 0;
        for ToTally { id, key, slot, counted } in namespaces {
            let held = tallies.get(&key).copied().unwrap_or_default();
            let Some(other) = self.namespaces.get_mut(&id) else { continue };
            if held.lacks_sockets || !other.has_process() || other.namespace.slot() != slot {
                continue;
            }
            match other.namespace.take_tally(active, &counted, &held.tally, duration) {
                None => {}
                Some(false) => schedule.hurry(id, Instant::now()),
                Some(true) => {
                    taken += 1;
                    let next = other.namespace.intervals();
                    schedule.snapshot_taken(id, Instant::now(), Duration::ZERO, next);
                    self.note_turn(id, Some(active));
                }
            }
        }
        taken
    }
}
