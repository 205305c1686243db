//! Decides when the ledger is right: seeds it, checks it against sockstat, and reconciles it with snapshots.
//!
//! The audit does no I/O. It asks a [`World`]: in the process this is the kernel, in tests a model of it.

use super::{
    Ledger, family,
    reconcile::{Correction, Evidence, Reconciler, Verdict},
    rewind::AtCut,
    sockstat_check::Finding,
    sockstat_sample::{Readings, SockstatChecks, SockstatSample},
};
use crate::{
    snapshot::Tally,
    states::{Hooks, Object, PerState},
    transitions::Transitions,
};

/// What the audit can ask for.
pub(crate) trait World {
    /// Why a snapshot failed.
    type Error;

    /// Takes a snapshot, and rewinds it to the moment when its event log opened.
    ///
    /// # Errors
    /// [`Self::Error`], if there is no snapshot.
    fn snapshot(&mut self) -> Result<RewoundSnapshot, Self::Error>;

    /// Reads the counters, sockstat, and the counters again.
    fn sample(&mut self) -> SockstatSample;

    /// Whether the last snapshot, which is not exact, can be repeated at once.
    ///
    /// # Errors
    /// [`Self::Error`], if it takes too long for that.
    fn check_repeatable(&self) -> Result<(), Self::Error>;

    /// Waits some milliseconds: the distance of two samples or snapshots that confirm each other.
    fn pause(&mut self);
}

/// A snapshot as the ledger compares it: its rows, and the sockets at the moment when the log opened (the
/// cut).
///
/// Rows show sockets at different moments while the snapshot runs. The rewind combines them with the logged
/// events into [`Self::at_cut`], the sockets at one moment, for which the counters are known too.
#[derive(Clone, Debug)]
pub(crate) struct RewoundSnapshot {
    /// The sums of the rows as the source gave them.
    pub(crate) tally: Tally,
    /// The counters at the cut.
    pub(crate) cut: Transitions,
    /// The sockets at the cut.
    pub(crate) at_cut: AtCut,
    /// Whether the event log held every event after the cut, and the rows are those of all that the counters count.
    pub(crate) complete: bool,
}

/// The ledger, and what checks and snapshots have shown about it.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    ledger: Ledger,
    reconciler: Reconciler,
    checks: SockstatChecks,
    drift: PerState<i64>,
    consistent: bool,
    families_differ: bool,
    changed_family: i64,
    agreements: u64,
    mismatches: u64,
}

/// Maximum number of snapshots for one seed.
const SEED_ATTEMPTS: u32 = 5;
/// Maximum number of snapshots, or of samples, for one decision.
const ATTEMPTS: u32 = 3;

impl RewoundSnapshot {
    /// Whether log and rewind leave no doubt about any socket.
    pub(crate) fn exact(&self) -> bool {
        self.complete && self.at_cut.doubts == 0
    }
}

impl Audit {
    /// Takes snapshots until one seeds the ledger exactly. The last of [`SEED_ATTEMPTS`] seeds it in any
    /// case; the returned flag says whether the seed is exact. `hooks` are the hooks that count.
    ///
    /// # Errors
    /// The error of the first snapshot that fails, or that is neither exact nor repeatable.
    pub(crate) fn seed<W: World>(hooks: Hooks, world: &mut W) -> Result<(Self, bool), W::Error> {
        let mut checks = SockstatChecks::default();
        let mut attempt = 1;
        loop {
            let snapshot = world.snapshot()?;
            let mut ledger = Ledger::seeded(hooks, &snapshot.cut, &snapshot.at_cut.sockets);
            let sample = world.sample();
            let readings = sample.readings(&ledger);
            let findings = [checks.check(&readings), checks.check_families(&readings)];
            let exact = snapshot.exact() && !findings.contains(&Finding::Suspect);
            if !exact {
                world.check_repeatable()?;
            }
            if exact || attempt == SEED_ATTEMPTS {
                if exact {
                    checks.snapshot_agreed(&readings);
                }
                ledger.observe(&sample.after, &snapshot.tally);
                return Ok((Self::new(ledger, checks, exact), exact));
            }
            attempt += 1;
            world.pause();
        }
    }

    /// The audit of a namespace that had no sockets when the counters were `at`.
    pub(crate) fn of_new_namespace(hooks: Hooks, at: &Transitions) -> Self {
        let ledger = Ledger::seeded(hooks, at, &PerState::default());
        Self::new(ledger, SockstatChecks::default(), true)
    }

    /// Lets other counters count from now on: see [`Ledger::transfer`].
    pub(crate) fn transfer(&mut self, from: &Transitions, to: &Transitions) {
        self.ledger.transfer(from, to);
    }

    fn new(ledger: Ledger, checks: SockstatChecks, exact: bool) -> Self {
        Self {
            ledger,
            reconciler: Reconciler::default(),
            checks,
            drift: PerState::default(),
            consistent: exact,
            families_differ: false,
            changed_family: 0,
            agreements: u64::from(exact),
            mismatches: 0,
        }
    }

