//! The schedule in a model of time, which passes hours at once.

use super::{BTreeMap, Duration, Instant, Intervals, Schedule, Slot, Turn};

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_mins(1);

/// The intervals of the own namespace.
pub(super) const OWN: Intervals =
    Intervals { check: Some(SECOND), snapshot: Duration::from_secs(15) };
/// The intervals of all others.
pub(super) const OTHER: Intervals =
    Intervals { check: Some(SECOND), snapshot: Duration::from_mins(5) };
/// What a check takes: two files of /proc.
pub(super) const CHECK: Duration = Duration::from_micros(50);
/// What a snapshot of a small namespace takes: the kernel goes through the hash table for each family.
pub(super) const SMALL: Duration = Duration::from_micros(7_500);

/// What happens in a turn.
pub(super) trait Turns {
    /// Takes a snapshot. Gives what it took.
    fn snapshot(&mut self, slot: Slot) -> Duration;

    /// Checks. Gives whether the check failed.
    fn check(&mut self, slot: Slot) -> bool;
}

/// A clock, and what happened.
pub(super) struct Run<T> {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) schedule: Schedule,
    pub(super) turns: T,
    /// When each snapshot began.
    pub(super) snapshots: Vec<(Instant, Slot)>,
    pub(super) checks: Vec<(Instant, Slot)>,
    /// What the others took.
    pub(super) took: Duration,
}

impl<T: Turns> Run<T> {
    pub(super) fn new(turns: T) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            now,
            schedule: Schedule::new(OWN, now),
            turns,
            snapshots: Vec::new(),
            checks: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Forgets what happened.
    pub(super) fn forget(&mut self) {
        self.start = self.now;
        self.took = Duration::ZERO;
        self.snapshots.clear();
        self.checks.clear();
    }

    /// Does what the tracker does, for so long.
    pub(super) fn go_on(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.schedule.due(self.now);
            assert!(due >= self.now);
            if due > end {
                self.now = end;
                return;
            }
            self.now = due;
            match self.schedule.turn(self.now).expect("a turn is due") {
                Turn::Snapshot(slot) => self.snapshot(slot),
                Turn::Check => {
                    self.check(Slot::OWN);
                    while let Some(slot) = self.schedule.check_beside(self.now) {
                        self.check(slot);
                    }
                }
            }
        }
    }

    fn snapshot(&mut self, slot: Slot) {
        self.snapshots.push((self.now, slot));
        let took = self.turns.snapshot(slot);
        self.pass(slot, took);
        let intervals = if slot == Slot::OWN { OWN } else { OTHER };
        self.schedule.snapshot_taken(slot, self.now, took, intervals);
    }

    fn check(&mut self, slot: Slot) {
        self.checks.push((self.now, slot));
        let failed = self.turns.check(slot);
        self.pass(slot, CHECK);
        self.schedule.checked(slot, self.now, CHECK, Some(SECOND));
        if failed && slot != Slot::OWN {
            self.schedule.hurry(slot, self.now);
        }
    }

    fn pass(&mut self, slot: Slot, took: Duration) {
        self.now += took;
        if slot != Slot::OWN {
            self.took += took;
        }
    }

    /// The others' part of the time, in percent.
    pub(super) fn percent(&self) -> f64 {
        100.0 * self.took.as_secs_f64() / (self.now - self.start).as_secs_f64()
    }

    pub(super) fn number_of_snapshots(&self, slot: Slot) -> usize {
        self.snapshots.iter().filter(|(_, listed)| *listed == slot).count()
    }

    pub(super) fn longest_wait_for_snapshot(&self, slot: Slot) -> Duration {
        self.longest_wait(slot, &self.snapshots)
    }

    pub(super) fn longest_wait_for_check(&self, slot: Slot) -> Duration {
        self.longest_wait(slot, &self.checks)
    }

    /// The longest time without a turn, from the start to now.
    fn longest_wait(&self, slot: Slot, turns: &[(Instant, Slot)]) -> Duration {
        let turns = turns.iter().filter(|(_, of)| *of == slot).map(|(at, _)| *at);
        let times: Vec<_> =
            std::iter::once(self.start).chain(turns).chain(std::iter::once(self.now)).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

/// Turns with known costs.
#[derive(Default)]
pub(super) struct Costs {
    /// What a snapshot takes; [`SMALL`] for namespaces that are not here.
    pub(super) snapshots: BTreeMap<Slot, Duration>,
    /// Namespaces whose every check fails.
    pub(super) differing: Vec<Slot>,
}

impl Turns for Costs {
    fn snapshot(&mut self, slot: Slot) -> Duration {
        self.snapshots.get(&slot).copied().unwrap_or(SMALL)
    }

    fn check(&mut self, slot: Slot) -> bool {
        self.differing.contains(&slot)
    }
}

impl Run<Costs> {
    /// The own namespace alone.
    pub(super) fn alone() -> Self {
        Self::new(Costs::default())
    }

    /// So many other namespaces, which are all there at the start.
    pub(super) fn with(others: u32) -> Self {
        let mut run = Self::alone();
        (1..=others).for_each(|slot| run.schedule.add(Slot(slot), run.now));
        run
    }

    /// The same, after the seeds.
    pub(super) fn seeded(others: u32) -> Self {
        let mut run = Self::with(others);
        run.go_on(MINUTE);
        run.forget();
        run
    }
}
