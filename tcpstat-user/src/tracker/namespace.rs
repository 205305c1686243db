//! One network namespace: its ledger, and when and why it is checked and reconciled.

mod publication;
mod slot;
mod walked;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

pub(super) use self::walked::WalkResult;
use super::{
    Health, LastSnapshot, OwnScopes, Reason, SnapshotError,
    active_tracer::{ActiveTracer, Counts},
    reader::Reader,
    roots::Roots,
    schedule::Intervals,
    sources::Sources,
};
use crate::{
    detailed::DetailedTransitions,
    kernel::{Reserved, Slot, Tracer},
    ledger::{
        audit::Audit,
        reconcile::{Correction, Verdict},
    },
    states::{Family, Object, PerState, State, family_word, state_word},
    transitions::Transitions,
};

/// Time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two checks while ledger and kernel differ, or while a snapshot after churn is due.
const FAST_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// After so many transitions without verification a snapshot is due in calm: one may have been lost without a
/// report. The worst known kernel loses one in a million.
const MANY_TRANSITIONS: u64 = 10_000;
/// It is calm if there were at most so many transitions since the last check.
const CALM: u64 = 100;
/// While sockets change state, snapshots outside the interval take at most this fraction of the time: 1 /
/// `BUDGET`.
const BUDGET: u32 = 10;

/// A namespace whose sockets are counted, or listed only.
pub(super) struct Namespace {
    reader: Reader,
    /// Where the tracer counts it.
    slot: Slot,
    /// Others come and go with their processes, so their failures are no reason for a warning.
    is_own: bool,
    /// The label value of another namespace, for the log; `None` for the own one.
    netns: Option<Arc<str>>,
    outdated_interval: Duration,
    /// `None` before the seed and without a tracer.
    audit: Option<Audit>,
    /// Without `consistent` and `mismatches`: the audit has them.
    health: Health,
    corrections: PerState<u64>,
    last_reconcile: Instant,
    /// Why the next turn is due early; `None` if it is not.
    wanted: Option<Reason>,
    /// See [`Self::walks_in_a_row`].
    walks_in_a_row: u64,
    /// Transitions counted at the last check.
    counted_at_check: u64,
    /// Counts when a snapshot last verified the ledger.
    verified: Counts,
    /// Agreements of the audit at the last publication.
    agreements_published: u64,
    /// Whether the namespace was reconciled because of families since the last interval. Once is the limit,
    /// because sockets may change their family without end.
    families_reconciled: bool,
    /// Whether the last snapshot failed, which is logged once.
    snapshot_failed: bool,
    /// Transitions that earlier tracers counted.
    carried: Arc<Transitions>,
    /// Transitions that earlier tracers counted, with their details.
    carried_details: Arc<DetailedTransitions>,
}

impl Namespace {
    /// The own namespace, before its seed.
    pub(super) fn own(sources: Sources) -> Self {
        Self::new(sources, Slot::OWN, true, Duration::MAX)
    }

    /// Another namespace, before its seed; `slot` is where the tracer counts it. While the last snapshot is outdated,
    /// the next one is due after `outdated_interval`.
    pub(super) fn other(sources: Sources, slot: Slot, outdated_interval: Duration) -> Self {
        Self::new(sources, slot, false, outdated_interval)
    }

    fn new(sources: Sources, slot: Slot, is_own: bool, outdated_interval: Duration) -> Self {
        Self {
            reader: Reader::new(sources, is_own),
            slot,
            is_own,
            netns: None,
            outdated_interval,
            audit: None,
            health: Health::default(),
            corrections: PerState::default(),
            last_reconcile: Instant::now(),
            wanted: None,
            walks_in_a_row: 0,
            counted_at_check: 0,
            verified: Counts::default(),
            agreements_published: 0,
            families_reconciled: false,
            snapshot_failed: false,
            carried: Arc::default(),
            carried_details: Arc::default(),
        }
    }

    /// The namespace with these scopes, which are counted too.
    pub(super) fn with_scopes(self, scopes: Option<OwnScopes>) -> Self {
        Self { reader: self.reader.with_scopes(scopes), ..self }
    }

    /// Adds the slots of its scopes.
    pub(super) fn reserve_scopes(&self, reserved: &mut Reserved) {
        self.reader.reserve_scopes(reserved);
    }

    /// Lets the scopes continue with the tracer that has replaced `old`.
    pub(super) fn rebind_scopes(&mut self, old: &Tracer, active: &mut ActiveTracer) {
        if self.reader.rebind_scopes(old, &mut active.tracer) {
            self.reconcile(Some(active), Reason::Interval);
        }
    }

    /// Lets the log name it so.
    pub(super) fn set_netns(&mut self, label: Arc<str>) {
        self.netns = Some(label);
    }

    /// The directories that list its sockets.
    pub(super) fn roots(&self) -> &Roots {
        self.reader.roots()
    }

    /// Lists its sockets by these directories from now on.
    pub(super) fn set_roots(&mut self, roots: Roots) {
        self.reader.set_roots(roots);
    }

