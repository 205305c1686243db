use proptest::prelude::*;

use super::*;

fn transitions(counts: &[(Family, State, State, u64)]) -> Transitions {
    let mut transitions = Transitions::default();
    for &(family, old, new, count) in counts {
        transitions.add(family, old, new, count);
    }
    transitions
}

fn sockets(counts: &[(Family, State, u64)]) -> PerState<u64> {
    let mut sockets = PerState::default();
    for &(family, state, count) in counts {
        sockets[(family, state)] = count;
    }
    sockets
}

#[test]
fn sockets_from_before_the_start_count_and_follow_the_transitions() {
    let at = transitions(&[(Family::Ipv4, State::Close, State::SynSent, 7)]);
    let ledger =
        Ledger::seeded(Hooks::default(), &at, &sockets(&[(Family::Ipv4, State::Established, 3)]));
    assert_eq!(ledger.connections(&at, 0, 0)[(Family::Ipv4, State::Established)], 3);

    let mut now = at.clone();
    now.add(Family::Ipv4, State::Established, State::CloseWait, 2);
    let connections = ledger.connections(&now, 0, 0);
    assert_eq!(connections[(Family::Ipv4, State::Established)], 1);
    assert_eq!(connections[(Family::Ipv4, State::CloseWait)], 2);
}

#[test]
fn drift_is_ledger_minus_snapshot_and_a_correction_removes_it() {
    let at = Transitions::default();
    let mut ledger =
        Ledger::seeded(Hooks::default(), &at, &sockets(&[(Family::Ipv6, State::Established, 5)]));
    let snapshot =
        sockets(&[(Family::Ipv6, State::Established, 3), (Family::Ipv6, State::CloseWait, 1)]);
    let drift = ledger.drift(&at, &snapshot);
    assert_eq!(drift[(Family::Ipv6, State::Established)], 2);
    assert_eq!(drift[(Family::Ipv6, State::CloseWait)], -1);
    ledger.correct(&drift);
    assert_eq!(ledger.drift(&at, &snapshot), PerState::default());
}

#[test]
fn time_wait_and_mini_sockets_in_fin_wait2_always_add_up_to_tw() {
    let at = Transitions::default();
    let mut ledger =
        Ledger::seeded(Hooks::default(), &at, &sockets(&[(Family::Ipv4, State::FinWait2, 2)]));
    let tally = Tally {
        time_wait: PerFamily([6, 2]),
        fin_wait2_mini: PerFamily([3, 1]),
        requests: PerFamily([4, 0]),
        ..Tally::default()
    };
    ledger.observe(&at, &tally);

    let exact = ledger.connections(&at, 12, 0);
    assert_eq!(exact[(Family::Ipv4, State::TimeWait)], 6);
    assert_eq!(exact[(Family::Ipv6, State::TimeWait)], 2);
    assert_eq!(exact[(Family::Ipv4, State::FinWait2)], 2 + 3);
    assert_eq!(exact[(Family::Ipv6, State::FinWait2)], 1);
    assert_eq!(exact[(Family::Ipv4, State::SynRecv)], 4);

    let fewer = ledger.connections(&at, 2, 0);
    let both = |state| Family::ALL.map(|family| fewer[(family, state)]).iter().sum::<u64>();
    assert_eq!(both(State::FinWait2), 2 + 2, "never above tw");
    assert_eq!(both(State::TimeWait), 0);
}

#[test]
fn requests_of_a_namespace_that_nothing_lists_any_more_are_forgotten_and_full_sockets_are_not() {
    let at = Transitions::default();
    let held = sockets(&[(Family::Ipv4, State::SynRecv, 1), (Family::Ipv6, State::Listen, 2)]);
    let mut ledger = Ledger::seeded(Hooks::default(), &at, &held);
    ledger.observe(&at, &Tally { requests: PerFamily([4, 3]), ..Tally::default() });
    let syn_recv = |ledger: &Ledger| {
        let connections = ledger.connections(&at, 0, 0);
        Family::ALL.map(|family| connections[(family, State::SynRecv)])
    };
    assert_eq!(syn_recv(&ledger), [5, 3]);
    ledger.forget_requests();
    assert_eq!(syn_recv(&ledger), [1, 0]);
    assert_eq!(ledger.connections(&at, 0, 0), held);
}

#[test]
fn new_mini_sockets_after_the_snapshot_count_in_the_family_that_closed_sockets() {
    let at = Transitions::default();
    let mut ledger = Ledger::seeded(Hooks::default(), &at, &PerState::default());
    ledger.observe(&at, &Tally::default());
    let now = transitions(&[(Family::Ipv6, State::FinWait2, State::Close, 9)]);
    assert_eq!(ledger.connections(&now, 9, 0)[(Family::Ipv6, State::TimeWait)], 9);
    assert_eq!(ledger.connections(&now, 9, 0)[(Family::Ipv4, State::TimeWait)], 0);
}

