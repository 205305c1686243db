//! Samples as JSON: one, or columns of many.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    history::{History, Sample},
    states::{Family, State, family_word, state_word},
    transitions::TRANSITIONS,
};

/// Values by family and state.
type ByState<T> = BTreeMap<&'static str, BTreeMap<&'static str, T>>;

/// Values by family, the state left, and the state entered.
type ByMove<T> = BTreeMap<&'static str, BTreeMap<&'static str, BTreeMap<&'static str, T>>>;

/// One sample.
#[derive(Debug, Serialize)]
pub(super) struct Numbers {
    /// When it was taken, in milliseconds since the epoch.
    unix_ms: u64,
    /// The same by the host's uptime, which never steps.
    uptime_ms: u64,
    /// Sockets.
    connections: ByState<u64>,
    /// Transitions since the tracer's start, those left out that have not been seen; `None` without a
    /// tracer.
    transitions: Option<ByMove<u64>>,
}

/// Samples, the oldest first: each array has one value for each of them.
#[derive(Debug, Serialize)]
pub(super) struct Columns {
    /// When they were taken, in milliseconds since the epoch, by the wall clock as it stands now.
    unix_ms: Vec<u64>,
    /// The same by the host's uptime.
    uptime_ms: Vec<u64>,
    /// Sockets.
    connections: ByState<Vec<u64>>,
    /// Transitions since the tracer's start, those left out that have not been seen; `None` without a
    /// tracer, and for the samples of a time without one.
    transitions: Option<ByMove<Vec<Option<u64>>>>,
}

impl Numbers {
    /// The form of `sample`.
    pub(super) fn of(sample: &Sample) -> Self {
        let total = |family, old, new| sample.transitions(family, old, new);
        Self {
            unix_ms: sample.at.unix_ms,
            uptime_ms: sample.at.uptime_ms,
            connections: by_state(|family, state| sample.connections(family, state)),
            transitions: sample.traced().then(|| {
                by_move(|family, old, new| total(family, old, new).filter(|&total| total > 0))
            }),
        }
    }
}

impl Columns {
    /// Those of `history` that were taken after `since`, in milliseconds of the host's uptime.
    pub(super) fn of(history: &History, since: Option<u64>) -> Self {
        let after = |sample: &&Sample| since.is_none_or(|since| sample.at.uptime_ms > since);
        let samples: Vec<_> = history.samples().filter(after).collect();
        let totals = |family, old, new| {
            samples.iter().map(|sample| sample.transitions(family, old, new)).collect()
        };
        let seen = |totals: &Vec<_>| totals.iter().flatten().any(|&total: &u64| total > 0);
        Self {
            unix_ms: samples.iter().map(|sample| history.unix_ms(sample)).collect(),
            uptime_ms: samples.iter().map(|sample| sample.at.uptime_ms).collect(),
            connections: by_state(|family, state| {
                samples.iter().map(|sample| sample.connections(family, state)).collect()
            }),
            transitions: samples
                .iter()
                .any(|sample| sample.traced())
                .then(|| by_move(|family, old, new| Some(totals(family, old, new)).filter(seen))),
        }
    }
}

fn by_state<T>(mut value: impl FnMut(Family, State) -> T) -> ByState<T> {
    Family::ALL
        .map(|family| {
            let states = State::ALL.map(|state| (state_word(state), value(family, state)));
            (family_word(family), states.into())
        })
        .into()
}

fn by_move<T>(mut value: impl FnMut(Family, State, State) -> Option<T>) -> ByMove<T> {
    let mut all = ByMove::new();
    for family in Family::ALL {
        let moves = all.entry(family_word(family)).or_default();
        for (old, new) in TRANSITIONS {
            if let Some(value) = value(family, old, new) {
                moves.entry(state_word(old)).or_default().insert(state_word(new), value);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{history::Moment, states::PerState, transitions::Transitions};

    fn sample(second: u64, accepted: Option<u64>) -> Sample {
        let at = Moment { unix_ms: 1_000_000 + 1_000 * second, uptime_ms: 1_000 * second };
        let connections = PerState::from_fn(|family, state| match (family, state) {
            (Family::Ipv6, State::CloseWait) => second,
            _ => 0,
        });
        let transitions = accepted.map(|accepted| {
            let mut transitions = Transitions::default();
            transitions.add(Family::Ipv4, State::Listen, State::SynRecv, accepted);
            transitions
        });
        Sample::new(at, &connections, transitions.as_ref())
    }

    fn columns(samples: impl IntoIterator<Item = Sample>, since: Option<u64>) -> Value {
        let mut history = History::default();
        samples.into_iter().for_each(|sample| history.push(sample));
        serde_json::to_value(Columns::of(&history, since)).unwrap()
    }

    #[test]
    fn a_sample_has_every_state_and_the_moves_that_were_seen() {
        let numbers = serde_json::to_value(Numbers::of(&sample(3, Some(5)))).unwrap();
        assert_eq!(numbers["unix_ms"], 1_003_000);
        assert_eq!(numbers["uptime_ms"], 3_000);
        assert_eq!(numbers["connections"]["ipv6"]["close_wait"], 3);
        assert_eq!(numbers["connections"]["ipv4"].as_object().unwrap().len(), 11);
        let moves = json!({ "ipv4": { "listen": { "syn_recv": 5 } }, "ipv6": {} });
        assert_eq!(numbers["transitions"], moves);
    }

    #[test]
    fn columns_are_as_long_as_there_are_samples() {
        let columns = columns([sample(1, Some(0)), sample(2, Some(5))], None);
        assert_eq!(columns["unix_ms"], json!([1_001_000, 1_002_000]));
        assert_eq!(columns["uptime_ms"], json!([1_000, 2_000]));
        assert_eq!(columns["connections"]["ipv6"]["close_wait"], json!([1, 2]));
        assert_eq!(columns["connections"]["ipv4"]["listen"], json!([0, 0]));
        let moves = json!({ "ipv4": { "listen": { "syn_recv": [0, 5] } }, "ipv6": {} });
        assert_eq!(columns["transitions"], moves);
    }

    #[test]
    fn only_samples_after_since_are_told() {
        let samples = || (1..=4).map(|second| sample(second, None));
        assert_eq!(columns(samples(), Some(2_000))["uptime_ms"], json!([3_000, 4_000]));
        let none = columns(samples(), Some(u64::MAX));
        assert_eq!(none["unix_ms"], json!([]));
        assert_eq!(none["connections"]["ipv4"]["established"], json!([]));
    }

    #[test]
    fn without_a_tracer_there_are_no_transitions_and_no_zeros_in_their_place() {
        assert_eq!(columns([sample(1, None)], None)["transitions"], Value::Null);
        let later = columns([sample(1, None), sample(2, Some(7))], None);
        assert_eq!(later["transitions"]["ipv4"]["listen"]["syn_recv"], json!([null, 7]));
    }
}
