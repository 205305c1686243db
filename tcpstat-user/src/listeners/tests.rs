use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{drops::MAX_SILENT, *};

/// The socket with this number, which is its address in the kernel and its cookie.
fn socket(number: u64, port: u16) -> ListenerRecord {
    ListenerRecord {
        skaddr: number,
        cookie: number,
        address: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        queue_limit: 9,
        port,
        ..ListenerRecord::default()
    }
}

fn dropped(drops: u32, socket: ListenerRecord) -> ListenerRecord {
    ListenerRecord { drops, ..socket }
}

fn filled(length: u32, socket: ListenerRecord) -> ListenerRecord {
    ListenerRecord { queue_length: length, ..socket }
}

fn at(port: u16) -> Endpoint {
    Endpoint { address: Ipv4Addr::LOCALHOST.into(), port }
}

fn ports(shown: &ShownListeners) -> Vec<u16> {
    shown.each.iter().map(|(endpoint, _)| endpoint.port).collect()
}

/// The drops of the only listener.
fn drops(shown: &ShownListeners) -> u64 {
    let [(_, listener)] = shown.each.as_slice() else { panic!("{shown:?}") };
    listener.drops
}

#[test]
fn an_endpoint_has_the_address_of_its_family() {
    let with = |family: Family, address: [u8; 16]| {
        let socket = ListenerRecord { family: family as u8, address, ..socket(1, 80) };
        Endpoint::of(&socket).address.to_string()
    };
    let mapped = Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().octets();
    assert_eq!(with(Family::Ipv4, [0; 16]), "0.0.0.0");
    assert_eq!(with(Family::Ipv6, [0; 16]), "::");
    assert_eq!(with(Family::Ipv6, Ipv6Addr::LOCALHOST.octets()), "::1");
    assert_eq!(with(Family::Ipv6, mapped), "::ffff:10.1.2.3");
}

#[test]
fn sockets_that_share_address_and_port_are_added_up_and_the_fullest_is_kept() {
    let mut listeners = Listeners::new(9);
    let roomy = ListenerRecord { queue_limit: 99, half_open: 1, ..filled(10, socket(2, 80)) };
    let full = ListenerRecord { half_open: 2, ..filled(10, socket(1, 80)) };
    let shown = listeners.update(&[roomy, dropped(7, full), filled(1, socket(3, 80))]);
    let [(endpoint, listener)] = shown.each[..] else { panic!("{shown:?}") };
    assert_eq!(endpoint, at(80));
    assert_eq!((listener.queue_length, listener.queue_limit), (21, 117));
    assert_eq!((listener.half_open, listener.drops), (3, 7));
    assert_eq!((listener.fullest.length, listener.fullest.limit), (10, 9));
    assert_eq!(listener.fullest.ratio().to_string(), "1");
}

#[test]
fn a_queue_without_a_limit_holds_one_connection() {
    let fill = |length, limit| Fill { length, limit };
    assert_eq!(fill(0, 0).ratio().to_string(), "0");
    assert_eq!(fill(1, 0).ratio().to_string(), "1");
    assert!(fill(1, 0) > fill(127, 127));
    assert!(fill(2, 127) > fill(1, 127));
    assert_eq!(fill(u32::MAX, u32::MAX).cmp(&fill(1, 0)), Ordering::Less);
}

#[test]
fn drops_do_not_fall_when_a_listener_is_closed_and_opened_again() {
    let mut listeners = Listeners::new(1);
    assert_eq!(drops(&listeners.update(&[dropped(5, socket(1, 80))])), 5);
    assert_eq!(drops(&listeners.update(&[dropped(8, socket(1, 80))])), 8);
    assert_eq!(listeners.update(&[]), ShownListeners::default());
    for _ in 0..100 {
        listeners.update(&[]);
    }
    assert_eq!(drops(&listeners.update(&[dropped(3, socket(2, 80))])), 11);
    // The kernel's count wraps.
    assert_eq!(drops(&listeners.update(&[dropped(1, socket(2, 80))])), 11 + (1 << 32) - 2);
}

/// The kernel gives the memory of a closed socket to the next one. Until 5.11 nothing else tells them apart.
#[test]
fn without_a_cookie_a_socket_with_fewer_drops_is_a_new_one() {
    let without_cookie = |drops| ListenerRecord { cookie: 0, ..dropped(drops, socket(1, 80)) };
    let mut listeners = Listeners::new(1);
    assert_eq!(drops(&listeners.update(&[without_cookie(5)])), 5);
    assert_eq!(drops(&listeners.update(&[without_cookie(2)])), 7);
}

