//! The tracker's thread: when to look, when to list, and what to tell of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{
    Live, Published, Reason, SnapshotError, Tracker, TrackerError,
    host::{EventsMissed, Host},
    programs::Programs,
    sources::Sources,
};
use crate::{
    clock,
    kernel::{Program, release_memory},
    ledger::{
        audit::Audit,
        reconcile::{Correction, Verdict},
    },
    states::{PerState, family_word, state_word},
    transitions::Transitions,
};

/// How often the check is looked at between snapshots.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The same while ledger and kernel are known to differ, or may.
const DOUBTFUL_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Transitions of which one may have been lost unnoticed: of the kernels that are known, the worst
/// loses one in a million so. After so many a listing is due when it is calm.
const MANY_TRANSITIONS: u64 = 10_000;
/// Transitions between two looks at most for it to be calm.
const CALM: u64 = 100;
/// While sockets move, snapshots out of turn take at most one part in this of the time.
const BUDGET: u32 = 10;

/// Wakes the thread: look at the check, and whether to stop.
pub(super) struct Wake;

/// What the thread owns.
pub(super) struct Task {
    host: Host,
    /// `None` without a tracer, and before the seed.
    audit: Option<Audit>,
    state: Published,
    publish: watch::Sender<Arc<Published>>,
    last_reconcile: Instant,
    /// Events missed when the last reconcile was made.
    missed_then: u64,
    agreements_told: u64,
    /// Transitions counted at the last look.
    counted_then: u64,
    /// The same when a listing last agreed, or was made to agree.
    counted_verified: u64,
    programs: Programs,
    /// Whether a snapshot was taken because families differed, since the last one of the interval. Sockets
    /// may change their family for ever.
    families_listed: bool,
    /// Whether the last listing failed: that is told once.
    snapshot_failed: bool,
    /// Of the tracers before this one.
    carried: Arc<Transitions>,
    /// Likewise.
    missed_before: u64,
}

impl Task {
    pub(super) fn new(tracker: Tracker, publish: watch::Sender<Arc<Published>>) -> Self {
        let Tracker { procfs, tracer, programs, source, snapshot_interval } = tracker;
        let sources = Sources::new(procfs.clone(), source, snapshot_interval, tracer.is_some());
        Self {
            host: Host::new(procfs, sources, tracer),
            audit: None,
            state: Published::default(),
            publish,
            last_reconcile: Instant::now(),
            missed_then: 0,
            agreements_told: 0,
            counted_then: 0,
            counted_verified: 0,
            programs: Programs::new(&programs),
            families_listed: false,
            snapshot_failed: false,
            carried: Arc::default(),
            missed_before: 0,
        }
    }

