//! The schedule as a specification: a model of time runs it for hours.

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// The intervals of the own namespace.
const OWN: Intervals = Intervals { check: Some(SECOND), snapshot: Duration::from_secs(15) };
/// The intervals of all others.
const OTHER: Intervals = Intervals { check: Some(SECOND), snapshot: Duration::from_mins(5) };
/// What a check takes: two files of /proc.
const CHECK: Duration = Duration::from_micros(50);
/// What a snapshot of a small namespace takes: the kernel goes through the hash table for each family.
const SMALL: Duration = Duration::from_micros(7_500);

/// A clock, and what happened.
struct Run {
    start: Instant,
    now: Instant,
    schedule: Schedule,
    /// What a snapshot takes; [`SMALL`] for those that are not here.
    costs: BTreeMap<Slot, Duration>,
    /// Namespaces whose every check fails.
    differing: Vec<Slot>,
    /// When each snapshot began.
    snapshots: Vec<(Instant, Slot)>,
    checks: Vec<(Instant, Slot)>,
    /// What the others took.
    took: Duration,
}

impl Run {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            now,
            schedule: Schedule::new(OWN, now),
            costs: BTreeMap::new(),
            differing: Vec::new(),
            snapshots: Vec::new(),
            checks: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// A run with so many other namespaces, which are all there at the start.
    fn with(others: u32) -> Self {
        let mut run = Self::new();
        (1..=others).for_each(|slot| run.schedule.add(Slot(slot), run.now));
        run
    }

    /// The same, after the seeds.
    fn seeded(others: u32) -> Self {
        let mut run = Self::with(others);
        run.go_on(MINUTE);
        run.forget();
        run
    }

    /// Counts from now on.
    fn forget(&mut self) {
        self.start = self.now;
        self.took = Duration::ZERO;
        self.snapshots.clear();
        self.checks.clear();
    }

