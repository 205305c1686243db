//! Samples: one with a number for each value, or many with an array for each value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Text;
use crate::{
    history::{CAPACITY, History, Moment, Sample},
    states::{Family, PerState, State, family_word, state_word},
    transitions::{TRANSITIONS, Transitions},
};

/// The last millisecond that RFC 3339 can express.
const END_OF_9999_MS: u64 = 253_402_300_799_999;

/// Values by family and state.
type ByState<T> = BTreeMap<Text, BTreeMap<Text, T>>;

/// Values by family, old state, and new state.
type ByTransition<T> = BTreeMap<Text, BTreeMap<Text, BTreeMap<Text, T>>>;

/// One sample.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct SampleJson {
    /// Milliseconds since the epoch.
    unix_ms: u64,
    /// Milliseconds of the host's uptime, which never steps.
    uptime_ms: u64,
    connections: ByState<u64>,
    /// Transitions since the tracer's start, without those that never happened; `None` without a tracer.
    transitions: Option<ByTransition<u64>>,
}

/// Samples in ascending order of time: each array has one value for each of them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct HistoryJson {
    /// Milliseconds since the epoch, by the wall clock as it is at the time of writing.
    unix_ms: Vec<u64>,
    /// Milliseconds of the host's uptime.
    uptime_ms: Vec<u64>,
    connections: ByState<Vec<u64>>,
    /// Transitions since the tracer's start, without those that never happened; `None` without a tracer,
    /// and for each sample that was taken without one.
    transitions: Option<ByTransition<Vec<Option<u64>>>>,
}

impl From<&Sample> for SampleJson {
    fn from(sample: &Sample) -> Self {
        let total = |family, old, new| sample.transitions(family, old, new);
        Self {
            unix_ms: sample.at.unix_ms,
            uptime_ms: sample.at.uptime_ms,
            connections: by_state(|family, state| sample.connections(family, state)),
            transitions: sample.traced().then(|| {
                by_transition(|family, old, new| total(family, old, new).filter(|&total| total > 0))
            }),
        }
    }
}

impl SampleJson {
    pub(crate) fn to_sample(&self) -> Sample {
        let transitions = self.transitions.as_ref();
        sample(
            moment(self.unix_ms, self.uptime_ms),
            |family, state| self.connections.get(family)?.get(state).copied(),
            transitions.map(|transitions| {
                |family: &str, old: &str, new: &str| {
                    transitions.get(family)?.get(old)?.get(new).copied()
                }
            }),
        )
    }
}

impl HistoryJson {
    /// The samples of `history` that were taken after `since`, in milliseconds of the host's uptime.
    pub(crate) fn since(history: &History, since: Option<u64>) -> Self {
        let after = |sample: &&Sample| since.is_none_or(|since| sample.at.uptime_ms > since);
        let samples: Vec<_> = history.samples().filter(after).collect();
        let totals = |family, old, new| {
            samples.iter().map(|sample| sample.transitions(family, old, new)).collect()
        };
        let happened = |totals: &Vec<_>| totals.iter().flatten().any(|&total: &u64| total > 0);
        Self {
            unix_ms: samples.iter().map(|sample| history.unix_ms(sample)).collect(),
            uptime_ms: samples.iter().map(|sample| sample.at.uptime_ms).collect(),
            connections: by_state(|family, state| {
                samples.iter().map(|sample| sample.connections(family, state)).collect()
            }),
            transitions: samples.iter().any(|sample| sample.traced()).then(|| {
                by_transition(|family, old, new| Some(totals(family, old, new)).filter(happened))
            }),
        }
    }

    /// The last [`CAPACITY`] samples, the oldest first.
    pub(crate) fn to_samples(&self) -> Vec<Sample> {
        let times = self.unix_ms.iter().zip(&self.uptime_ms).enumerate();
        let skipped = times.len().saturating_sub(CAPACITY);
        times
            .skip(skipped)
            .map(|(index, (&unix_ms, &uptime_ms))| {
                let transitions = self.transitions.as_ref().filter(|all| is_traced(all, index));
                sample(
                    moment(unix_ms, uptime_ms),
                    |family, state| self.connections.get(family)?.get(state)?.get(index).copied(),
                    transitions.map(|transitions| {
                        move |family: &str, old: &str, new: &str| {
                            let totals = transitions.get(family)?.get(old)?.get(new)?;
                            totals.get(index).copied().flatten()
                        }
                    }),
                )
            })
            .collect()
    }
}