    /// Seeds, then works until `stopping` is set, which it sees when it is woken.
    ///
    /// # Errors
    /// [`TrackerError::Seed`].
    pub(super) fn run(
        &mut self,
        woken: &Receiver<Wake>,
        stopping: &AtomicBool,
    ) -> Result<(), TrackerError> {
        self.seed().map_err(TrackerError::Seed)?;
        let mut next_snapshot = Instant::now() + self.host.sources.interval();
        let mut next_check = self.next_check();
        loop {
            let due =
                if self.audit.is_some() { next_check.min(next_snapshot) } else { next_snapshot };
            let woken = woken.recv_timeout(due.saturating_duration_since(Instant::now()));
            if stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            match woken {
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Wake) => self.check(),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= next_snapshot => {
                    self.reconcile(Reason::Interval);
                    self.families_listed = false;
                    next_snapshot = Instant::now() + self.host.sources.interval();
                    next_check = self.next_check();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.check();
                    next_check = self.next_check();
                }
            }
        }
    }

    fn next_check(&self) -> Instant {
        let differs = self.audit.as_ref().is_some_and(|audit| !audit.consistent());
        let anxious = differs || self.unverified() >= MANY_TRANSITIONS;
        Instant::now() + if anxious { DOUBTFUL_CHECK_INTERVAL } else { CHECK_INTERVAL }
    }

    /// Transitions at the last look since a listing agreed.
    fn unverified(&self) -> u64 {
        self.counted_then.saturating_sub(self.counted_verified)
    }

    fn seed(&mut self) -> Result<(), SnapshotError> {
        if let Err(error) = self.host.procfs.sockstat() {
            warn!(%error, "sockstat cannot be read: the gauges are checked at snapshots only");
        }
        match self.host.traced() {
            None => self.host.list_alone()?,
            Some(mut host) => {
                let (audit, settled) = Audit::seed(host.tracer.hooks, &mut host)?;
                if !settled {
                    warn!(
                        "the seed is not exact: too many sockets changed state during it; a later snapshot corrects the counts"
                    );
                }
                self.audit = Some(audit);
            }
        }
        self.last_reconcile = Instant::now();
        self.publish();
        if let Some(snapshot) = &self.state.snapshot {
            let (sockets, source) = (snapshot.tally.rows, snapshot.source.word());
            info!(sockets, source, duration = ?snapshot.duration, "ready");
            // All that the start took for a moment is free now.
            release_memory();
        }
        Ok(())
    }

    /// Looks at what the kernel tells at no cost, and reconciles at once where it tells of a fault.
    fn check(&mut self) {
        let (Some(audit), Some(mut host)) = (&mut self.audit, self.host.traced()) else { return };
        host.tracer.flush_log();
        let mut missed_by_program = 0;
        match host.events_missed() {
            Ok(EventsMissed { by_program, others }) => {
                missed_by_program = by_program;
                self.state.events_missed = self.missed_before + by_program + others;
            }
            Err(error) => debug!(%error, "the number of missed events is unknown"),
        }
        let counted = host.tracer.counters.read().total();
        if let Some(better) = self.programs.judge(host.tracer.program, counted, missed_by_program) {
            self.change_tracer(better);
            return;
        }
        let moved = counted.abs_diff(std::mem::replace(&mut self.counted_then, counted));
        let since = self.last_reconcile.elapsed();
        let budget = host.last_duration() * BUDGET;
        let reason = if moved > 0 && since < budget.max(CHECK_INTERVAL) {
            None
        } else if audit.sockstat_differs(&mut host) {
            Some(Reason::SockstatCheck)
        } else if self.state.events_missed > self.missed_then {
            Some(Reason::MissedEvents)
        } else if audit.families_differ() && !std::mem::replace(&mut self.families_listed, true) {
            Some(Reason::SockstatCheck)
        } else {
            let due = moved <= CALM && since >= budget && self.unverified() >= MANY_TRANSITIONS;
            due.then_some(Reason::AfterChurn)
        };
        match reason {
            Some(reason) => self.reconcile(reason),
            None => self.publish(),
        }
    }

    /// Lets `program` count from now on, after a seed of its own. Until then the other one does; where
    /// it cannot be loaded or seeded, also from then on.
    fn change_tracer(&mut self, program: Program) {
        let Some(audit) = &mut self.audit else { return };
        let old = match self.host.load_tracer(program) {
            Ok(old) => old,
            Err(cause) => {
                warn!(
                    program = program.word(),
                    "too many missed events, and switching programs failed: {cause}"
                );
                self.programs.refused(program);
                return;
            }
        };
        let seeded = self.host.traced().map(|mut host| audit.reseed(host.tracer.hooks, &mut host));
        if let Some(Err(error)) = seeded {
            warn!(%error, "too many missed events, and seeding the other program failed");
            self.host.tracer = old;
            return;
        }
        if let (Some(old), Some(new)) = (old, &self.host.tracer) {
            info!(
                from = old.program.word(),
                to = program.word(),
                missed = self.state.events_missed,
                "too many missed events: switched to the program that misses fewer"
            );
            // The new one first: what comes between the two looks counts once at least, so that the
            // sum never goes back.
            let counted = new.counters.read();
            self.counted_then = counted.total();
            self.carried = Arc::new(self.carried.plus(&old.counters.read()).since(&counted));
        }
        self.programs.changed();
        self.counted_verified = self.counted_then;
        self.missed_before = self.state.events_missed;
        self.missed_then = self.state.events_missed;
        self.state.tracer_changes += 1;
        self.last_reconcile = Instant::now();
        self.publish();
    }

    fn reconcile(&mut self, reason: Reason) {
        let counted = self.host.tracer.as_ref().map(|tracer| tracer.counters.read().total());
        let outcome = match (&mut self.audit, self.host.traced()) {
            (Some(audit), Some(mut host)) => audit.reconcile(&mut host).map(Some),
            _ => self.host.list_alone().map(|()| None),
        };
        self.state.health.reconciles[reason as usize] += 1;
        debug!(reason = reason.word(), ?outcome, "reconciled");
        match outcome {
            Err(error) => {
                if !std::mem::replace(&mut self.snapshot_failed, true) {
                    warn!("snapshot failed, the numbers of the last one are kept: {error}");
                }
                self.last_reconcile = Instant::now();
                self.publish();
                return;
            }
            Ok(None) => {}
            Ok(Some(verdict)) => {
                let verified = match verdict {
                    Verdict::Agrees => true,
                    Verdict::Correct(Correction { sums, .. }) => sums,
                    Verdict::Undecided => false,
                };
                if verified {
                    self.missed_then = self.state.events_missed;
                    self.counted_verified = counted.unwrap_or_default();
                }
                if let Verdict::Correct(Correction { drift, .. }) = verdict {
                    self.tell_correction(&drift);
                }
            }
        }
        if std::mem::take(&mut self.snapshot_failed) {
            info!("snapshots succeed again");
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
                "corrected: the count had drifted from the kernel's list"
            );
        }
    }

    fn publish(&mut self) {
        self.state.snapshot.clone_from(&self.host.snapshot);
        self.state.snapshot_interval = self.host.sources.interval();
        self.state.snapshot_errors = self.host.snapshot_errors;
        if let (Some(audit), Some(tracer)) = (&self.audit, &self.host.tracer) {
            self.state.live = Some(Arc::new(Live {
                program: tracer.program,
                hooks: tracer.hooks,
                counters: tracer.counters.clone(),
                ledger: audit.ledger().clone(),
                carried: self.carried.clone(),
                checks: audit.checks().clone(),
                changed_family: audit.changed_family(),
            }));
            self.state.drift = *audit.drift();
            self.state.health.consistent = audit.consistent();
            self.state.health.mismatches = audit.mismatches();
            if audit.agreements() != self.agreements_told {
                self.agreements_told = audit.agreements();
                self.state.health.last_agreement = Some(clock::now());
            }
        }
        self.publish.send_replace(Arc::new(self.state.clone()));
    }
}