    /// Does what the tracker does, for so long.
    fn go_on(&mut self, time: Duration) {
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
                Turn::Snapshot(slot) => self.list(slot),
                Turn::Check => {
                    self.check(Slot::OWN);
                    while let Some(slot) = self.schedule.check_beside(self.now) {
                        self.check(slot);
                    }
                }
            }
        }
    }

    fn list(&mut self, slot: Slot) {
        self.snapshots.push((self.now, slot));
        let took = self.costs.get(&slot).copied().unwrap_or(SMALL);
        self.pass(slot, took);
        let intervals = if slot == Slot::OWN { OWN } else { OTHER };
        self.schedule.listed(slot, self.now, took, intervals);
    }

    fn check(&mut self, slot: Slot) {
        self.checks.push((self.now, slot));
        self.pass(slot, CHECK);
        self.schedule.checked(slot, self.now, CHECK, Some(SECOND));
        if self.differing.contains(&slot) {
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
    fn percent(&self) -> f64 {
        100.0 * self.took.as_secs_f64() / (self.now - self.start).as_secs_f64()
    }

    fn number_of_snapshots(&self, slot: Slot) -> usize {
        self.snapshots.iter().filter(|(_, listed)| *listed == slot).count()
    }

    fn longest_wait_for_snapshot(&self, slot: Slot) -> Duration {
        self.longest_wait(slot, &self.snapshots)
    }

    fn longest_wait_for_check(&self, slot: Slot) -> Duration {
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

fn others(number: u32) -> impl Iterator<Item = Slot> {
    (1..=number).map(Slot)
}

#[test]
fn alone_the_own_namespace_has_exactly_the_turns_that_its_intervals_give() {
    let mut run = Run::new();
    run.go_on(MINUTE);
    assert_eq!(run.number_of_snapshots(Slot::OWN), 3, "after 15 s, and 15 s after each");
    let wait = run.longest_wait_for_check(Slot::OWN);
    assert!(wait < 2 * SECOND + 10 * MS, "{wait:?}: a snapshot puts the next check off");
    assert_eq!(run.took, Duration::ZERO);
}

#[test]
fn without_a_tracer_there_are_snapshots_only() {
    let now = Instant::now();
    let mut schedule = Schedule::new(Intervals { check: None, ..OWN }, now);
    assert_eq!(schedule.turn(now), None);
    assert_eq!(schedule.due(now), now + 15 * SECOND);
    assert_eq!(schedule.turn(now + 15 * SECOND), Some(Turn::Snapshot(Slot::OWN)));
    schedule.checked(Slot::OWN, now, CHECK, None);
    assert_eq!(schedule.due(now), now + 15 * SECOND);
}

#[test]
fn the_own_namespace_goes_before_all_others() {
    let now = Instant::now();
    let mut schedule = Schedule::new(OWN, now);
    schedule.add(Slot(1), now);
    assert_eq!(schedule.turn(now), Some(Turn::Snapshot(Slot(1))), "the own one is not due");
    assert_eq!(schedule.turn(now + SECOND), Some(Turn::Check));
    assert_eq!(schedule.turn(now + 15 * SECOND), Some(Turn::Snapshot(Slot::OWN)));
}

#[test]
fn two_hundred_namespaces_are_seeded_in_five_seconds_while_the_own_one_is_checked() {
    let mut run = Run::with(200);
    run.costs = others(200).map(|slot| (slot, 20 * MS)).collect();
    run.go_on(5 * SECOND);
    assert!(others(200).all(|slot| run.number_of_snapshots(slot) == 1));
    assert!(run.longest_wait_for_check(Slot::OWN) < SECOND + 25 * MS);
}

#[test]
fn two_hundred_namespaces_have_a_snapshot_every_five_minutes_at_less_than_one_percent() {
    let mut run = Run::seeded(200);
    run.go_on(20 * MINUTE);
    for slot in others(200) {
        let wait = run.longest_wait_for_snapshot(slot);
        assert!(wait < 5 * MINUTE + 16 * SECOND, "{slot:?}: {wait:?}");
    }
    assert!(run.percent() < 0.65, "{}", run.percent());
    assert!(run.longest_wait_for_snapshot(Slot::OWN) < 16 * SECOND);
}

#[test]
fn a_turn_is_followed_by_a_rest_so_that_no_second_is_busy_with_the_others() {
    let mut run = Run::seeded(200);
    run.go_on(10 * MINUTE);
    let times: Vec<_> = run.snapshots.iter().filter(|turn| turn.1 != Slot::OWN).collect();
    let shortest = times.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap();
    assert!(shortest >= 10 * SMALL, "{shortest:?}");
}

#[test]
fn more_than_the_budget_can_pay_for_is_listed_less_often_and_evenly() {
    let mut run = Run::with(200);
    run.costs = others(200).map(|slot| (slot, 60 * MS)).collect();
    run.go_on(20 * MINUTE);
    assert!(run.took < SAVINGS + 12 * SECOND + 60 * MS, "{:?}", run.took);
    run.forget();
    run.go_on(60 * MINUTE);
    assert!(run.percent() < 1.01, "{}", run.percent());
    let numbers: Vec<_> = others(200).map(|slot| run.number_of_snapshots(slot)).collect();
    let (fewest, most) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
    assert!(*fewest >= 2 && most - fewest <= 1, "{fewest} to {most}");
}

#[test]
fn a_slow_namespace_is_listed_less_often_and_leaves_the_others_their_turns() {
    let mut run = Run::seeded(100);
    run.costs.insert(Slot(1), 3 * SECOND);
    run.go_on(60 * MINUTE);
    let wait = run.longest_wait_for_snapshot(Slot(1));
    assert!((10 * MINUTE..12 * MINUTE).contains(&wait), "{wait:?}: at half of one percent");
    for slot in others(100).skip(1) {
        let wait = run.longest_wait_for_snapshot(slot);
        assert!(wait < 6 * MINUTE, "{slot:?}: {wait:?}");
    }
    assert!(run.percent() < 1.0, "{}", run.percent());
    assert!(run.longest_wait_for_check(Slot::OWN) < 5 * SECOND, "a snapshot is not interrupted");
}

#[test]
fn a_namespace_that_comes_is_seeded_at_once_and_then_takes_turns() {
    let mut run = Run::seeded(200);
    run.go_on(4 * MINUTE + 30 * SECOND);
    run.forget();
    run.schedule.add(Slot(201), run.now);
    run.go_on(SECOND / 10);
    assert_eq!(run.snapshots[0].1, Slot(201), "no rest of the others delays it");
    run.go_on(11 * MINUTE);
    assert_eq!(run.number_of_snapshots(Slot(201)), 3);
    assert!(others(200).all(|slot| run.number_of_snapshots(slot) >= 2));
}

#[test]
fn a_namespace_that_goes_has_no_turn_and_what_it_took_stays_spent() {
    let mut run = Run::seeded(2);
    run.costs.insert(Slot(1), 10 * SECOND);
    run.go_on(6 * MINUTE);
    let open_at = run.schedule.all.open_at(run.now);
    run.schedule.remove(Slot(1));
    run.forget();
    assert_eq!(run.schedule.all.open_at(run.now), open_at);
    run.go_on(60 * MINUTE);
    assert_eq!(run.number_of_snapshots(Slot(1)), 0);
    assert!(run.checks.iter().all(|(_, slot)| *slot != Slot(1)));
    assert!(run.number_of_snapshots(Slot(2)) > 9);
}

#[test]
fn a_namespace_may_go_during_its_turn() {
    let now = Instant::now();
    let mut schedule = Schedule::new(OWN, now);
    schedule.add(Slot(1), now);
    schedule.remove(Slot(1));
    schedule.listed(Slot(1), now + SECOND / 2, 4 * SECOND, OTHER);
    schedule.checked(Slot(1), now + SECOND / 2, CHECK, Some(SECOND));
    schedule.hurry(Slot(1), now + SECOND / 2);
    assert_eq!(schedule.turn(now + SECOND / 2), None);
    assert_eq!(schedule.due(now + SECOND / 2), now + SECOND);
}

#[test]
fn namespaces_that_come_and_go_without_end_stay_in_the_budget_and_displace_nobody() {
    let mut run = Run::seeded(50);
    for slot in 0..18_000 {
        run.schedule.add(Slot(1000 + slot), run.now);
        run.go_on(SECOND / 10);
        run.schedule.remove(Slot(900 + slot));
    }
    assert!(run.took < SAVINGS + 18 * SECOND + SMALL, "{:?}", run.took);
    for slot in others(50) {
        let wait = run.longest_wait_for_snapshot(slot);
        assert!(wait < 6 * MINUTE, "{slot:?}: {wait:?}");
    }
}

#[test]
fn a_namespace_whose_check_fails_is_listed_soon() {
    let mut run = Run::seeded(200);
    run.go_on(10 * MINUTE);
    run.forget();
    run.differing.push(Slot(7));
    run.go_on(25 * SECOND);
    assert!(run.number_of_snapshots(Slot(7)) > 0);
}

#[test]
fn a_namespace_whose_every_check_fails_takes_half_of_the_budget_and_delays_nobody() {
    let mut run = Run::seeded(50);
    run.costs.insert(Slot(7), 100 * MS);
    run.differing.push(Slot(7));
    run.go_on(60 * MINUTE);
    let taken = u32::try_from(run.number_of_snapshots(Slot(7))).unwrap() * 100 * MS;
    assert!(taken < 18 * SECOND + 100 * MS, "{taken:?} of an hour");
    for slot in others(50) {
        let wait = run.longest_wait_for_snapshot(slot);
        assert!(wait < 5 * MINUTE + 16 * SECOND, "{slot:?}: {wait:?}");
    }
}

#[test]
fn a_few_namespaces_are_checked_every_second_and_many_less_often() {
    for (number, longest) in [(10, 21 * SECOND / 10), (200, 12 * SECOND), (400, 24 * SECOND)] {
        let mut run = Run::seeded(number);
        run.go_on(2 * MINUTE);
        for slot in others(number) {
            let wait = run.longest_wait_for_check(slot);
            assert!(wait < longest, "{slot:?} of {number}: {wait:?}");
        }
    }
}

#[test]
fn checks_of_others_wake_nobody() {
    let now = Instant::now();
    let mut schedule = Schedule::new(OWN, now);
    schedule.add(Slot(1), now);
    schedule.listed(Slot(1), now, SMALL, Intervals { check: Some(SECOND / 2), ..OTHER });
    assert_eq!(schedule.check_beside(now), None);
    assert_eq!(schedule.due(now), now + SECOND);
    assert_eq!(schedule.turn(now + SECOND), Some(Turn::Check));
    assert_eq!(schedule.check_beside(now + SECOND), Some(Slot(1)));
}
