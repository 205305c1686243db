//! What processes hold in the namespace, instead of a snapshot.

use std::time::{Duration, Instant};

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

impl Namespace {
    pub(in crate::tracker) fn slot(&self) -> Slot {
        self.slot
    }

    /// How often [`Self::take_tally`] has seeded or confirmed the gauges since the last snapshot.
    pub(in crate::tracker) fn confirmations(&self) -> u64 {
        self.confirmations
    }

    /// Seeds the ledger by the sockets that processes have held since the counters were `before`, or confirms it. `None` if
    /// these are not all sockets; `Some(false)` if they are, and a snapshot has to find out why the gauges differ.
    pub(in crate::tracker) fn take_tally(
        &mut self,
        active: &mut ActiveTracer,
        before: &Transitions,
        held: &Tally,
        duration: Duration,
    ) -> Option<bool> {
        if self.counted(active) != *before {
            return None;
        }
        let (missed, hooks) = (active.missed(), active.tracer.hooks);
        let mut reader = self.reader.tallied(&mut active.tracer, self.slot, before, held)?;
        let taken = match &mut self.audit {
            None => {
                Audit::seed(hooks, &mut reader).map(|(audit, _)| self.audit = Some(audit)).is_ok()
            }
            Some(audit) if audit.ledger().drift(before, &held.full) != PerState::default() => false,
            Some(audit) => matches!(audit.reconcile(&mut reader), Ok(Verdict::Agrees)),
        };
        if taken {
            self.reader.record_tally(held, duration);
            self.health.reconciles[Reason::Interval as usize] += 1;
            self.verified = Counts { transitions: before.total(), missed };
            self.last_reconcile = Instant::now();
            self.wanted = None;
            self.confirmations += 1;
        }
        let netns = self.netns.as_deref();
        let agree = if taken { "agree" } else { "differ" };
        debug!(netns, "processes hold all sockets of it, and the gauges {agree}");
        Some(taken)
    }
}
