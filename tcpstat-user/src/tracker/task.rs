//! The tracker's thread: when to look, when to list, and what to tell of it.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{Live, Published, SnapshotError, Tracker, TrackerError, host::Host, lister::Lister};
use crate::{
    ledger::{audit::Audit, reconcile::Verdict},
    metrics::Reason,
    states::{PerState, family_word, state_word},
};

/// How often the tripwire is looked at between snapshots.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The same while ledger and kernel are known to differ.
const ANXIOUS_LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// While sockets move, snapshots out of turn take at most one part in this of the time.
const BUDGET: u32 = 10;

/// What wakes the thread.
pub(super) enum Wake {
    /// Look at the tripwire now.
    Look,
    /// End.
    Stop,
}

/// What the thread owns.
pub(super) struct Task {
    host: Host,
    /// `None` without a tracer, and before the seed.
    audit: Option<Audit>,
    state: Published,
    publish: watch::Sender<Published>,
    last_reconcile: Instant,
    /// Events missed when the last reconcile was made.
    missed_then: u64,
    agreements_told: u64,
    /// Transitions counted at the last look.
    counted_then: u64,
}

impl Task {
    pub(super) fn new(tracker: Tracker, publish: watch::Sender<Published>) -> Self {
        let Tracker { procfs, tracer, source, snapshot_interval } = tracker;
        let lister = Lister::new(procfs.clone(), source, snapshot_interval, tracer.is_some());
        Self {
            host: Host::new(procfs, lister, tracer),
            audit: None,
            state: Published::default(),
            publish,
            last_reconcile: Instant::now(),
            missed_then: 0,
            agreements_told: 0,
            counted_then: 0,
        }
    }

    /// Seeds, then works until it is told to stop.
    ///
    /// # Errors
    /// [`TrackerError::Seed`].
    pub(super) fn run(&mut self, woken: &Receiver<Wake>) -> Result<(), TrackerError> {
        self.seed().map_err(TrackerError::Seed)?;
        let mut next_snapshot = Instant::now() + self.host.lister.interval();
        let mut next_look = self.next_look();
        loop {
            let due =
                if self.audit.is_some() { next_look.min(next_snapshot) } else { next_snapshot };
            match woken.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Wake::Look) => self.look(),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= next_snapshot => {
                    self.reconcile(Reason::Interval);
                    next_snapshot = Instant::now() + self.host.lister.interval();
                    next_look = self.next_look();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    next_look = self.next_look();
                }
            }
        }
    }

    fn next_look(&self) -> Instant {
        let differs = self.audit.as_ref().is_some_and(|audit| !audit.consistent());
        Instant::now() + if differs { ANXIOUS_LOOK_INTERVAL } else { LOOK_INTERVAL }
    }

    fn seed(&mut self) -> Result<(), SnapshotError> {
        if let Err(error) = self.host.procfs.sockstat() {
            warn!(%error, "the sum of the gauges cannot be checked between snapshots");
        }
        match self.host.traced() {
            None => self.host.list_alone()?,
            Some(mut host) => {
                let (audit, settled) = Audit::seed(&mut host)?;
                if !settled {
                    warn!("seeded with doubts: sockets moved too fast; a later snapshot will tell");
                }
                self.audit = Some(audit);
            }
        }
        self.last_reconcile = Instant::now();
        self.publish();
        Ok(())
    }

    /// Looks at what the kernel tells at no cost, and reconciles at once where it tells of a fault.
    fn look(&mut self) {
        let (Some(audit), Some(mut host)) = (&mut self.audit, self.host.traced()) else { return };
        host.tracer.flush_log();
        match host.events_missed() {
            Ok(missed) => self.state.events_missed = missed,
            Err(error) => debug!(%error, "events missed are unknown"),
        }
        let counted = host.tracer.counters.read().total();
        let still = std::mem::replace(&mut self.counted_then, counted) == counted;
        let budget = (host.last_duration() * BUDGET).max(LOOK_INTERVAL);
        let reason = if !still && self.last_reconcile.elapsed() < budget {
            None
        } else if audit.tripped(&mut host) {
            Some(Reason::Tripwire)
        } else {
            (self.state.events_missed > self.missed_then).then_some(Reason::MissedEvents)
        };
        match reason {
            Some(reason) => self.reconcile(reason),
            None => self.publish(),
        }
    }

    fn reconcile(&mut self, reason: Reason) {
        let outcome = match (&mut self.audit, self.host.traced()) {
            (Some(audit), Some(mut host)) => audit.reconcile(&mut host).map(Some),
            _ => self.host.list_alone().map(|()| None),
        };
        self.state.health.reconciles[reason as usize] += 1;
        debug!(?reason, ?outcome, "reconciled");
        match outcome {
            Err(error) => warn!(%error, "snapshot failed; the numbers of the last one stay"),
            Ok(None) => {}
            Ok(Some(outcome)) => {
                if outcome.verdict != Verdict::Undecided {
                    self.missed_then = self.state.events_missed;
                }
                if let Some(drift) = outcome.corrected {
                    self.tell_correction(&drift);
                }
            }
        }
        self.last_reconcile = Instant::now();
        self.publish();
    }

    fn tell_correction(&mut self, drift: &PerState<i64>) {
        for (family, state, drift) in drift.iter().filter(|&(.., drift)| drift != 0) {
            self.state.corrections[(family, state)] += drift.unsigned_abs();
            info!(
                family = family_word(family),
                state = state_word(state),
                drift,
                "corrected: the ledger had drifted from the kernel's list"
            );
        }
    }

    fn publish(&mut self) {
        self.state.snapshot.clone_from(&self.host.snapshot);
        self.state.snapshot_interval = self.host.lister.interval();
        self.state.snapshot_errors = self.host.snapshot_errors;
        if let (Some(audit), Some(tracer)) = (&self.audit, &self.host.tracer) {
            self.state.live = Some(Live {
                program: tracer.program,
                counters: tracer.counters.clone(),
                ledger: audit.ledger().clone(),
                excused: audit.excused(),
            });
            self.state.drift = *audit.drift();
            self.state.health.consistent = audit.consistent();
            self.state.health.trips = audit.trips();
            if audit.agreements() != self.agreements_told {
                self.agreements_told = audit.agreements();
                self.state.health.last_agreement = Some(SystemTime::now());
            }
        }
        self.publish.send_replace(self.state.clone());
    }
}
