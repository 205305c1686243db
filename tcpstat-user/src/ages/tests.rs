use super::*;

const HZ: u64 = 250;
const RATE: TickRate = TickRate(NonZeroU32::new(250).unwrap());
/// The lower half wraps 100 seconds later.
const START: u64 = (7 << 32) - 100 * HZ;

/// A socket that was listed so many seconds after the start, and last heard at the second `heard`.
fn socket(skaddr: u64, now: u64, heard: u64) -> CloseWaitRecord {
    let tick = |second: u64| START + second * HZ;
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let heard = tick(heard) as u32;
    CloseWaitRecord { skaddr, now: tick(now), heard, received: 4711 }
}

fn table(max: usize) -> AgeTable {
    AgeTable::new(RATE, max)
}

fn read(table: &mut AgeTable, sockets: impl IntoIterator<Item = CloseWaitRecord>) -> CloseWaitAges {
    let mut reading = table.begin();
    sockets.into_iter().for_each(|socket| reading.see(&socket));
    reading.end()
}

fn oldest(table: &mut AgeTable, sockets: impl IntoIterator<Item = CloseWaitRecord>) -> u64 {
    read(table, sockets).oldest / HZ
}

#[test]
fn a_socket_from_before_the_first_reading_is_as_old_as_its_peer_is_silent() {
    let mut table = table(10);
    let ages = read(&mut table, [socket(1, 90, 20), socket(2, 90, 89)]);
    assert_eq!(ages, CloseWaitAges { oldest: 70 * HZ, older_than: [1, 0, 0] });
    // Across the end of the lower half.
    let ages = read(&mut table, [socket(1, 120, 20), socket(2, 4000, 89)]);
    assert_eq!(ages, CloseWaitAges { oldest: 3911 * HZ, older_than: [2, 1, 1] });
}

#[test]
fn a_peer_that_answers_makes_no_socket_younger_and_none_older() {
    let mut table = table(10);
    assert_eq!(oldest(&mut table, [socket(1, 10, 3)]), 7);
    assert_eq!(oldest(&mut table, [socket(1, 25, 24)]), 15);
    assert_eq!(oldest(&mut table, [socket(1, 400, 400)]), 390);
    // Seen for the first time: it may have been there for an hour.
    assert_eq!(oldest(&mut table, [socket(2, 400, 399)]), 1);
}

#[test]
fn another_socket_at_the_same_address_has_an_age_of_its_own() {
    let mut table = table(10);
    assert_eq!(oldest(&mut table, [socket(1, 0, 0)]), 0);
    let other = CloseWaitRecord { received: 4712, ..socket(1, 30, 28) };
    assert_eq!(oldest(&mut table, [other]), 2);
    let later = CloseWaitRecord { received: 4712, ..socket(1, 45, 45) };
    assert_eq!(oldest(&mut table, [later]), 15);
}

#[test]
fn a_socket_whose_peer_was_never_heard_is_as_old_as_it_has_been_seen() {
    let mut table = table(10);
    let unheard = |now| CloseWaitRecord { heard: 0, ..socket(1, now, 0) };
    assert_eq!(oldest(&mut table, [unheard(10)]), 0);
    assert_eq!(oldest(&mut table, [unheard(25)]), 15);
}

#[test]
fn a_peer_that_was_heard_a_moment_later_on_another_cpu_is_not_silent_for_months() {
    let mut table = table(10);
    assert_eq!(oldest(&mut table, [socket(1, 10, 11)]), 0);
}

#[test]
fn a_socket_that_is_listed_twice_counts_once() {
    let mut table = table(10);
    let twice = |now| [socket(1, now, 0), socket(1, now, 0)];
    assert_eq!(read(&mut table, twice(90)).older_than, [1, 0, 0]);
    assert_eq!(read(&mut table, twice(500)).older_than, [1, 1, 0]);
}

