//! What the tracker publishes about a namespace.

use std::sync::Arc;

use super::{ActiveTracer, Namespace};
use crate::{
    clock,
    states::PerState,
    tracker::{Health, Live, Published},
};

impl Namespace {
    /// What a scrape of this namespace needs. `active` is the tracer that counts.
    pub(in crate::tracker) fn publication(&mut self, active: Option<&ActiveTracer>) -> Published {
        let mut published = Published {
            live: None,
            // After `discard_seed` the last one says nothing.
            snapshot: self.reader.last().filter(|_| self.is_seeded(active.is_some())).cloned(),
            snapshot_interval: self.reader.interval(),
            snapshot_errors: self.reader.errors(),
            drift: PerState::default(),
            corrections: self.corrections,
            events_missed: active.map_or(0, ActiveTracer::missed),
            tracer_changes: active.map_or(0, ActiveTracer::changes),
            health: self.health,
            close_wait_ages: None,
            dwells: None,
            namespaces: None,
            listeners: None,
        };
        let (Some(audit), Some(ActiveTracer { tracer, .. })) = (&self.audit, active) else {
            return published;
        };
        let mut ledger = audit.ledger().clone();
        if !self.is_listed() {
            ledger.forget_requests();
        }
        published.live = Some(Arc::new(Live {
            program: tracer.program,
            hooks: tracer.hooks,
            counters: tracer.counters.clone(),
            slot: self.slot,
            ledger,
            silence_rate: tracer.silence_rate,
            carried: self.carried.clone(),
            carried_details: self.carried_details.clone(),
            checks: audit.checks().clone(),
            changed_family: audit.changed_family(),
            scopes: self.reader.scopes(),
        }));
        published.drift = *audit.drift();
        if audit.agreements() != self.agreements_published {
            self.agreements_published = audit.agreements();
            self.health.last_agreement = Some(clock::now());
        }
        published.health = Health {
            consistent: audit.consistent(),
            mismatches: audit.mismatches(),
            ..self.health
        };
        published
    }
}