    /// The last snapshot that succeeded.
    pub(super) fn last_snapshot(&self) -> Option<&LastSnapshot> {
        self.reader.last()
    }

    /// Whether this process's own files list it.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.roots().list_own_namespace()
    }

    /// Sockets in CLOSE_WAIT at the last snapshot; `None` if that failed.
    pub(super) fn listed_in_close_wait(&self) -> Option<u64> {
        let snapshot = self.last_snapshot().filter(|_| !self.snapshot_failed)?;
        let connections = snapshot.tally.connections();
        Some(Family::ALL.into_iter().map(|family| connections[(family, State::CloseWait)]).sum())
    }

    /// How long after a turn the next one is due.
    pub(super) fn intervals(&self) -> Intervals {
        Intervals { check: self.check_interval(), snapshot: self.reader.interval() }
    }

    /// Seeds the ledger. Without a tracer, takes the first snapshot.
    ///
    /// # Errors
    /// The error of the first snapshot that fails.
    pub(super) fn seed(&mut self, tracer: Option<&mut Tracer>) -> Result<(), SnapshotError> {
        if let Err(error) = self.roots().read_sockstat()
            && self.is_own
        {
            warn!(%error, "sockstat cannot be read: the gauges are checked at snapshots only");
        }
        match tracer {
            None => self.reader.snapshot()?,
            Some(tracer) => {
                let hooks = tracer.hooks;
                let (audit, exact) =
                    Audit::seed(hooks, &mut self.reader.traced(tracer, self.slot))?;
                if !exact && self.is_own {
                    warn!(
                        "the seed is not exact: too many sockets changed state during it; a later snapshot corrects the counts"
                    );
                }
                self.audit = Some(audit);
            }
        }
        self.last_reconcile = Instant::now();
        Ok(())
    }

    /// Seeds the ledger again for `tracer`, which will replace the current one.
    ///
    /// # Errors
    /// The error of the first snapshot that fails; the ledger is unchanged then.
    pub(super) fn reseed(&mut self, tracer: &mut Tracer) -> Result<(), SnapshotError> {
        let Some(audit) = &mut self.audit else { return Ok(()) };
        let hooks = tracer.hooks;
        audit.reseed(hooks, &mut self.reader.traced(tracer, self.slot))?;
        Ok(())
    }

    /// Whether there are gauges. `traced`: whether a tracer counts.
    pub(super) fn is_seeded(&self, traced: bool) -> bool {
        if traced { self.audit.is_some() } else { self.last_snapshot().is_some() }
    }

    /// Forgets the gauges, because the snapshot that gave them missed sockets. The next turn seeds them again.
    pub(super) fn discard_seed(&mut self) {
        self.audit = None;
    }

    /// Whether no socket is left when the counters are `now`.
    pub(super) fn is_empty(&self, now: &Transitions) -> bool {
        let Some(audit) = &self.audit else { return true };
        audit.ledger().counted(now).iter().all(|(.., sockets)| sockets <= 0)
    }

    /// Whether more sockets have left a state than were in it, as far as is counted: some are older than the seed, or
    /// events were lost. `false` while events come.
    pub(super) fn lacks_sockets(&self, active: &ActiveTracer) -> bool {
        let Some(audit) = &self.audit else { return false };
        let now = self.counted(active);
        let counted = audit.ledger().counted(&now);
        let in_state =
            |state| Family::ALL.into_iter().map(|family| counted[(family, state)]).sum::<i64>();
        // The rows of different CPUs are read one after the other.
        State::ALL.into_iter().any(|state| in_state(state) < 0) && self.counted(active) == now
    }

    /// What the tracer has counted until now.
    pub(super) fn counted(&self, active: &ActiveTracer) -> Transitions {
        active.tracer.counters.read(self.slot)
    }

    /// Mini-sockets at the last check or snapshot; `None` if nothing lists them any more.
    pub(super) fn tw(&self) -> Option<u64> {
        if self.is_listed() { self.reader.tw() } else { None }
    }

    /// Whether a process is in it, whose files list its sockets.
    fn is_listed(&self) -> bool {
        self.roots().first().is_some()
    }

    /// Reads what the kernel gives at constant cost. Gives the reason to reconcile, if there is one.
    pub(super) fn check(&mut self, active: &mut ActiveTracer) -> Option<Reason> {
        self.reader.refresh_scopes(&mut active.tracer);
        let audit = self.audit.as_mut()?;
        let counted = active.tracer.counters.read(self.slot).total();
        let transitions = counted.abs_diff(std::mem::replace(&mut self.counted_at_check, counted));
        let elapsed = self.last_reconcile.elapsed();
        let budget = self.reader.last_duration() * BUDGET;
        if transitions > 0 && elapsed < budget.max(CHECK_INTERVAL) {
            return None;
        }
        if audit.sockstat_differs(&mut self.reader.traced(&mut active.tracer, self.slot)) {
            return Some(Reason::SockstatCheck);
        }
        if active.missed() > self.verified.missed {
            return Some(Reason::MissedEvents);
        }
        if audit.families_differ() && !std::mem::replace(&mut self.families_reconciled, true) {
            return Some(Reason::SockstatCheck);
        }
        if self.is_outdated() && elapsed >= self.outdated_interval {
            return Some(Reason::Interval);
        }
        let due = transitions <= CALM && elapsed >= budget && self.unverified() >= MANY_TRANSITIONS;
        due.then_some(Reason::AfterChurn)
    }

    /// Notes why the next turn of this namespace is due before its interval has passed.
    pub(super) fn want_snapshot(&mut self, reason: Reason) {
        self.wanted = Some(reason);
    }

    /// Takes a turn: reconciles, or seeds the ledger if that was not possible before.
    pub(super) fn take_turn(&mut self, active: Option<&mut ActiveTracer>) {
        if self.is_seeded(active.is_some()) {
            let reason = self.wanted.take().unwrap_or(Reason::Interval);
            self.reconcile(active, reason);
        } else if let Err(error) = self.seed(active.map(|active| &mut active.tracer)) {
            self.note_failure(&error);
        }
    }

    /// Compares the ledger with snapshots, and corrects it. Without a tracer, takes a snapshot.
    pub(super) fn reconcile(&mut self, active: Option<&mut ActiveTracer>, reason: Reason) {
        let before = active.as_deref().map(|active| active.counts(self.slot)).unwrap_or_default();
        let outcome = match (&mut self.audit, active) {
            (Some(audit), Some(active)) => {
                audit.reconcile(&mut self.reader.traced(&mut active.tracer, self.slot)).map(Some)
            }
            _ => self.reader.snapshot().map(|()| None),
        };
        debug!(reason = reason.word(), ?outcome, "reconciled");
        match outcome {
            Ok(verdict) => {
                self.health.reconciles[reason as usize] += 1;
                if let Some(verdict) = verdict {
                    self.note_verdict(verdict, before);
                }
                if std::mem::take(&mut self.snapshot_failed) {
                    info!("snapshots succeed again");
                }
            }
            Err(error) => self.note_failure(&error),
        }
        if reason == Reason::Interval {
            self.families_reconciled = false;
        }
        self.last_reconcile = Instant::now();
    }

    /// `None` if there is nothing to check, because no tracer counts.
    fn check_interval(&self) -> Option<Duration> {
        let audit = self.audit.as_ref()?;
        let fast = !audit.consistent() || self.unverified() >= MANY_TRANSITIONS;
        Some(if fast { FAST_CHECK_INTERVAL } else { CHECK_INTERVAL })
    }

    /// Whether the last snapshot is known to be outdated in what only snapshots see, if no hook counts it: half-open
    /// requests, and which mini-sockets are in FIN_WAIT2.
    fn is_outdated(&self) -> bool {
        let Some(LastSnapshot { tally, .. }) = self.last_snapshot() else { return false };
        let uncounted =
            |object| self.audit.as_ref().is_some_and(|audit| !audit.ledger().counts(object));
        let requests = tally.requests.total() > 0;
        let minis = self.tw().is_some_and(|tw| tw != tally.minis());
        requests && uncounted(Object::Request) || minis && uncounted(Object::Mini)
    }

    fn note_failure(&mut self, error: &SnapshotError) {
        let is_known = matches!(error, SnapshotError::TooMany { .. });
        if is_known && !std::mem::replace(&mut self.snapshot_failed, true) {
            warn!("{error}");
        }
        let effect = if self.audit.is_some() {
            "counting goes on, and the next one corrects the gauges"
        } else {
            "the numbers of the last one are kept"
        };
        if !self.is_own {
            debug!(netns = self.netns.as_deref(), "snapshot failed, {effect}: {error}");
            return;
        }
        if !std::mem::replace(&mut self.snapshot_failed, true) {
            warn!("snapshot failed, {effect}: {error}");
        }
    }

    /// Transitions between the last verification and the last check.
    fn unverified(&self) -> u64 {
        self.counted_at_check.saturating_sub(self.verified.transitions)
    }

    /// `before`: the counts before the snapshot.
    fn note_verdict(&mut self, verdict: Verdict, before: Counts) {
        let verified = match verdict {
            Verdict::Agrees => true,
            Verdict::Correct(Correction { sums, .. }) => sums,
            Verdict::Undecided => false,
        };
        if verified {
            self.verified = before;
            self.walks_in_a_row = 0;
        }
        if let Verdict::Correct(Correction { drift, .. }) = verdict {
            self.note_correction(&drift);
        }
    }

    fn note_correction(&mut self, drift: &PerState<i64>) {
        for (family, state, drift) in drift.iter().filter(|&(.., drift)| drift != 0) {
            self.corrections[(family, state)] += drift.unsigned_abs();
            info!(
                netns = self.netns.as_deref(),
                family = family_word(family),
                state = state_word(state),
                drift,
                "corrected: drift is the count minus the snapshot"
            );
        }
    }
}