/// Whether a tracer ran when the sample was taken: without one, every column has `null`.
fn is_traced(transitions: &ByTransition<Vec<Option<u64>>>, index: usize) -> bool {
    let mut columns = transitions.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values);
    columns.all(|column| column.get(index).is_some_and(Option::is_some))
}

/// Limits the time, so that it can be formatted.
fn moment(unix_ms: u64, uptime_ms: u64) -> Moment {
    Moment { unix_ms: unix_ms.min(END_OF_9999_MS), uptime_ms }
}

/// A value that is missing is 0.
fn sample(
    at: Moment,
    connections: impl Fn(&str, &str) -> Option<u64>,
    transitions: Option<impl Fn(&str, &str, &str) -> Option<u64>>,
) -> Sample {
    let sockets = PerState::from_fn(|family, state| {
        connections(family_word(family), state_word(state)).unwrap_or_default()
    });
    let transitions = transitions.map(|total| {
        let mut transitions = Transitions::default();
        for family in Family::ALL {
            for (old, new) in TRANSITIONS {
                let total = total(family_word(family), state_word(old), state_word(new));
                transitions.add(family, old, new, total.unwrap_or_default());
            }
        }
        transitions
    });
    Sample::new(at, &sockets, transitions.as_ref())
}

fn by_state<T>(mut value: impl FnMut(Family, State) -> T) -> ByState<T> {
    Family::ALL
        .map(|family| {
            let states = State::ALL.map(|state| (state_word(state).into(), value(family, state)));
            (family_word(family).into(), states.into())
        })
        .into()
}

