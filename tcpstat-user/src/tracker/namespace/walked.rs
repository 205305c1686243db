//! What a walk shows of the namespace, instead of a snapshot.

use std::time::Instant;

use tracing::debug;

use super::{ActiveTracer, Counts, Namespace};
use crate::{
    kernel::Slot,
    ledger::{audit::Audit, reconcile::Verdict},
    snapshot::Tally,
    states::PerState,
    tracker::Reason,
    transitions::Transitions,
};

/// What a walk has shown of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tracker) enum WalkResult {
    /// Not all of its sockets, or not at one moment.
    NotAll,
    /// All sockets, which have seeded the ledger.
    Seeded,
    /// All sockets, and the gauges agree.
    Confirmed,
    /// All sockets, and the gauges differ: a snapshot has to decide.
    Differs,
}

impl Namespace {
    pub(in crate::tracker) fn slot(&self) -> Slot {
        self.slot
    }

    /// How many walks in a row have seeded or confirmed the gauges, without a snapshot of its own that decided.
    pub(in crate::tracker) fn walks_in_a_row(&self) -> u64 {
        self.walks_in_a_row
    }

    /// Takes the sockets that processes have held since the counters were `before`, when so many events had been missed.
    pub(in crate::tracker) fn take_walk(
        &mut self,
        active: &mut ActiveTracer,
        before: &Transitions,
        missed: u64,
        held: &Tally,
    ) -> WalkResult {
        // Requests of a listener that has closed are in no count, and last for a while.
        let had_requests = self.last_snapshot().is_some_and(|last| last.tally.requests.total() > 0);
        // The check of these takes no system call.
        if had_requests || active.missed() != missed || self.counted(active) != *before {
            return WalkResult::NotAll;
        }
        let hooks = active.tracer.hooks;
        let walked = self.reader.walked(&mut active.tracer, self.slot, before, held);
        let Some(mut walked) = walked else { return WalkResult::NotAll };
        let result = match &mut self.audit {
            None => match Audit::seed(hooks, &mut walked) {
                Ok((audit, _)) => {
                    self.audit = Some(audit);
                    WalkResult::Seeded
                }
                Err(_) => WalkResult::NotAll,
            },
            Some(audit) => {
                let differs = audit.ledger().drift(before, &held.full) != PerState::default();
                match (!differs).then(|| audit.reconcile(&mut walked)) {
                    Some(Ok(Verdict::Agrees)) => WalkResult::Confirmed,
                    _ => WalkResult::Differs,
                }
            }
        };
        if matches!(result, WalkResult::Seeded | WalkResult::Confirmed) {
            self.reader.record_walk(held);
            self.health.reconciles[Reason::Interval as usize] += 1;
            self.verified = Counts { transitions: before.total(), missed };
            self.last_reconcile = Instant::now();
            (self.wanted, self.families_reconciled) = (None, false);
            self.walks_in_a_row += 1;
        }
        debug!(netns = self.netns.as_deref(), ?result, "a walk has shown all sockets");
        result
    }
}
