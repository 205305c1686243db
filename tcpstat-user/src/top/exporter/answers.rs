//! What the API answers, as samples and as a status.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::{
    history::{CAPACITY, Moment, Sample},
    states::{Family, PerState, State, family_word, state_word},
    top::numbers::{Status, Tracing},
    transitions::{TRANSITIONS, Transitions},
};

/// The last millisecond that RFC 3339 can write.
const END_OF_9999_MS: u64 = 253_402_300_799_999;

/// Values by family and state.
type ByState<T> = BTreeMap<String, BTreeMap<String, T>>;

/// Values by family, the state left, and the state entered.
type ByMove<T> = BTreeMap<String, BTreeMap<String, BTreeMap<String, T>>>;

/// One sample.
#[derive(Debug, Deserialize)]
pub(super) struct NumbersAnswer {
    unix_ms: u64,
    uptime_ms: u64,
    connections: ByState<u64>,
    transitions: Option<ByMove<u64>>,
}

/// Many samples: each array has one value for each of them.
#[derive(Debug, Deserialize)]
pub(super) struct HistoryAnswer {
    unix_ms: Vec<u64>,
    uptime_ms: Vec<u64>,
    connections: ByState<Vec<u64>>,
    transitions: Option<ByMove<Vec<Option<u64>>>>,
}

/// How the numbers come about.
#[derive(Debug, Deserialize)]
pub(super) struct StatusAnswer {
    host: Option<String>,
    tracer: Option<TracerAnswer>,
    snapshot: Option<SnapshotAnswer>,
}

#[derive(Debug, Deserialize)]
struct TracerAnswer {
    program: String,
    hooks: Vec<String>,
    consistent: bool,
    agreed_ms_ago: Option<u64>,
    events_missed: u64,
}

#[derive(Debug, Deserialize)]
struct SnapshotAnswer {
    ended_ms_ago: u64,
}

impl NumbersAnswer {
    pub(super) fn sample(&self) -> Sample {
        let at = moment(self.unix_ms, self.uptime_ms);
        let moves = self.transitions.as_ref();
        sample(
            at,
            |family, state| self.connections.get(family)?.get(state).copied(),
            moves.map(|moves| {
                |family: &str, old: &str, new: &str| moves.get(family)?.get(old)?.get(new).copied()
            }),
        )
    }
}

impl HistoryAnswer {
    /// The oldest first; of more than a history has the last.
    pub(super) fn samples(&self) -> Vec<Sample> {
        let times = self.unix_ms.iter().zip(&self.uptime_ms).enumerate();
        let skipped = times.len().saturating_sub(CAPACITY);
        times
            .skip(skipped)
            .map(|(place, (&unix_ms, &uptime_ms))| {
                let moves = self.transitions.as_ref().filter(|moves| is_traced(moves, place));
                sample(
                    moment(unix_ms, uptime_ms),
                    |family, state| self.connections.get(family)?.get(state)?.get(place).copied(),
                    moves.map(|moves| {
                        move |family: &str, old: &str, new: &str| {
                            moves.get(family)?.get(old)?.get(new)?.get(place).copied().flatten()
                        }
                    }),
                )
            })
            .collect()
    }
}

/// A sample of a time without a tracer has `null` in every column.
fn is_traced(moves: &ByMove<Vec<Option<u64>>>, place: usize) -> bool {
    let mut columns = moves.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values);
    columns.all(|column| column.get(place).is_some_and(Option::is_some))
}

/// A time that a calendar has.
fn moment(unix_ms: u64, uptime_ms: u64) -> Moment {
    Moment { unix_ms: unix_ms.min(END_OF_9999_MS), uptime_ms }
}

/// What is not told is 0.
fn sample(
    at: Moment,
    connections: impl Fn(&str, &str) -> Option<u64>,
    moves: Option<impl Fn(&str, &str, &str) -> Option<u64>>,
) -> Sample {
    let mut sockets = PerState::default();
    for family in Family::ALL {
        for state in State::ALL {
            let count = connections(family_word(family), state_word(state));
            sockets[(family, state)] = count.unwrap_or_default();
        }
    }
    let transitions = moves.map(|moves| {
        let mut transitions = Transitions::default();
        for family in Family::ALL {
            for (old, new) in TRANSITIONS {
                let count = moves(family_word(family), state_word(old), state_word(new));
                transitions.add(family, old, new, count.unwrap_or_default());
            }
        }
        transitions
    });
    Sample::new(at, &sockets, transitions.as_ref())
}

