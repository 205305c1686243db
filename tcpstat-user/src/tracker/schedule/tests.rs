//! The schedule as a specification.

use super::{run::*, *};

fn others(number: u64) -> impl Iterator<Item = NamespaceId> {
    (1..=number).map(NamespaceId)
}

#[test]
fn alone_the_own_namespace_has_exactly_the_turns_that_its_intervals_give() {
    let mut run = Run::alone();
    run.go_on(MINUTE);
    assert_eq!(run.number_of_snapshots(NamespaceId::OWN), 3, "after 15 s, and 15 s after each");
    let wait = run.longest_wait_for_check(NamespaceId::OWN);
    assert!(wait < SECOND + 10 * MS, "{wait:?}");
    assert_eq!(run.took, Duration::ZERO);
}

#[test]
fn without_a_tracer_there_are_snapshots_only() {
    let now = Instant::now();
    let mut schedule = Schedule::new(Intervals { check: None, ..OWN }, now);
    assert_eq!(schedule.turn(now), None);
    assert_eq!(schedule.due(now), now + 15 * SECOND);
    assert_eq!(schedule.turn(now + 15 * SECOND), Some(Turn::Snapshot(NamespaceId::OWN)));
    schedule.checked(NamespaceId::OWN, now, CHECK, None);
    assert_eq!(schedule.due(now), now + 15 * SECOND);
}

#[test]
fn the_own_namespace_goes_before_all_others() {
    let now = Instant::now();
    let mut schedule = Schedule::new(OWN, now);
    schedule.add(NamespaceId(1), now);
    assert_eq!(schedule.turn(now), Some(Turn::Snapshot(NamespaceId(1))), "the own one is not due");
    assert_eq!(schedule.turn(now + SECOND), Some(Turn::Check));
    assert_eq!(schedule.turn(now + 15 * SECOND), Some(Turn::Snapshot(NamespaceId::OWN)));
}

#[test]
fn two_hundred_namespaces_are_seeded_in_five_seconds_while_the_own_one_is_checked() {
    let mut run = Run::with(200);
    run.turns.snapshots = others(200).map(|id| (id, 20 * MS)).collect();
    run.go_on(5 * SECOND);
    assert!(others(200).all(|id| run.number_of_snapshots(id) == 1));
    assert!(run.longest_wait_for_check(NamespaceId::OWN) < SECOND + 25 * MS);
}

#[test]
fn two_hundred_namespaces_have_a_snapshot_every_five_minutes_at_less_than_one_percent() {
    let mut run = Run::seeded(200);
    run.go_on(20 * MINUTE);
    for id in others(200) {
        let wait = run.longest_wait_for_snapshot(id);
        assert!(wait < 5 * MINUTE + 16 * SECOND, "{id:?}: {wait:?}");
    }
    assert!(run.percent() < 0.65, "{}", run.percent());
    assert!(run.longest_wait_for_snapshot(NamespaceId::OWN) < 16 * SECOND);
}

#[test]
fn a_turn_is_followed_by_a_rest_so_that_no_second_is_busy_with_the_others() {
    let mut run = Run::seeded(200);
    run.go_on(10 * MINUTE);
    let times: Vec<_> = run.snapshots.iter().filter(|turn| turn.1 != NamespaceId::OWN).collect();
    let shortest = times.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap();
    assert!(shortest >= 10 * SMALL, "{shortest:?}");
}

#[test]
fn what_the_budget_cannot_pay_for_waits_and_each_namespace_has_as_many_snapshots() {
    let mut run = Run::with(200);
    run.turns.snapshots = others(200).map(|id| (id, 60 * MS)).collect();
    run.go_on(20 * MINUTE);
    assert!(run.took < SAVINGS + 12 * SECOND + 60 * MS, "{:?}", run.took);
    run.forget();
    run.go_on(60 * MINUTE);
    assert!(run.percent() < 1.01, "{}", run.percent());
    let numbers: Vec<_> = others(200).map(|id| run.number_of_snapshots(id)).collect();
    let (fewest, most) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
    assert!(*fewest >= 2 && most - fewest <= 1, "{fewest} to {most}");
}

#[test]
fn a_slow_namespace_has_fewer_snapshots_and_leaves_the_others_their_turns() {
    let mut run = Run::seeded(100);
    run.turns.snapshots.insert(NamespaceId(1), 3 * SECOND);
    run.go_on(60 * MINUTE);
    let wait = run.longest_wait_for_snapshot(NamespaceId(1));
    assert!((10 * MINUTE..12 * MINUTE).contains(&wait), "{wait:?}: at half of one percent");
    for id in others(100).skip(1) {
        let wait = run.longest_wait_for_snapshot(id);
        assert!(wait < 6 * MINUTE, "{id:?}: {wait:?}");
    }
    assert!(run.percent() < 1.0, "{}", run.percent());
    assert!(
        run.longest_wait_for_check(NamespaceId::OWN) < 5 * SECOND,
        "a snapshot is not interrupted"
    );
}