    /// Seeds the ledger again, because another tracer counts from now on. Returns the flag of [`Self::seed`].
    ///
    /// # Errors
    /// The error of the first snapshot that fails; the audit is unchanged then.
    pub(crate) fn reseed<W: World>(
        &mut self,
        hooks: Hooks,
        world: &mut W,
    ) -> Result<bool, W::Error> {
        let (seeded, exact) = Self::seed(hooks, world)?;
        *self = Self {
            agreements: self.agreements + seeded.agreements,
            mismatches: self.mismatches,
            ..seeded
        };
        Ok(exact)
    }

    /// Compares the ledger with up to [`ATTEMPTS`] snapshots until one decides, and removes the drift that is
    /// certain.
    ///
    /// # Errors
    /// The error of the first snapshot that fails; corrections made before it remain.
    pub(crate) fn reconcile<W: World>(&mut self, world: &mut W) -> Result<Verdict, W::Error> {
        let mut verdict = Verdict::Undecided;
        for attempt in 1..=ATTEMPTS {
            let snapshot = world.snapshot()?;
            verdict = verdict.then(self.compare(&snapshot, &world.sample()));
            if verdict.is_final() {
                break;
            }
            if attempt < ATTEMPTS {
                world.pause();
            }
        }
        Ok(verdict)
    }

    /// Whether a sockstat check fails: the gauges differ from sockstat in two samples in a row.
    ///
    /// Sockets that change their family fail no check, because any user can change families without end. They
    /// make the ledger inconsistent until snapshots correct it: see [`Self::families_differ`].
    pub(crate) fn sockstat_differs<W: World>(&mut self, world: &mut W) -> bool {
        for _ in 0..ATTEMPTS {
            let sample = world.sample();
            if sample.inuse.is_none() && sample.tw.is_none() {
                // It cannot be read, for example after the end of the last process: a pause changes nothing.
                return false;
            }
            let readings = sample.readings(&self.ledger);
            self.note_families(&readings);
            match self.checks.check(&readings) {
                Finding::Agrees => match self.checks.check_families(&readings) {
                    Finding::Suspect => world.pause(),
                    Finding::Mismatch => {
                        self.consistent = false;
                        self.families_differ = true;
                        return false;
                    }
                    Finding::Agrees | Finding::Moving => {
                        self.note_agreement();
                        return false;
                    }
                },
                Finding::Mismatch => {
                    self.consistent = false;
                    self.mismatches += 1;
                    return true;
                }
                Finding::Suspect => {
                    self.consistent = false;
                    world.pause();
                }
                Finding::Moving => world.pause(),
            }
        }
        false
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Ledger minus snapshot, at the last exact snapshot, before the correction.
    pub(crate) fn drift(&self) -> &PerState<i64> {
        &self.drift
    }

    /// Whether the ledger agreed with the kernel at the last conclusive check or snapshot.
    pub(crate) fn consistent(&self) -> bool {
        self.consistent
    }

    /// Whether the last conclusive check found the sums right but a single family wrong.
    pub(crate) fn families_differ(&self) -> bool {
        self.families_differ
    }

    /// Sockets that changed to IPv4 since the ledger was right, at the last conclusive check or snapshot.
    pub(crate) fn changed_family(&self) -> i64 {
        self.changed_family
    }

    /// How often a check or a snapshot agreed with the ledger, or a correction made it agree.
    pub(crate) fn agreements(&self) -> u64 {
        self.agreements
    }

    pub(crate) fn mismatches(&self) -> u64 {
        self.mismatches
    }

    pub(crate) fn checks(&self) -> &SockstatChecks {
        &self.checks
    }

    /// Compares the ledger with one snapshot and the sockstat sample after it, and corrects the ledger.
    fn compare(&mut self, snapshot: &RewoundSnapshot, sample: &SockstatSample) -> Verdict {
        self.ledger.observe(&sample.after, &snapshot.tally);
        let readings = sample.readings(&self.ledger);
        let drift = self.ledger.drift(&snapshot.cut, &snapshot.at_cut.sockets);
        let evidence = Evidence {
            exact: snapshot.exact(),
            calm: sample.after == snapshot.cut,
            difference: self.checks.difference(Object::Full, &readings),
            minis_difference: self.checks.difference(Object::Mini, &readings),
            changed_family: self.checks.changed_family(&readings),
        };
        let verdict = self.reconciler.judge(&drift, evidence);
        if snapshot.exact() {
            self.drift = drift;
        }
        if let Verdict::Correct(Correction { drift, .. }) = &verdict {
            self.ledger.correct(drift);
            // The ledger now contains these changes: scrapes need not shift by them any more.
            let (corrected, _) = family::split(drift, None);
            self.changed_family = (self.changed_family - corrected).max(0);
        }
        match verdict {
            Verdict::Agrees | Verdict::Correct(Correction { whole: true, .. }) => {
                self.checks.snapshot_agreed(&sample.readings(&self.ledger));
                self.note_agreement();
            }
            Verdict::Correct(Correction { whole: false, .. }) => self.consistent = false,
            Verdict::Undecided => {}
        }
        self.note_families(&sample.readings(&self.ledger));
        verdict
    }

    fn note_families(&mut self, readings: &Readings) {
        if let Some(changed) = self.checks.changed_family(readings) {
            self.changed_family = changed;
        }
    }

    fn note_agreement(&mut self) {
        self.consistent = true;
        self.families_differ = false;
        self.agreements += 1;
    }
}

#[cfg(test)]
#[path = "simulation/mod.rs"]
pub(crate) mod simulation;
