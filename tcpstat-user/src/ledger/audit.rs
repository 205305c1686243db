//! Seeding the ledger, and holding it against the world: every decision, and no I/O.
//!
//! Who asks the audit to act gives it a [`World`] to ask: in the tracker the kernel, in the tests a
//! model of one.

use crate::{
    ledger::{
        Ledger, family,
        reconcile::{Correction, Evidence, Reconciler, Verdict},
        rewind::AtCut,
        sockstat_check::Finding,
        sockstat_sample::{Readings, SockstatChecks, SockstatSample},
    },
    snapshot::Tally,
    states::{Hooks, Object, PerState},
    transitions::Transitions,
};

/// What the audit can ask for.
pub trait World {
    /// Why a listing could not be had.
    type Error;

    /// Lists every socket and rewinds the listing to the moment at which it began.
    ///
    /// # Errors
    /// Whatever kept it from doing so.
    fn list(&mut self) -> Result<RewoundSnapshot, Self::Error>;

    /// Looks at the counters, at the kernel's own count, and at the counters again.
    fn sample(&mut self) -> SockstatSample;

    /// Lets the time pass that lies between two looks or listings that are to confirm one another.
    fn pause(&mut self);
}

/// Every socket, listed and rewound.
#[derive(Clone, Debug)]
pub struct RewoundSnapshot {
    /// What was listed.
    pub tally: Tally,
    /// What had been counted when the listing began.
    pub cut: Transitions,
    /// The counted sockets at that moment.
    pub at_cut: AtCut,
    /// Whether the event log held every event since.
    pub log_complete: bool,
}

/// The ledger and what is known of its truth.
#[derive(Clone, Debug)]
pub struct Audit {
    ledger: Ledger,
    reconciler: Reconciler,
    checks: SockstatChecks,
    drift: PerState<i64>,
    consistent: bool,
    families_differ: bool,
    /// Sockets that have changed their family since the ledger was right, when it could be told last.
    changed_family: i64,
    agreements: u64,
    mismatches: u64,
}

/// Listings taken at most for one seed.
pub const SEED_ATTEMPTS: u32 = 5;
/// Listings, or looks, taken at most for one decision.
pub const ATTEMPTS: u32 = 3;

impl RewoundSnapshot {
    /// Whether nothing is known that could make it wrong.
    #[must_use]
    pub fn exact(&self) -> bool {
        self.log_complete && self.at_cut.doubts == 0
    }
}

impl Audit {
    /// Lists sockets until one listing seeds the ledger without a doubt; the last attempt's counts
    /// anyway. The flag tells whether there was none left. `hooks` are those that count.
    ///
    /// # Errors
    /// That of the first listing that fails.
    pub fn seed<W: World>(hooks: Hooks, world: &mut W) -> Result<(Self, bool), W::Error> {
        let mut checks = SockstatChecks::default();
        let mut attempt = 1;
        loop {
            let listing = world.list()?;
            let mut ledger = Ledger::seeded(hooks, &listing.cut, &listing.at_cut.sockets);
            let sample = world.sample();
            let readings = sample.readings(&ledger);
            let looks = [checks.check(&readings), checks.check_families(&readings)];
            let settled = listing.exact() && !looks.contains(&Finding::Suspect);
            if settled || attempt == SEED_ATTEMPTS {
                if settled {
                    checks.excuse(&readings);
                }
                ledger.observe(&sample.after, &listing.tally);
                let audit = Self {
                    ledger,
                    reconciler: Reconciler::default(),
                    checks,
                    drift: PerState::default(),
                    consistent: settled,
                    families_differ: false,
                    changed_family: 0,
                    agreements: u64::from(settled),
                    mismatches: 0,
                };
                return Ok((audit, settled));
            }
            attempt += 1;
            world.pause();
        }
    }

