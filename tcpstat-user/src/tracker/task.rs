//! The tracker's thread: gives each namespace its turns, and publishes their results.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Instant,
};

use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    Published, Reason, Tracker, TrackerError, active_tracer::ActiveTracer, namespace::Namespace,
    sources::Sources,
};
use crate::kernel::{Program, release_memory};

/// Wakes the thread: it checks, and sees whether it has to stop.
pub(super) struct Wake;

/// What the thread owns. It alone changes the ledger.
pub(super) struct Task {
    own: Namespace,
    /// `None` if there are snapshots only.
    tracer: Option<ActiveTracer>,
    publish: watch::Sender<Arc<Published>>,
}

impl Task {
    pub(super) fn new(tracker: Tracker, publish: watch::Sender<Arc<Published>>) -> Self {
        let Tracker { procfs, tracer, programs, source, snapshot_interval } = tracker;
        let sources = Sources::new(procfs, source, snapshot_interval, tracer.is_some());
        let tracer = tracer.map(|tracer| ActiveTracer::new(tracer, &programs));
        Self { own: Namespace::new(sources), tracer, publish }
    }

    /// Seeds the ledger, then works until it is woken after `stopping` was set.
    ///
    /// # Errors
    /// [`TrackerError::Seed`].
    pub(super) fn run(
        &mut self,
        woken: &Receiver<Wake>,
        stopping: &AtomicBool,
    ) -> Result<(), TrackerError> {
        self.seed()?;
        let mut next_snapshot = Instant::now() + self.own.snapshot_interval();
        let mut next_check = self.next_check();
        loop {
            let due = next_check.map_or(next_snapshot, |check| check.min(next_snapshot));
            let woken = woken.recv_timeout(due.saturating_duration_since(Instant::now()));
            if stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            match woken {
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Wake) => self.check(),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= next_snapshot => {
                    self.reconcile(Reason::Interval);
                    next_snapshot = Instant::now() + self.own.snapshot_interval();
                    next_check = self.next_check();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.check();
                    next_check = self.next_check();
                }
            }
        }
    }

    fn next_check(&self) -> Option<Instant> {
        Some(Instant::now() + self.own.check_interval()?)
    }

    fn seed(&mut self) -> Result<(), TrackerError> {
        self.own.seed(self.tracer.as_mut()).map_err(TrackerError::Seed)?;
        self.publish();
        if let Some(snapshot) = self.own.last_snapshot() {
            let (sockets, source) = (snapshot.tally.rows, snapshot.source.word());
            info!(sockets, source, duration = ?snapshot.duration, "ready");
            // The start needed memory that is free now.
            release_memory();
        }
        Ok(())
    }

    /// Reads what the kernel gives at constant cost. Switches the program, or reconciles, if there is a
    /// reason.
    fn check(&mut self) {
        let Some(active) = &mut self.tracer else { return };
        if let Some(better) = active.check() {
            self.switch_program(better);
            return;
        }
        match self.own.check(active) {
            Some(reason) => self.reconcile(reason),
            None => self.publish(),
        }
    }

    /// Lets `program` count from now on, after a seed of its own. If it cannot be loaded or seeded, the
    /// current program continues.
    fn switch_program(&mut self, program: Program) {
        let Some(active) = &mut self.tracer else { return };
        let Some(mut tracer) = active.load(program, self.own.procfs()) else { return };
        if let Err(error) = self.own.reseed(&mut tracer) {
            warn!(%error, "too many missed events, and seeding the other program failed");
            return;
        }
        let old = active.replace(tracer);
        self.own.carry_over(&old, active);
        drop(old);
        self.publish();
    }

    fn reconcile(&mut self, reason: Reason) {
        self.own.reconcile(self.tracer.as_mut(), reason);
        self.publish();
    }

    fn publish(&mut self) {
        let published = self.own.publication(self.tracer.as_ref());
        self.publish.send_replace(Arc::new(published));
    }
}