fn by_transition<T>(mut value: impl FnMut(Family, State, State) -> Option<T>) -> ByTransition<T> {
    let mut all = ByTransition::new();
    for family in Family::ALL {
        let transitions = all.entry(family_word(family).into()).or_default();
        for (old, new) in TRANSITIONS {
            if let Some(value) = value(family, old, new) {
                let of_old = transitions.entry(state_word(old).into()).or_default();
                of_old.insert(state_word(new).into(), value);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

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

    fn history(samples: impl IntoIterator<Item = Sample>, since: Option<u64>) -> Value {
        let mut history = History::default();
        samples.into_iter().for_each(|sample| history.push(sample));
        serde_json::to_value(HistoryJson::since(&history, since)).unwrap()
    }

    fn read_sample(text: &str) -> Sample {
        serde_json::from_str::<SampleJson>(text).unwrap().to_sample()
    }

    fn read_history(text: &str) -> Vec<Sample> {
        serde_json::from_str::<HistoryJson>(text).unwrap().to_samples()
    }

    #[test]
    fn a_sample_has_every_state_and_only_transitions_that_happened() {
        let json = serde_json::to_value(SampleJson::from(&sample(3, Some(5)))).unwrap();
        assert_eq!(json["unix_ms"], 1_003_000);
        assert_eq!(json["uptime_ms"], 3_000);
        assert_eq!(json["connections"]["ipv6"]["close_wait"], 3);
        assert_eq!(json["connections"]["ipv4"].as_object().unwrap().len(), 11);
        let transitions = json!({ "ipv4": { "listen": { "syn_recv": 5 } }, "ipv6": {} });
        assert_eq!(json["transitions"], transitions);
    }

    #[test]
    fn each_column_has_one_value_for_each_sample() {
        let json = history([sample(1, Some(0)), sample(2, Some(5))], None);
        assert_eq!(json["unix_ms"], json!([1_001_000, 1_002_000]));
        assert_eq!(json["uptime_ms"], json!([1_000, 2_000]));
        assert_eq!(json["connections"]["ipv6"]["close_wait"], json!([1, 2]));
        assert_eq!(json["connections"]["ipv4"]["listen"], json!([0, 0]));
        let transitions = json!({ "ipv4": { "listen": { "syn_recv": [0, 5] } }, "ipv6": {} });
        assert_eq!(json["transitions"], transitions);
    }

    #[test]
    fn since_leaves_out_samples_up_to_that_uptime() {
        let samples = || (1..=4).map(|second| sample(second, None));
        assert_eq!(history(samples(), Some(2_000))["uptime_ms"], json!([3_000, 4_000]));
        let none = history(samples(), Some(u64::MAX));
        assert_eq!(none["unix_ms"], json!([]));
        assert_eq!(none["connections"]["ipv4"]["established"], json!([]));
    }

    #[test]
    fn without_a_tracer_transitions_are_null_and_not_zero() {
        assert_eq!(history([sample(1, None)], None)["transitions"], Value::Null);
        let later = history([sample(1, None), sample(2, Some(7))], None);
        assert_eq!(later["transitions"]["ipv4"]["listen"]["syn_recv"], json!([null, 7]));
    }

    #[test]
    fn a_sample_that_is_written_and_read_is_the_same() {
        for written in [sample(3, Some(5)), sample(3, None)] {
            let text = serde_json::to_string(&SampleJson::from(&written)).unwrap();
            let read = read_sample(&text);
            assert_eq!(read.at, written.at);
            for family in Family::ALL {
                for state in State::ALL {
                    let sockets = read.connections(family, state);
                    assert_eq!(sockets, written.connections(family, state));
                }
                for (old, new) in TRANSITIONS {
                    let total = read.transitions(family, old, new);
                    assert_eq!(total, written.transitions(family, old, new));
                }
            }
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_values_are_zero() {
        let text = r#"{"unix_ms": 5000, "uptime_ms": 3000,
            "connections": {"ipv4": {"established": 2, "new_syn": 1}, "ipv6": {"close_wait": 37}},
            "transitions": {"ipv4": {"listen": {"syn_recv": 9}}, "ipv6": {}}, "more": 1}"#;
        let sample = read_sample(text);
        assert_eq!(sample.at, Moment { unix_ms: 5_000, uptime_ms: 3_000 });
        assert_eq!(sample.connections(Family::Ipv6, State::CloseWait), 37);
        assert_eq!(sample.connections(Family::Ipv6, State::Listen), 0);
        assert_eq!(sample.transitions(Family::Ipv4, State::Listen, State::SynRecv), Some(9));
        assert_eq!(sample.transitions(Family::Ipv6, State::Listen, State::SynRecv), Some(0));
        let untraced = r#"{"unix_ms": 1, "uptime_ms": 1, "connections": {}}"#;
        assert!(!read_sample(untraced).traced());
    }

    #[test]
    fn a_sample_of_a_history_is_traced_if_its_columns_have_numbers() {
        let text = r#"{"unix_ms": [1, 2], "uptime_ms": [1, 2],
            "connections": {"ipv4": {"established": [4, 5]}},
            "transitions": {"ipv4": {"listen": {"syn_recv": [null, 7]}}}}"#;
        let samples = read_history(text).into_iter().map(|sample| {
            let established = sample.connections(Family::Ipv4, State::Established);
            (established, sample.transitions(Family::Ipv4, State::Listen, State::SynRecv))
        });
        assert_eq!(samples.collect::<Vec<_>>(), [(4, None), (5, Some(7))]);
    }

    #[test]
    fn of_a_history_that_is_too_long_the_last_samples_are_kept() {
        let times: Vec<_> = (0..5_000).map(|second| second.to_string()).collect();
        let times = times.join(",");
        let text =
            format!(r#"{{"unix_ms": [{times}], "uptime_ms": [{times}], "connections": {{}}}}"#);
        let samples = read_history(&text);
        assert_eq!((samples.len(), samples[CAPACITY - 1].at.unix_ms), (CAPACITY, 4_999));
    }

    #[test]
    fn impossible_numbers_are_refused_or_limited() {
        let text = r#"{"unix_ms": 18446744073709551615, "uptime_ms": 18446744073709551615,
            "connections": {"ipv4": {"listen": 18446744073709551615}}, "transitions": null}"#;
        let sample = read_sample(text);
        assert_eq!(sample.at.unix_ms, END_OF_9999_MS);
        assert_eq!(sample.connections(Family::Ipv4, State::Listen), u64::from(u32::MAX));
        for number in ["-1", "18446744073709551616", "1e400", "0.5", "\"1\""] {
            let text = text.replacen("18446744073709551615", number, 1);
            assert!(serde_json::from_str::<SampleJson>(&text).is_err(), "{number}");
        }
    }
}
