//! The schedule in a model of time, which passes hours at once.

use super::{BTreeMap, Duration, Instant, Intervals, NamespaceId, Schedule, Turn};

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
    fn snapshot(&mut self, id: NamespaceId) -> Duration;

    /// Checks. Gives whether the check failed.
    fn check(&mut self, id: NamespaceId) -> bool;
}

/// A clock, and what happened.
pub(super) struct Run<T> {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) schedule: Schedule,
    pub(super) turns: T,
    /// When each snapshot began.
    pub(super) snapshots: Vec<(Instant, NamespaceId)>,
    pub(super) checks: Vec<(Instant, NamespaceId)>,
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
                Turn::Snapshot(id) => self.snapshot(id),
                Turn::Check => {
                    self.check(NamespaceId::OWN);
                    while let Some(id) = self.schedule.check_beside(self.now) {
                        self.check(id);
                    }
                }
            }
        }
    }

    fn snapshot(&mut self, id: NamespaceId) {
        self.snapshots.push((self.now, id));
        let took = self.turns.snapshot(id);
        self.pass(id, took);
        let intervals = if id == NamespaceId::OWN { OWN } else { OTHER };
        self.schedule.snapshot_taken(id, self.now, took, intervals);
    }

    fn check(&mut self, id: NamespaceId) {
        self.checks.push((self.now, id));
        let failed = self.turns.check(id);
        self.pass(id, CHECK);
        self.schedule.checked(id, self.now, CHECK, Some(SECOND));
        if failed && id != NamespaceId::OWN {
            self.schedule.hurry(id, self.now);
        }
    }

    fn pass(&mut self, id: NamespaceId, took: Duration) {
        self.now += took;
        if id != NamespaceId::OWN {
            self.took += took;
        }
    }

    /// The others' part of the time, in percent.
    pub(super) fn percent(&self) -> f64 {
        100.0 * self.took.as_secs_f64() / (self.now - self.start).as_secs_f64()
    }

    pub(super) fn number_of_snapshots(&self, id: NamespaceId) -> usize {
        self.snapshots.iter().filter(|(_, listed)| *listed == id).count()
    }

    pub(super) fn longest_wait_for_snapshot(&self, id: NamespaceId) -> Duration {
        self.longest_wait(id, &self.snapshots)
    }

    pub(super) fn longest_wait_for_check(&self, id: NamespaceId) -> Duration {
        self.longest_wait(id, &self.checks)
    }

    /// The longest time without a turn, from the start to now.
    fn longest_wait(&self, id: NamespaceId, turns: &[(Instant, NamespaceId)]) -> Duration {
        let turns = turns.iter().filter(|(_, of)| *of == id).map(|(at, _)| *at);
        let times: Vec<_> =
            std::iter::once(self.start).chain(turns).chain(std::iter::once(self.now)).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

/// Turns with known costs.
#[derive(Default)]
pub(super) struct Costs {
    /// What a snapshot takes; [`SMALL`] for namespaces that are not here.
    pub(super) snapshots: BTreeMap<NamespaceId, Duration>,
    /// Namespaces whose every check fails.
    pub(super) differing: Vec<NamespaceId>,
}

impl Turns for Costs {
    fn snapshot(&mut self, id: NamespaceId) -> Duration {
        self.snapshots.get(&id).copied().unwrap_or(SMALL)
    }

    fn check(&mut self, id: NamespaceId) -> bool {
        self.differing.contains(&id)
    }
}

impl Run<Costs> {
    /// The own namespace alone.
    pub(super) fn alone() -> Self {
        Self::new(Costs::default())
    }

    /// So many other namespaces, which are all there at the start.
    pub(super) fn with(others: u64) -> Self {
        let mut run = Self::alone();
        (1..=others).for_each(|id| run.schedule.add(NamespaceId(id), run.now));
        run
    }

    /// A run after the seeds.
    pub(super) fn seeded(others: u64) -> Self {
        let mut run = Self::with(others);
        run.go_on(MINUTE);
        run.forget();
        run
    }
}