#[test]
fn a_namespace_that_comes_is_seeded_at_once_and_then_takes_turns() {
    let mut run = Run::seeded(200);
    run.go_on(4 * MINUTE + 30 * SECOND);
    run.forget();
    run.schedule.add(NamespaceId(201), run.now);
    run.go_on(SECOND / 10);
    assert_eq!(run.snapshots[0].1, NamespaceId(201), "no rest of the others delays it");
    run.go_on(11 * MINUTE);
    assert_eq!(run.number_of_snapshots(NamespaceId(201)), 3);
    assert!(others(200).all(|id| run.number_of_snapshots(id) >= 2));
}

#[test]
fn the_seed_that_goes_first_does_not_wait_for_those_of_others() {
    let mut run = Run::with(200);
    run.go_on(SECOND / 10);
    run.forget();
    run.schedule.add_first(NamespaceId(201), run.now);
    run.go_on(SECOND / 10);
    assert_eq!(run.snapshots[0].1, NamespaceId(201));
    run.go_on(11 * MINUTE);
    assert_eq!(run.number_of_snapshots(NamespaceId(201)), 3, "only its seed goes first");
    assert!(others(200).all(|id| run.number_of_snapshots(id) >= 2));
}

#[test]
fn a_seed_that_fails_is_tried_again_soon_within_the_budget() {
    let now = Instant::now();
    let mut schedule = Schedule::new(Intervals { check: None, ..OWN }, now);
    let id = NamespaceId(1);
    schedule.add(id, now);
    schedule.seed_failed(id, now, SMALL);
    assert_eq!(schedule.due(now), now + SECOND, "no interval delays it");
    schedule.seed_failed(id, now + SECOND, SECOND / 2);
    schedule.hurry(id, now + SECOND);
    assert_eq!(schedule.due(now), now + 6 * SECOND, "a tenth of the time");
    schedule.seed_failed(id, now + 6 * SECOND, 20 * SECOND);
    assert_eq!(schedule.turn(now + 14 * SECOND), None, "the savings are spent");
}

#[test]
fn a_namespace_that_goes_has_no_turn_and_what_it_took_stays_spent() {
    let mut run = Run::seeded(2);
    run.turns.snapshots.insert(NamespaceId(1), 10 * SECOND);
    run.go_on(6 * MINUTE);
    let open_at = run.schedule.all.open_at(run.now);
    run.schedule.remove(NamespaceId(1));
    run.forget();
    assert_eq!(run.schedule.all.open_at(run.now), open_at);
    run.go_on(60 * MINUTE);
    assert_eq!(run.number_of_snapshots(NamespaceId(1)), 0);
    assert!(run.checks.iter().all(|(_, id)| *id != NamespaceId(1)));
    assert!(run.number_of_snapshots(NamespaceId(2)) > 9);
}

#[test]
fn a_namespace_may_go_during_its_turn() {
    let now = Instant::now();
    let mut schedule = Schedule::new(OWN, now);
    schedule.add(NamespaceId(1), now);
    schedule.remove(NamespaceId(1));
    schedule.snapshot_taken(NamespaceId(1), now + SECOND / 2, 4 * SECOND, OTHER);
    schedule.checked(NamespaceId(1), now + SECOND / 2, CHECK, Some(SECOND));
    schedule.hurry(NamespaceId(1), now + SECOND / 2);
    assert_eq!(schedule.turn(now + SECOND / 2), None);
    assert_eq!(schedule.due(now + SECOND / 2), now + SECOND);
}

#[test]
fn namespaces_that_come_and_go_without_end_stay_in_the_budget_and_displace_nobody() {
    let mut run = Run::seeded(50);
    for id in 0..18_000 {
        run.schedule.add(NamespaceId(1000 + id), run.now);
        run.go_on(SECOND / 10);
        run.schedule.remove(NamespaceId(900 + id));
    }
    assert!(run.took < SAVINGS + 18 * SECOND + SMALL, "{:?}", run.took);
    for id in others(50) {
        let wait = run.longest_wait_for_snapshot(id);
        assert!(wait < 6 * MINUTE, "{id:?}: {wait:?}");
    }
}

#[test]
fn a_namespace_whose_check_fails_has_a_snapshot_soon() {
    let mut run = Run::seeded(200);
    run.go_on(10 * MINUTE);
    run.forget();
    run.turns.differing.push(NamespaceId(7));
    run.go_on(25 * SECOND);
    assert!(run.number_of_snapshots(NamespaceId(7)) > 0);
}

#[test]
fn a_namespace_whose_every_check_fails_takes_half_of_the_budget_and_delays_nobody() {
    let mut run = Run::seeded(50);
    run.turns.snapshots.insert(NamespaceId(7), 100 * MS);
    run.turns.differing.push(NamespaceId(7));
    run.go_on(60 * MINUTE);
    let taken = u32::try_from(run.number_of_snapshots(NamespaceId(7))).unwrap() * 100 * MS;
    assert!(taken < 18 * SECOND + 100 * MS, "{taken:?} of an hour");
    for id in others(50) {
        let wait = run.longest_wait_for_snapshot(id);
        assert!(wait < 5 * MINUTE + 16 * SECOND, "{id:?}: {wait:?}");
    }
}

