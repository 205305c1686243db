//! Which namespaces a walk over the files of all processes can seed or confirm, and which it does.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::debug;

use super::{ActiveTracer, NetnsKey, Others, Schedule, Slot};
use crate::tracker::{
    namespace::WalkResult,
    walker::{BeforeWalk, HeldTally, Walked},
};

/// After so many walks and up to twice as many, a namespace has a snapshot of its own, at different times for different
/// namespaces: after one to two hours by default.
const MAX_WALKS_IN_A_ROW: u64 = 12;

/// The other namespaces, with what counts and what schedules them.
pub(in crate::tracker) struct WalkedNamespaces<'a> {
    pub(in crate::tracker) others: &'a mut Others,
    pub(in crate::tracker) active: &'a mut ActiveTracer,
    pub(in crate::tracker) schedule: &'a mut Schedule,
}

impl Others {
    /// The time between two walks: a namespace that each of them confirms has no snapshot of its own meanwhile.
    pub(in crate::tracker) fn walk_interval(&self) -> Duration {
        self.intervals.calm * 9 / 10
    }
}

impl Walked for WalkedNamespaces<'_> {
    /// Those with a process, whose sockstat says whether the walk has shown all sockets, and with a slot of their own.
    fn before_walk(&self) -> Vec<BeforeWalk> {
        let missed = self.active.missed();
        let may_take = self.others.namespaces.iter().filter(|&(&id, other)| {
            let most = MAX_WALKS_IN_A_ROW + id.number() % MAX_WALKS_IN_A_ROW;
            other.has_process()
                && other.namespace.slot() != Slot::OTHER
                && other.namespace.walks_in_a_row() < most
        });
        let before = may_take.map(|(&id, other)| BeforeWalk {
            id,
            key: other.key,
            slot: other.namespace.slot(),
            counted: other.namespace.counted(self.active),
            missed,
        });
        before.collect()
    }

    /// One whose gauges differ has its snapshot soon.
    fn take_walk(
        &mut self,
        before: Vec<BeforeWalk>,
        tallies: &HashMap<NetnsKey, HeldTally>,
    ) -> bool {
        let Self { others, active, schedule } = self;
        let (namespaces, mut seeded, mut confirmed, mut differ) = (before.len(), 0, 0, 0);
        for BeforeWalk { id, key, slot, counted, missed } in before {
            let held = tallies.get(&key).filter(|held| !held.lacks_sockets);
            let other = others.namespaces.get_mut(&id);
            let Some((held, other)) = held.zip(other) else { continue };
            if !other.has_process() || other.namespace.slot() != slot {
                continue;
            }
            match other.namespace.take_walk(active, &counted, missed, &held.tally) {
                WalkResult::NotAll => continue,
                WalkResult::Differs => {
                    differ += 1;
                    schedule.hurry(id, Instant::now());
                    continue;
                }
                WalkResult::Seeded => seeded += 1,
                WalkResult::Confirmed => confirmed += 1,
            }
            schedule.confirmed(id, Instant::now(), other.namespace.intervals());
            others.note_turn(id, Some(active));
        }
        debug!(namespaces, seeded, confirmed, differ, "a walk has ended");
        seeded + confirmed > 0
    }

    fn spend(&mut self, took: Duration) {
        self.schedule.spend(Instant::now(), took);
    }
}