    /// Seeds anew: the transitions are told by another tracer from now on. The flag is that of
    /// [`Self::seed`].
    ///
    /// # Errors
    /// That of the first listing that fails; everything stays as it was.
    pub fn reseed<W: World>(&mut self, hooks: Hooks, world: &mut W) -> Result<bool, W::Error> {
        let (fresh, settled) = Self::seed(hooks, world)?;
        *self = Self {
            agreements: self.agreements + fresh.agreements,
            mismatches: self.mismatches,
            ..fresh
        };
        Ok(settled)
    }

    /// Compares the ledger with snapshots until one decides, and corrects it as far as that is certain.
    ///
    /// # Errors
    /// That of the first snapshot that fails; what was corrected by then stays so.
    pub fn reconcile<W: World>(&mut self, world: &mut W) -> Result<Verdict, W::Error> {
        let mut verdict = Verdict::Undecided;
        for attempt in 1..=ATTEMPTS {
            let listing = world.list()?;
            verdict = verdict.then(self.judge(&listing, &world.sample()));
            if verdict.is_final() {
                break;
            }
            if attempt < ATTEMPTS {
                world.pause();
            }
        }
        Ok(verdict)
    }

    /// Whether one of the kernel's counts differs from the ledger's, seen twice. Sockets that change
    /// their family trip nothing, as any user can have them do so for ever: the ledger is inconsistent
    /// until snapshots have put the families right. See [`Self::families_differ`].
    pub fn sockstat_differs<W: World>(&mut self, world: &mut W) -> bool {
        for _ in 0..ATTEMPTS {
            let readings = world.sample().readings(&self.ledger);
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
                        self.agree();
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

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Ledger − listing at the last listing that was exact, before it was corrected.
    #[must_use]
    pub fn drift(&self) -> &PerState<i64> {
        &self.drift
    }

    /// Whether the last look or listing that could tell agreed.
    #[must_use]
    pub fn consistent(&self) -> bool {
        self.consistent
    }

    /// Whether the sums were right at the last look that could tell, and a single family was not.
    #[must_use]
    pub fn families_differ(&self) -> bool {
        self.families_differ
    }

    /// How many sockets had changed to IPv4 since the ledger was right, at the last look or snapshot that
    /// could tell.
    #[must_use]
    pub fn changed_family(&self) -> i64 {
        self.changed_family
    }

    /// How often a look or a listing agreed, or was made to agree.
    #[must_use]
    pub fn agreements(&self) -> u64 {
        self.agreements
    }

    /// How often the wire was sockstat_differs.
    #[must_use]
    pub fn mismatches(&self) -> u64 {
        self.mismatches
    }

    /// What readings are held against.
    #[must_use]
    pub fn checks(&self) -> &SockstatChecks {
        &self.checks
    }

    fn judge(&mut self, listing: &RewoundSnapshot, sample: &SockstatSample) -> Verdict {
        self.ledger.observe(&sample.after, &listing.tally);
        let readings = sample.readings(&self.ledger);
        let drift = self.ledger.drift(&listing.cut, &listing.at_cut.sockets);
        let evidence = Evidence {
            exact: listing.exact(),
            calm: sample.after == listing.cut,
            difference: self.checks.difference(Object::Full, &readings),
            minis_difference: self.checks.difference(Object::Mini, &readings),
            changed_family: self.checks.changed_family(&readings),
        };
        let verdict = self.reconciler.judge(&drift, evidence);
        if listing.exact() {
            self.drift = drift;
        }
        if let Verdict::Correct(Correction { drift, .. }) = &verdict {
            self.ledger.correct(drift);
            // Of what was noted, that much is in the ledger now.
            let (corrected, _) = family::split(drift, None);
            self.changed_family = (self.changed_family - corrected).max(0);
        }
        match verdict {
            Verdict::Agrees | Verdict::Correct(Correction { whole: true, .. }) => {
                self.checks.excuse(&sample.readings(&self.ledger));
                self.agree();
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

    fn agree(&mut self) {
        self.consistent = true;
        self.families_differ = false;
        self.agreements += 1;
    }
}

#[cfg(test)]
#[path = "simulation/mod.rs"]
mod simulation;