#[test]
fn the_more_namespaces_there_are_the_less_often_each_is_checked() {
    for (number, longest) in [(10, 21 * SECOND / 10), (200, 12 * SECOND), (400, 24 * SECOND)] {
        let mut run = Run::seeded(number);
        run.go_on(2 * MINUTE);
        for id in others(number) {
            let wait = run.longest_wait_for_check(id);
            assert!(wait < longest, "{id:?} of {number}: {wait:?}");
        }
    }
}

#[test]
fn a_check_that_is_nearly_due_does_not_wait_for_the_next_one_of_the_own_namespace() {
    let now = Instant::now();
    let mut schedule = Schedule::new(OWN, now);
    schedule.add(NamespaceId(1), now);
    schedule.snapshot_taken(NamespaceId(1), now + 10 * MS, SMALL, OTHER);
    assert_eq!(schedule.turn(now + SECOND), Some(Turn::Check));
    assert_eq!(schedule.check_beside(now + SECOND), Some(NamespaceId(1)));
    schedule.checked(NamespaceId(1), now + SECOND, CHECK, Some(SECOND));
    assert_eq!(schedule.check_beside(now + SECOND), None, "once");
}

#[test]
fn snapshots_that_are_more_frequent_than_checks_postpone_no_check() {
    let intervals = Intervals { check: Some(SECOND), snapshot: 100 * MS };
    let start = Instant::now();
    let mut schedule = Schedule::new(intervals, start);
    let (mut now, mut snapshots, mut checks) = (start, 0, 0);
    while now < start + MINUTE {
        now = schedule.due(now);
        match schedule.turn(now).expect("a turn is due") {
            Turn::Snapshot(id) => {
                now += 20 * MS;
                schedule.snapshot_taken(id, now, Duration::ZERO, intervals);
                snapshots += 1;
            }
            Turn::Check => {
                schedule.checked(NamespaceId::OWN, now, CHECK, intervals.check);
                checks += 1;
            }
        }
    }
    assert!(snapshots > 450, "{snapshots}");
    assert!((55..=60).contains(&checks), "{checks}");
}

#[test]
fn checks_of_others_wake_nobody() {
    let now = Instant::now();
    let mut schedule = Schedule::new(OWN, now);
    schedule.add(NamespaceId(1), now);
    schedule.snapshot_taken(
        NamespaceId(1),
        now,
        SMALL,
        Intervals { check: Some(SECOND / 2), ..OTHER },
    );
    assert_eq!(schedule.check_beside(now), None);
    assert_eq!(schedule.due(now), now + SECOND);
    assert_eq!(schedule.turn(now + SECOND), Some(Turn::Check));
    assert_eq!(schedule.check_beside(now + SECOND), Some(NamespaceId(1)));
}

#[test]
fn a_confirmed_namespace_has_no_turn_for_an_interval_and_its_last_one_stays_paid_for() {
    let now = Instant::now();
    let mut schedule = Schedule::new(OWN, now);
    let (cheap, dear) = (NamespaceId(1), NamespaceId(2));
    for id in [cheap, dear] {
        schedule.add(id, now);
    }
    schedule.confirmed(cheap, now, OTHER);
    assert_eq!(schedule.turn(now), Some(Turn::Snapshot(dear)));
    schedule.snapshot_taken(dear, now, 2 * SECOND, OTHER);
    schedule.confirmed(dear, now, OTHER);
    schedule.hurry(dear, now);
    schedule.checked(NamespaceId::OWN, now, CHECK, None);
    // It takes at most half of a hundredth.
    assert_eq!(schedule.turn(now + 14 * SECOND), None);
    let shortly_before = now + 399 * SECOND + 500 * MS;
    schedule.snapshot_taken(NamespaceId::OWN, shortly_before, SMALL, OWN);
    assert_eq!(schedule.turn(shortly_before), Some(Turn::Snapshot(cheap)), "an interval later");
    schedule.confirmed(cheap, shortly_before, OTHER);
    assert_eq!(schedule.turn(shortly_before), None);
    assert_eq!(schedule.turn(now + 400 * SECOND), Some(Turn::Snapshot(dear)));
}

#[test]
fn what_others_spend_without_a_turn_delays_their_turns() {
    let now = Instant::now();
    let mut schedule = Schedule::new(OWN, now);
    schedule.add(NamespaceId(1), now);
    schedule.spend(now, SAVINGS + SECOND);
    assert_eq!(schedule.turn(now), None);
    let paid = now + 100 * SECOND;
    schedule.snapshot_taken(NamespaceId::OWN, paid, SMALL, OWN);
    schedule.checked(NamespaceId::OWN, paid, CHECK, OWN.check);
    assert_eq!(schedule.turn(paid), Some(Turn::Snapshot(NamespaceId(1))));
}
