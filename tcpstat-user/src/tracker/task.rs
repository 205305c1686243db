//! The tracker's thread: schedules snapshots and checks, and publishes their results.

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
    kernel::{Program, Slot, Tracer, release_memory},
    ledger::{
        audit::Audit,
        reconcile::{Correction, Verdict},
    },
    states::{PerState, family_word, state_word},
    transitions::Transitions,
};

/// Time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The same while ledger and kernel differ, or while a snapshot after churn is due.
const FAST_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// After so many transitions without verification a snapshot is due in calm: one may have been lost without a
/// report. The worst known kernel loses one in a million.
const MANY_TRANSITIONS: u64 = 10_000;
/// It is calm if there were at most so many transitions since the last check.
const CALM: u64 = 100;
/// While sockets change state, snapshots outside the interval take at most this fraction of the time: 1 /
/// `BUDGET`.
const BUDGET: u32 = 10;

/// Wakes the thread: it checks, and sees whether it has to stop.
pub(super) struct Wake;

/// What the thread owns. It alone changes the ledger.
pub(super) struct Task {
    host: Host,
    /// `None` before the seed and without a tracer.
    audit: Option<Audit>,
    /// The next publication.
    state: Published,
    publish: watch::Sender<Arc<Published>>,
    programs: Programs,
    last_reconcile: Instant,
    /// Transitions counted at the last check.
    counted_at_check: u64,
    /// Transitions counted when a snapshot last verified the ledger.
    counted_verified: u64,
    /// Events missed when a snapshot last verified the ledger.
    missed_verified: u64,
    agreements_published: u64,
    /// Whether the tracker reconciled because of families since the last interval. Once is the limit, because
    /// sockets may change their family without end.
    families_reconciled: bool,
    /// Whether the last snapshot failed, which is logged once.
    snapshot_failed: bool,
    /// Transitions that earlier tracers counted.
    carried: Arc<Transitions>,
    /// Events that earlier tracers missed.
    missed_by_earlier: u64,
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
            programs: Programs::new(&programs),
            last_reconcile: Instant::now(),
            counted_at_check: 0,
            counted_verified: 0,
            missed_verified: 0,
            agreements_published: 0,
            families_reconciled: false,
            snapshot_failed: false,
            carried: Arc::default(),
            missed_by_earlier: 0,
        }
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
                    self.families_reconciled = false;
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
        let fast = differs || self.unverified() >= MANY_TRANSITIONS;
        Instant::now() + if fast { FAST_CHECK_INTERVAL } else { CHECK_INTERVAL }
    }

    /// Transitions between the last verification and the last check.
    fn unverified(&self) -> u64 {
        self.counted_at_check.saturating_sub(self.counted_verified)
    }

    fn seed(&mut self) -> Result<(), SnapshotError> {
        if let Err(error) = self.host.procfs.sockstat() {
            warn!(%error, "sockstat cannot be read: the gauges are checked at snapshots only");
        }
        match self.host.traced() {
            None => self.host.snapshot()?,
            Some(mut host) => {
                let (audit, exact) = Audit::seed(host.tracer.hooks, &mut host)?;
                if !exact {
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
            // The start needed memory that is free now.
            release_memory();
        }
        Ok(())
    }

    /// Reads what the kernel gives at constant cost. Switches the program, or reconciles, if there is a
    /// reason.
    fn check(&mut self) {
        if self.audit.is_none() {
            return;
        }
        let Some(host) = self.host.traced() else { return };
        host.tracer.flush_log();
        let mut missed_by_program = 0;
        match host.events_missed() {
            Ok(EventsMissed { by_program, others }) => {
                missed_by_program = by_program;
                self.state.events_missed = self.missed_by_earlier + by_program + others;
            }
            Err(error) => debug!(%error, "the number of missed events is unknown"),
        }
        let counted = host.tracer.counters.read(Slot::OWN).total();
        if let Some(better) = self.programs.judge(host.tracer.program, counted, missed_by_program) {
            self.switch_program(better);
            return;
        }
        match self.reason_to_reconcile(counted) {
            Some(reason) => self.reconcile(reason),
            None => self.publish(),
        }
    }

    /// `counted` is the number of transitions so far.
    fn reason_to_reconcile(&mut self, counted: u64) -> Option<Reason> {
        let transitions = counted.abs_diff(std::mem::replace(&mut self.counted_at_check, counted));
        let unverified = self.unverified();
        let (audit, mut host) = (self.audit.as_mut()?, self.host.traced()?);
        let elapsed = self.last_reconcile.elapsed();
        let budget = host.last_duration() * BUDGET;
        if transitions > 0 && elapsed < budget.max(CHECK_INTERVAL) {
            return None;
        }
        if audit.sockstat_differs(&mut host) {
            return Some(Reason::SockstatCheck);
        }
        if self.state.events_missed > self.missed_verified {
            return Some(Reason::MissedEvents);
        }
        if audit.families_differ() && !std::mem::replace(&mut self.families_reconciled, true) {
            return Some(Reason::SockstatCheck);
        }
        let due = transitions <= CALM && elapsed >= budget && unverified >= MANY_TRANSITIONS;
        due.then_some(Reason::AfterChurn)
    }

    /// Lets `program` count from now on, after a seed of its own. If it cannot be loaded or seeded, the
    /// current program continues.
    fn switch_program(&mut self, program: Program) {
        let Some(audit) = &mut self.audit else { return };
        let old = match self.host.load_tracer(program) {
            Ok(old) => old,
            Err(error) => {
                let (program_word, cause) = (program.word(), error.report());
                warn!(
                    program = program_word,
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
        if let Some(old) = old {
            self.carry_over(&old, program);
        }
        self.programs.switched();
        self.counted_verified = self.counted_at_check;
        self.missed_by_earlier = self.state.events_missed;
        self.missed_verified = self.state.events_missed;
        self.state.tracer_changes += 1;
        self.last_reconcile = Instant::now();
        self.publish();
    }

    /// Adds the transitions of the old tracer to those of the new one.
    fn carry_over(&mut self, old: &Tracer, program: Program) {
        let Some(new) = &self.host.tracer else { return };
        info!(
            from = old.program.word(),
            to = program.word(),
            missed = self.state.events_missed,
            "too many missed events: switched to the program that misses fewer"
        );
        // The new counters are read first, so a transition between the two readings counts at least once
        // and the sum never decreases.
        let counted = new.counters.read(Slot::OWN);
        self.counted_at_check = counted.total();
        self.carried = Arc::new(self.carried.plus(&old.counters.read(Slot::OWN)).since(&counted));
    }

    fn reconcile(&mut self, reason: Reason) {
        let counted =
            self.host.tracer.as_ref().map(|tracer| tracer.counters.read(Slot::OWN).total());
        let outcome = match (&mut self.audit, self.host.traced()) {
            (Some(audit), Some(mut host)) => audit.reconcile(&mut host).map(Some),
            _ => self.host.snapshot().map(|()| None),
        };
        self.state.health.reconciles[reason as usize] += 1;
        debug!(reason = reason.word(), ?outcome, "reconciled");
        match outcome {
            Ok(verdict) => {
                if let Some(verdict) = verdict {
                    self.note_verdict(verdict, counted.unwrap_or_default());
                }
                if std::mem::take(&mut self.snapshot_failed) {
                    info!("snapshots succeed again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.snapshot_failed, true) {
                    warn!("snapshot failed, the numbers of the last one are kept: {error}");
                }
            }
        }
        self.last_reconcile = Instant::now();
        self.publish();
    }

    /// `counted` is the number of transitions before the snapshot.
    fn note_verdict(&mut self, verdict: Verdict, counted: u64) {
        let verified = match verdict {
            Verdict::Agrees => true,
            Verdict::Correct(Correction { sums, .. }) => sums,
            Verdict::Undecided => false,
        };
        if verified {
            self.missed_verified = self.state.events_missed;
            self.counted_verified = counted;
        }
        if let Verdict::Correct(Correction { drift, .. }) = verdict {
            self.note_correction(&drift);
        }
    }

    fn note_correction(&mut self, drift: &PerState<i64>) {
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
        self.state.snapshot.clone_from(&self.host.snapshots.last);
        self.state.snapshot_interval = self.host.sources.interval();
        self.state.snapshot_errors = self.host.snapshots.errors;
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
            if audit.agreements() != self.agreements_published {
                self.agreements_published = audit.agreements();
                self.state.health.last_agreement = Some(clock::now());
            }
        }
        self.publish.send_replace(Arc::new(self.state.clone()));
    }
}