#[test]
fn a_socket_that_a_reading_has_twice_counts_once_and_one_that_it_misses_is_not_counted_again() {
    let (one, two) = (dropped(5, socket(1, 80)), dropped(1, socket(2, 80)));
    let mut listeners = Listeners::new(1);
    let shown = listeners.update(&[one, two, one]);
    assert_eq!((drops(&shown), shown.each[0].1.queue_limit), (6, 18));
    assert_eq!(drops(&listeners.update(&[two])), 6);
    assert_eq!(drops(&listeners.update(&[two, one])), 6);
}

#[test]
fn the_fullest_are_shown_each_and_the_others_are_added_up() {
    let mut listeners = Listeners::new(2);
    let sockets: Vec<_> =
        (1..=5).map(|number: u16| filled(number.into(), socket(number.into(), number))).collect();
    let shown = listeners.update(&sockets);
    assert_eq!(ports(&shown), [4, 5]);
    assert_eq!((shown.other.queue_length, shown.other.queue_limit), (6, 27));
    assert_eq!(shown.other.fullest.length, 3);
}

#[test]
fn one_that_was_shown_keeps_its_place_until_a_fuller_one_needs_it() {
    let idle = [socket(1, 1), socket(2, 2), socket(3, 3)];
    let mut listeners = Listeners::new(2);
    assert_eq!(ports(&listeners.update(&idle)), [1, 2]);
    assert_eq!(ports(&listeners.update(&[idle[0], idle[1], filled(1, idle[2])])), [1, 3]);
    assert_eq!(ports(&listeners.update(&idle)), [1, 3]);
    // Of those that are equally full the one with drops stays.
    let with_drops = [idle[0], filled(1, idle[1]), dropped(1, idle[2])];
    assert_eq!(ports(&listeners.update(&with_drops)), [2, 3]);
}

#[test]
fn drops_count_where_the_listener_is_shown_and_go_on_when_it_is_shown_again() {
    let (one, two) = (socket(1, 1), socket(2, 2));
    let mut listeners = Listeners::new(1);
    let shown = listeners.update(&[dropped(3, one), dropped(2, two)]);
    assert_eq!((ports(&shown), drops(&shown), shown.other.drops), (vec![1], 3, 2));
    let shown = listeners.update(&[dropped(4, one), filled(1, dropped(7, two))]);
    assert_eq!((ports(&shown), drops(&shown), shown.other.drops), (vec![2], 5, 3));
    let shown = listeners.update(&[filled(1, dropped(6, one)), dropped(8, two)]);
    assert_eq!((ports(&shown), drops(&shown), shown.other.drops), (vec![1], 5, 4));
}

#[test]
fn what_is_kept_has_a_bound() {
    let mut listeners = Listeners::new(10);
    let mut number = 0;
    let mut shown = ShownListeners::default();
    for _ in 0..4 {
        let sockets: Vec<_> = (0..MAX_SOCKETS)
            .map(|_| {
                number += 1;
                dropped(1, socket(number, (number % 60_000) as u16))
            })
            .collect();
        shown = listeners.update(&sockets);
        assert!(shown.each.len() <= 10);
        assert!(listeners.counts.len() <= MIN_COUNTS, "{}", listeners.counts.len());
        assert!(listeners.drops.known() <= 2 * MAX_SOCKETS + MAX_SILENT);
    }
    assert_eq!(shown.each.len(), 10);
    for _ in 0..3 {
        listeners.update(&[]);
    }
    assert_eq!(listeners.drops.known(), MAX_SILENT);
}

#[test]
fn counts_of_many_listeners_in_turn_do_not_fall() {
    let mut listeners = Listeners::new(1);
    let ports = 1..=900;
    for (round, number) in [(1, 0), (2, 10_000)] {
        for port in ports.clone() {
            let shown = listeners.update(&[dropped(2, socket(number + u64::from(port), port))]);
            assert_eq!(drops(&shown), 2 * round, "{port}");
        }
    }
}