#[test]
fn no_socket_is_in_close() {
    let now = transitions(&[(Family::Ipv4, State::Established, State::Close, 4)]);
    let ledger = Ledger::seeded(Hooks::default(), &now, &PerState::default());
    assert_eq!(ledger.connections(&now, 0, 0), PerState::default());
}

const HOOKS: Hooks = Hooks { timewait: true, requests: true };

#[test]
fn with_hooks_transitions_count_mini_sockets_and_requests() {
    let at = Transitions::default();
    let seed = sockets(&[
        (Family::Ipv4, State::TimeWait, 3),
        (Family::Ipv6, State::FinWait2Mini, 2),
        (Family::Ipv6, State::FinWait2, 1),
        (Family::Ipv4, State::NewSynRecv, 4),
        (Family::Ipv4, State::SynRecv, 1),
    ]);
    let mut ledger = Ledger::seeded(HOOKS, &at, &seed);
    // With hooks, their number in a later snapshot has no effect.
    ledger.observe(&at, &Tally { requests: PerFamily([9, 9]), ..Tally::default() });
    let now = transitions(&[
        (Family::Ipv4, State::TimeWait, State::Close, 2),
        (Family::Ipv6, State::FinWait2Mini, State::TimeWait, 1),
        (Family::Ipv4, State::Close, State::NewSynRecv, 5),
        (Family::Ipv4, State::NewSynRecv, State::Close, 8),
    ]);
    let expected = sockets(&[
        (Family::Ipv4, State::TimeWait, 1),
        (Family::Ipv6, State::TimeWait, 1),
        (Family::Ipv6, State::FinWait2, 1 + 1),
        (Family::Ipv4, State::SynRecv, 1 + 1),
    ]);
    assert_eq!(ledger.connections(&now, 77, 0), expected, "sockstat has no effect");
    let sum = |object| ledger.counted(&now).of(object).sum::<i64>();
    assert_eq!((sum(Object::Mini), sum(Object::Full), sum(Object::Request)), (3, 2, 1));
}

#[test]
fn objects_without_a_hook_are_not_counted_and_cause_no_drift() {
    let at = transitions(&[(Family::Ipv4, State::Close, State::NewSynRecv, 5)]);
    let minis =
        sockets(&[(Family::Ipv4, State::TimeWait, 3), (Family::Ipv6, State::NewSynRecv, 1)]);
    let ledger = Ledger::seeded(Hooks::default(), &at, &minis);
    assert_eq!(ledger.counted(&at), PerState::default());
    assert_eq!(ledger.drift(&at, &PerState::default()), PerState::default());
    assert!(!ledger.counts(Object::Mini) && ledger.counts(Object::Full));
}

proptest! {
    #[test]
    fn a_ledger_has_no_drift_from_the_rows_that_seeded_it(
        counted in prop::collection::vec((0_u8..2, 0..13_usize, 0..13_usize, any::<u64>()), 0..40),
        held in prop::collection::vec((0_u8..2, 0..13_usize, 0_u64..1_000_000), 0..26),
        timewait in any::<bool>(),
        requests in any::<bool>(),
    ) {
        let hooks = Hooks { timewait, requests };
        let mut at = Transitions::default();
        for (family, old, new, count) in counted {
            at.add(family_at(family), State::EVERY[old], State::EVERY[new], count);
        }
        let mut rows = PerState::default();
        for (family, state, count) in held {
            rows[(family_at(family), State::EVERY[state])] = count;
        }
        let ledger = Ledger::seeded(hooks, &at, &rows);
        prop_assert_eq!(ledger.drift(&at, &rows), PerState::default());
        for (family, state, count) in rows.iter() {
            let count = if hooks.counts(Object::in_state(state)) { count } else { 0 };
            prop_assert_eq!(ledger.counted(&at)[(family, state)], count.cast_signed());
        }
    }

    #[test]
    fn the_division_of_tw_has_no_remainder(
        time_wait in prop::array::uniform2(0_u64..u64::from(u32::MAX)),
        fin_wait2 in prop::array::uniform2(0_u64..u64::from(u32::MAX)),
        tw in 0_u64..u64::from(u32::MAX),
    ) {
        let at = Transitions::default();
        let mut ledger = Ledger::seeded(Hooks::default(), &at, &PerState::default());
        ledger.observe(&at, &Tally {
            time_wait: PerFamily(time_wait),
            fin_wait2_mini: PerFamily(fin_wait2),
            ..Tally::default()
        });
        let connections = ledger.connections(&at, tw, 0);
        let sum: u64 = Family::ALL.into_iter().flat_map(|family| {
            [State::TimeWait, State::FinWait2].map(|state| connections[(family, state)])
        }).sum();
        prop_assert_eq!(sum, tw);
    }
}

fn family_at(index: u8) -> Family {
    Family::ALL[usize::from(index)]
}