#[test]
fn an_age_that_equals_a_bound_is_not_above_it() {
    let mut table = table(10);
    assert_eq!(read(&mut table, [socket(1, 60, 0)]).older_than, [0, 0, 0]);
    assert_eq!(read(&mut table, [socket(1, 61, 0)]).older_than, [1, 0, 0]);
}

#[test]
fn what_two_readings_have_not_seen_is_forgotten_and_its_room_is_free() {
    let mut table = table(1);
    assert_eq!(oldest(&mut table, [socket(1, 0, 0)]), 0);
    for is_empty in [false, true] {
        assert_eq!(read(&mut table, []), CloseWaitAges::default());
        assert_eq!(table.is_empty(), is_empty);
    }
    assert_eq!(oldest(&mut table, [socket(2, 15, 15)]), 0);
    assert_eq!(oldest(&mut table, [socket(2, 30, 30)]), 15);
}

#[test]
fn a_socket_that_one_reading_skips_keeps_its_age() {
    let mut table = table(10);
    assert_eq!(oldest(&mut table, [socket(1, 0, 0)]), 0);
    assert_eq!(oldest(&mut table, []), 0);
    assert_eq!(oldest(&mut table, [socket(1, 30, 30)]), 30);
}

#[test]
fn a_reading_that_does_not_end_forgets_nothing() {
    let mut table = table(10);
    assert_eq!(oldest(&mut table, [socket(1, 0, 0), socket(2, 0, 0)]), 0);
    table.begin().see(&socket(2, 15, 15));
    assert_eq!(oldest(&mut table, [socket(1, 30, 30)]), 30);
}

#[test]
fn in_a_full_table_the_oldest_stay_and_the_others_are_as_old_as_their_peers_are_silent() {
    let mut table = table(2);
    let at = |now, heard| (1..=4).map(move |skaddr| socket(skaddr, now, heard));
    assert_eq!(oldest(&mut table, at(0, 0)), 0);
    let ages = read(&mut table, at(90, 85).collect::<Vec<_>>().into_iter().rev());
    assert_eq!(ages, CloseWaitAges { oldest: 90 * HZ, older_than: [2, 0, 0] });
    assert_eq!(read(&mut table, at(90, 20)).older_than, [4, 0, 0]);
    assert_eq!(table.sockets.len(), 2);
}

#[test]
fn a_hundred_thousand_sockets_take_at_most_eight_megabytes() {
    let mut table = table(100_000);
    let _ = read(&mut table, (0..200_000).map(|skaddr| socket(skaddr, 0, 0)));
    assert_eq!(table.sockets.len(), 100_000);
    // While it grows, the map has its old room too, which is half of the new one. At most 7/8 of the room is used; each
    // place has one more byte.
    let places = (table.sockets.capacity() * 8 / 7).next_power_of_two();
    let bytes = places * (size_of::<(u64, Seen)>() + 1);
    assert!(bytes * 3 / 2 <= 8_000_000, "{bytes}");
    for now in [15, 30] {
        let _ = read(&mut table, (0..1_000).map(|skaddr| socket(skaddr, now, 0)));
    }
    assert!(table.sockets.capacity() < 4_000, "{}", table.sockets.capacity());
}

#[test]
fn ticks_are_seconds_at_any_rate() {
    for rate in [100, 250, 300, 1000, 1024] {
        let rate = TickRate(NonZeroU32::new(rate).unwrap());
        let ticks = rate.ticks(60);
        assert_eq!(ticks, 60 * u64::from(rate.0.get()));
        assert_eq!(rate.seconds(ticks + ticks / 120).to_string(), "60.5");
    }
}

#[test]
fn buckets_have_their_bounds() {
    let silences = Silences { buckets: [5, 0, 1, 0, 0, 2, 3], ticks: 0 };
    let bounded = silences.bounded();
    assert_eq!(bounded[0], (1.0, 5));
    assert_eq!(bounded[5], (86_400.0, 2));
    assert_eq!(bounded[6], (f64::INFINITY, 3));
}