#[test]
fn a_socket_that_listens_again_goes_on_with_its_drops() {
    let mut listeners = Listeners::new(1);
    assert_eq!(drops(&listeners.update(&[dropped(5, socket(1, 80))])), 5);
    for _ in 0..100 {
        listeners.update(&[]);
    }
    assert_eq!(drops(&listeners.update(&[dropped(6, socket(1, 80))])), 6);
}

#[test]
fn without_cookies_a_socket_that_does_not_listen_is_forgotten() {
    let without_cookie = ListenerRecord { cookie: 0, ..dropped(5, socket(1, 80)) };
    let mut listeners = Listeners::new(1);
    listeners.update(&[without_cookie]);
    for _ in 0..3 {
        listeners.update(&[]);
    }
    assert_eq!(listeners.drops.known(), 0);
}

proptest! {
    /// Whatever listens and drops, and however often what is shown changes: the gauges add up to what the reading has,
    /// no count falls, and the counts together grow by what was dropped.
    #[test]
    fn gauges_add_up_and_counts_only_grow(
        readings in prop::collection::vec(
            prop::collection::vec((0_u16..10, 0_u32..12, 0_u32..3, any::<bool>()), 0..12),
            1..30,
        ),
        max in 1_usize..5,
    ) {
        let mut listeners = Listeners::new(max);
        // The drops of each socket, and how often it was opened.
        let mut sockets = BTreeMap::<u16, (u32, u64)>::new();
        let mut before = HashMap::<Option<Endpoint>, u64>::new();
        let mut grown = 0;
        let mut total = 0;
        for reading in readings {
            let mut records = Vec::new();
            let mut listed = HashSet::new();
            for (number, length, drops, reopened) in reading {
                if !listed.insert(number) {
                    continue;
                }
                let state = sockets.entry(number).or_default();
                if reopened {
                    *state = (0, state.1 + 1);
                }
                state.0 += drops;
                total += u64::from(drops);
                let record = socket(u64::from(number) + 100 * state.1, number / 2);
                records.push(filled(length, dropped(state.0, record)));
            }
            // One that is not listed is closed.
            for (_, state) in sockets.iter_mut().filter(|(number, _)| !listed.contains(number)) {
                *state = (0, state.1 + 1);
            }
            let shown = listeners.update(&records);
            prop_assert!(shown.each.len() <= max);
            let sum = |value: fn(&Listener) -> u64| -> u64 {
                shown.each.iter().map(|(_, listener)| value(listener)).sum::<u64>()
                    + value(&shown.other)
            };
            let length: u64 = records.iter().map(|it| u64::from(it.queue_length)).sum();
            prop_assert_eq!(sum(|listener| listener.queue_length), length);
            prop_assert_eq!(sum(|listener| listener.queue_limit), 9 * records.len() as u64);
            let each = shown.each.iter().map(|(endpoint, it)| (Some(*endpoint), it.drops));
            for (endpoint, drops) in each.chain([(None, shown.other.drops)]) {
                let before = before.insert(endpoint, drops).unwrap_or(0);
                prop_assert!(drops >= before, "{endpoint:?}: {before}, then {drops}");
                grown += drops - before;
            }
            prop_assert_eq!(grown, total);
        }
    }
}

#[test]
fn namespaces_share_the_series_and_each_keeps_the_drops_of_its_rest() {
    let mut listeners = Listeners::new(2);
    // The same address and port.
    let (one, two) = (filled(5, socket(1, 80)), filled(6, socket(2, 80)));
    let rest = dropped(3, socket(3, 81));
    let shown = listeners.update_all([('a', &one), ('b', &two), ('a', &rest)]);
    let numbers = |shown: &HashMap<char, ShownListeners>, namespace| {
        let shown: &ShownListeners = &shown[&namespace];
        let lengths: Vec<_> = shown.each.iter().map(|(_, it)| it.queue_length).collect();
        (lengths, shown.other.queue_limit, shown.other.drops)
    };
    assert_eq!(numbers(&shown, 'a'), (vec![5], 9, 3));
    assert_eq!(numbers(&shown, 'b'), (vec![6], 0, 0));
    let shown = listeners.update_all([('b', &two)]);
    assert_eq!(numbers(&shown, 'a'), (vec![], 0, 3));
    listeners.keep(|namespace| namespace == 'b');
    let shown = listeners.update_all([('b', &two)]);
    assert!(!shown.contains_key(&'a'));
    assert_eq!(listeners.counts.len() + listeners.other.len(), 1);
}