impl StatusAnswer {
    /// Of the exporter at `url`.
    pub(super) fn status(self, url: &str) -> Status {
        Status {
            host: self.host.unwrap_or_default(),
            exporter: Some(url.to_owned()),
            tracing: self.tracer.map(|tracer| Tracing {
                program: tracer.program,
                hooks: match tracer.hooks.as_slice() {
                    [] => "none".to_owned(),
                    hooks => hooks.join(","),
                },
                consistent: tracer.consistent,
                agreed: tracer.agreed_ms_ago.map(Duration::from_millis),
                missed: tracer.events_missed,
            }),
            listed: self.snapshot.map(|snapshot| Duration::from_millis(snapshot.ended_ms_ago)),
            trouble: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_the_stream_is_that_of_the_exporter() {
        let text = r#"{"unix_ms": 5000, "uptime_ms": 3000,
            "connections": {"ipv4": {"established": 2}, "ipv6": {"close_wait": 37}},
            "transitions": {"ipv4": {"listen": {"syn_recv": 9}}, "ipv6": {}}, "more": 1}"#;
        let sample = serde_json::from_str::<NumbersAnswer>(text).unwrap().sample();
        assert_eq!(sample.at, Moment { unix_ms: 5_000, uptime_ms: 3_000 });
        assert_eq!(sample.connections(Family::Ipv6, State::CloseWait), 37);
        assert_eq!(sample.connections(Family::Ipv6, State::Listen), 0);
        assert_eq!(sample.transitions(Family::Ipv4, State::Listen, State::SynRecv), Some(9));
        assert_eq!(sample.transitions(Family::Ipv6, State::Listen, State::SynRecv), Some(0));
    }

    #[test]
    fn the_history_has_a_tracer_only_where_its_columns_have_numbers() {
        let text = r#"{"unix_ms": [1, 2], "uptime_ms": [1, 2],
            "connections": {"ipv4": {"established": [4, 5]}},
            "transitions": {"ipv4": {"listen": {"syn_recv": [null, 7]}}}}"#;
        let samples = serde_json::from_str::<HistoryAnswer>(text).unwrap().samples();
        let told = samples.iter().map(|sample| {
            let established = sample.connections(Family::Ipv4, State::Established);
            (established, sample.transitions(Family::Ipv4, State::Listen, State::SynRecv))
        });
        assert_eq!(told.collect::<Vec<_>>(), [(4, None), (5, Some(7))]);
    }

    #[test]
    fn of_a_history_without_end_the_last_is_taken() {
        let times: Vec<_> = (0..5_000).map(|second| second.to_string()).collect();
        let times = times.join(",");
        let text =
            format!(r#"{{"unix_ms": [{times}], "uptime_ms": [{times}], "connections": {{}}}}"#);
        let samples = serde_json::from_str::<HistoryAnswer>(&text).unwrap().samples();
        assert_eq!((samples.len(), samples[CAPACITY - 1].at.unix_ms), (CAPACITY, 4_999));
    }

    #[test]
    fn numbers_that_no_host_has_are_refused_or_limited() {
        let text = r#"{"unix_ms": 18446744073709551615, "uptime_ms": 18446744073709551615,
            "connections": {"ipv4": {"listen": 18446744073709551615}}, "transitions": null}"#;
        let sample = serde_json::from_str::<NumbersAnswer>(text).unwrap().sample();
        assert_eq!(sample.at.unix_ms, END_OF_9999_MS);
        assert_eq!(sample.connections(Family::Ipv4, State::Listen), u64::from(u32::MAX));
        for number in ["-1", "18446744073709551616", "1e400", "0.5", "\"1\""] {
            let text = text.replacen("18446744073709551615", number, 1);
            assert!(serde_json::from_str::<NumbersAnswer>(&text).is_err(), "{number}");
        }
    }

    #[test]
    fn the_status_tells_who_counts() {
        let text = r#"{"host": "web-1", "snapshot": {"ended_ms_ago": 1500}, "tracer": {
            "program": "tp_btf", "hooks": ["timewait", "requests"], "consistent": true,
            "agreed_ms_ago": null, "events_missed": 3}}"#;
        let status = serde_json::from_str::<StatusAnswer>(text).unwrap().status("http://h:1");
        assert_eq!(status.host, "web-1");
        assert_eq!(status.exporter.as_deref(), Some("http://h:1"));
        let tracing = status.tracing.unwrap();
        assert_eq!((tracing.hooks.as_str(), tracing.missed), ("timewait,requests", 3));
        let alone = r#"{"host": null, "tracer": null, "snapshot": null}"#;
        let status = serde_json::from_str::<StatusAnswer>(alone).unwrap().status("http://h:1");
        assert_eq!(status.tracing, None);
    }
}
