#![expect(clippy::cast_precision_loss, reason = "the numbers are small")]

use proptest::prelude::*;

use super::*;
use crate::{
    states::{Family, PerState, State},
    transitions::{TRANSITIONS, Transitions},
};

const V4: Family = Family::Ipv4;

fn sample(unix_ms: u64, uptime_ms: u64, counted: Option<u64>) -> Sample {
    let connections = PerState::from_fn(|_, state| u64::from(state.number()));
    let transitions = counted.map(|counted| {
        let mut transitions = Transitions::default();
        transitions.add(V4, State::Listen, State::SynRecv, counted);
        transitions
    });
    Sample::new(Moment { unix_ms, uptime_ms }, &connections, transitions.as_ref())
}

fn births(earlier: &Sample, later: &Sample) -> Option<f64> {
    let rates = Rates::between(earlier, later)?;
    Some(rates.per_second(V4, State::Listen, State::SynRecv))
}

#[test]
fn a_sample_returns_the_counts_it_was_made_of() {
    let connections =
        PerState::from_fn(|family, state| 100 * family as u64 + u64::from(state.number()));
    let mut transitions = Transitions::default();
    for (place, (old, new)) in TRANSITIONS.into_iter().enumerate() {
        transitions.add(Family::Ipv6, old, new, place as u64);
    }
    let sample = Sample::new(Moment::default(), &connections, Some(&transitions));
    for (family, state, sockets) in connections.shown() {
        assert_eq!(sample.connections(family, state), sockets);
    }
    assert_eq!(sample.connections(V4, State::NewSynRecv), 0);
    for (place, (old, new)) in TRANSITIONS.into_iter().enumerate() {
        assert_eq!(sample.transitions(Family::Ipv6, old, new), Some(place as u64));
        assert_eq!(sample.transitions(V4, old, new), Some(0));
    }
    assert_eq!(sample.transitions(V4, State::Close, State::TimeWait), None);
}

#[test]
fn a_count_above_u32_is_stored_as_the_maximum() {
    let connections = PerState::from_fn(|_, _| u64::MAX);
    let sample = Sample::new(Moment::default(), &connections, None);
    assert_eq!(sample.connections(V4, State::Listen), u64::from(u32::MAX));
}

#[test]
fn a_rate_is_per_second_of_uptime_even_if_samples_are_missing() {
    assert_eq!(births(&sample(0, 1_000, Some(7)), &sample(0, 2_000, Some(12))), Some(5.0));
    assert_eq!(births(&sample(0, 1_000, Some(7)), &sample(0, 5_000, Some(27))), Some(5.0));
}

#[test]
fn a_step_of_the_wall_clock_changes_no_rate() {
    let earlier = sample(9_000_000, 1_000, Some(10));
    assert_eq!(births(&earlier, &sample(60, 3_000, Some(20))), Some(5.0));
}

#[test]
fn there_is_no_rate_without_a_tracer_or_between_two_runs() {
    assert_eq!(births(&sample(0, 0, None), &sample(0, 1_000, Some(1))), None);
    assert_eq!(births(&sample(0, 0, Some(1)), &sample(0, 1_000, None)), None);
    assert_eq!(births(&sample(0, 0, Some(1_000)), &sample(0, 1_000, Some(3))), None);
    assert_eq!(births(&sample(0, 0, Some(1)), &sample(0, 0, Some(2))), None);
    assert_eq!(births(&sample(0, 5_000, Some(1)), &sample(0, 1_000, Some(2))), None);
}

#[test]
fn all_times_are_by_the_current_wall_clock() {
    let mut history = History::default();
    history.push(sample(1_000_000, 1_000, None));
    history.push(sample(1_001_000, 2_000, None));
    // The clock steps back.
    history.push(sample(1_002_000 - 360_000, 3_000, None));
    let times: Vec<_> = history.samples().map(|sample| history.unix_ms(sample)).collect();
    assert_eq!(times, [640_000, 641_000, 642_000]);
}

#[test]
fn a_second_sample_with_the_same_uptime_replaces_the_first() {
    let mut history = History::default();
    history.push(sample(0, 1_000, Some(1)));
    history.push(sample(0, 1_000, Some(2)));
    let kept: Vec<_> = history.samples().cloned().collect();
    assert_eq!(kept, [sample(0, 1_000, Some(2))]);
}

#[test]
fn another_boot_starts_a_new_history() {
    let mut history = History::default();
    for second in 0..5 {
        history.push(sample(0, 100_000 + second * 1_000, None));
    }
    history.push(sample(0, 3_000, None));
    assert_eq!(history.samples().len(), 1);
}

proptest! {
    /// For any times between samples, the ring keeps the newest samples of the last ten minutes, and its
    /// memory does not grow.
    #[test]
    fn the_ring_keeps_the_last_ten_minutes(gaps in prop::collection::vec(1_u64..5_000, 1..1_500)) {
        let mut history = History::default();
        let (mut uptime_ms, mut all) = (0, Vec::new());
        for (number, gap) in gaps.into_iter().enumerate() {
            uptime_ms += gap;
            let taken = sample(uptime_ms + 77, uptime_ms, Some(number as u64));
            all.push(taken.clone());
            history.push(taken);
        }
        let within = |sample: &&Sample| sample.at.uptime_ms + SPAN_MS > uptime_ms;
        let mut expected: Vec<_> = all.iter().filter(within).cloned().collect();
        let surplus = expected.len().saturating_sub(CAPACITY);
        expected.drain(..surplus);
        prop_assert_eq!(history.samples().cloned().collect::<Vec<_>>(), expected);
        prop_assert_eq!(history.samples.capacity(), CAPACITY);
    }

    /// Each rate times its interval: the sum is the number of counted transitions.
    #[test]
    fn rates_add_up_to_the_counted_transitions(
        ticks in prop::collection::vec((1_u64..5_000, 0_u64..1_000_000), 2..100)
    ) {
        let mut history = History::default();
        let (mut uptime_ms, mut counted) = (0, 0);
        for (gap, more) in ticks {
            uptime_ms += gap;
            counted += more;
            history.push(sample(0, uptime_ms, Some(counted)));
        }
        let mut sum = 0.0;
        let mut last_rates = None;
        for (earlier, later) in history.samples().zip(history.samples().skip(1)) {
            let rates = Rates::between(earlier, later);
            last_rates = rates;
            let rate = rates.map(|rates| rates.per_second(V4, State::Listen, State::SynRecv));
            let seconds = (later.at.uptime_ms - earlier.at.uptime_ms) as f64 / 1e3;
            sum += rate.unwrap() * seconds;
        }
        let first = history.samples().next().and_then(|sample| {
            sample.transitions(V4, State::Listen, State::SynRecv)
        });
        let total = (counted - first.unwrap()) as f64;
        prop_assert!((sum - total).abs() < 1e-3, "{} {}", sum, total);
        prop_assert_eq!(history.rates(), last_rates);
    }
}
