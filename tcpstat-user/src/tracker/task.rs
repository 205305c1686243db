//! The tracker's thread: gives each namespace its turns, and publishes their results.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    Published, Tracker, TrackerError,
    active_tracer::ActiveTracer,
    namespace::Namespace,
    schedule::{Schedule, Slot, Turn},
    sources::Sources,
};
use crate::{
    clock,
    kernel::{Program, release_memory},
};

/// Wakes the thread: it checks, and sees whether it has to stop.
pub(super) struct Wake;

/// What the thread owns. It alone changes the ledgers.
pub(super) struct Task {
    namespaces: Namespaces,
    schedule: Schedule,
    /// `None` if there are snapshots only.
    tracer: Option<ActiveTracer>,
    publish: watch::Sender<Arc<Published>>,
}

/// The namespaces that take turns.
struct Namespaces {
    own: Namespace,
    others: BTreeMap<Slot, Namespace>,
}

impl Namespaces {
    /// A namespace that takes turns; `None` if it has left.
    fn get_mut(&mut self, slot: Slot) -> Option<&mut Namespace> {
        if slot == Slot::OWN { Some(&mut self.own) } else { self.others.get_mut(&slot) }
    }
}

impl Task {
    pub(super) fn new(tracker: Tracker, publish: watch::Sender<Arc<Published>>) -> Self {
        let Tracker { procfs, tracer, programs, source, snapshot_interval, .. } = tracker;
        let sources = Sources::new(procfs, source, snapshot_interval, tracer.is_some());
        let tracer = tracer.map(|tracer| ActiveTracer::new(tracer, &programs));
        let own = Namespace::new(sources);
        let schedule = Schedule::new(own.intervals(), Instant::now());
        let namespaces = Namespaces { own, others: BTreeMap::new() };
        Self { namespaces, schedule, tracer, publish }
    }

    /// Seeds the own namespace, then gives turns until it is woken after `stopping` was set.
    ///
    /// # Errors
    /// [`TrackerError::Seed`].
    pub(super) fn run(
        &mut self,
        woken: &Receiver<Wake>,
        stopping: &AtomicBool,
    ) -> Result<(), TrackerError> {
        self.seed()?;
        loop {
            let now = Instant::now();
            let woken = woken.recv_timeout(self.schedule.due(now) - now);
            if stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            match woken {
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Wake) => self.check(),
                Err(RecvTimeoutError::Timeout) => match self.schedule.turn(Instant::now()) {
                    Some(Turn::Snapshot(slot)) => self.take_turn(slot),
                    Some(Turn::Check) => {
                        self.check();
                        let next = self.namespaces.own.intervals().check;
                        self.schedule.checked(Slot::OWN, Instant::now(), Duration::ZERO, next);
                        self.check_others();
                    }
                    None => {}
                },
            }
        }
    }

    /// Lets another namespace take turns, before its seed.
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing finds other namespaces yet"))]
    fn add(&mut self, slot: Slot, namespace: Namespace) {
        self.namespaces.others.insert(slot, namespace);
        self.schedule.add(slot, Instant::now());
    }

    /// Forgets another namespace.
    fn remove(&mut self, slot: Slot) {
        self.namespaces.others.remove(&slot);
        self.schedule.remove(slot);
    }

    fn seed(&mut self) -> Result<(), TrackerError> {
        let own = &mut self.namespaces.own;
        own.seed(self.tracer.as_mut().map(|active| &mut active.tracer))
            .map_err(TrackerError::Seed)?;
        self.publish();
        let own = &self.namespaces.own;
        if let Some(snapshot) = own.last_snapshot() {
            let (sockets, source) = (snapshot.tally.rows, snapshot.source.word());
            info!(sockets, source, duration = ?snapshot.duration, "ready");
            // The start needed memory that is free now.
            release_memory();
        }
        let next = own.intervals();
        self.schedule.snapshot_taken(Slot::OWN, Instant::now(), Duration::ZERO, next);
        Ok(())
    }

    /// Checks the own namespace. Switches the program, or reconciles, if there is a reason.
    fn check(&mut self) {
        let Some(active) = &mut self.tracer else { return };
        if let Some(better) = active.check() {
            self.switch_program(better);
            return;
        }
        let own = &mut self.namespaces.own;
        if let Some(reason) = own.check(active) {
            own.reconcile(Some(active), reason);
        }
        self.publish();
    }

    /// Checks the others that are due. If there is a reason to reconcile one, its next turn is due.
    fn check_others(&mut self) {
        let Some(active) = &mut self.tracer else { return };
        while let Some(slot) = self.schedule.check_beside(Instant::now()) {
            let Some(namespace) = self.namespaces.others.get_mut(&slot) else {
                self.schedule.remove(slot);
                continue;
            };
            let cpu = clock::thread_cpu();
            let reason = namespace.check(active);
            let took = clock::thread_cpu().saturating_sub(cpu);
            let (now, next) = (Instant::now(), namespace.intervals().check);
            self.schedule.checked(slot, now, took, next);
            if let Some(reason) = reason {
                namespace.want_snapshot(reason);
                self.schedule.hurry(slot, now);
            }
        }
    }

    /// Gives a namespace its turn.
    fn take_turn(&mut self, slot: Slot) {
        let Some(namespace) = self.namespaces.get_mut(slot) else { return self.remove(slot) };
        let cpu = clock::thread_cpu();
        namespace.take_turn(self.tracer.as_mut());
        let took = clock::thread_cpu().saturating_sub(cpu);
        let next = namespace.intervals();
        if slot == Slot::OWN {
            self.publish();
        }
        self.schedule.snapshot_taken(slot, Instant::now(), took, next);
    }

    /// Lets `program` count from now on, after a seed of its own. If it cannot be loaded or seeded, the
    /// current program continues.
    fn switch_program(&mut self, program: Program) {
        let Some(active) = &mut self.tracer else { return };
        let own = &mut self.namespaces.own;
        let Some(mut tracer) = active.load(program, own.procfs()) else { return };
        if let Err(error) = own.reseed(&mut tracer) {
            warn!(%error, "too many missed events, and seeding the other program failed");
            return;
        }
        let old = active.replace(tracer);
        own.carry_over(&old, active);
        drop(old);
        self.publish();
    }

    /// Publishes the own namespace. Nothing shows the others yet.
    fn publish(&mut self) {
        let published = self.namespaces.own.publication(self.tracer.as_ref());
        self.publish.send_replace(Arc::new(published));
    }
}

#[cfg(test)]
mod tests;
