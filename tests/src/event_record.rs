//! The lines of `tcpstat events --json`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::tcp::State;
use crate::who::{Netns, Process};

/// One line. A member that is not here is a failure: the schema is a promise.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// A transition.
    Transition(Box<Transition>),
    /// Transitions that are not shown, since the line before.
    Lost(Lost),
    /// The last line.
    End(End),
}

/// A transition of a socket.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "named as in the schema")]
pub struct Transition {
    pub time: String,
    pub netns: Netns,
    pub family: String,
    pub local: Endpoint,
    pub remote: Option<Endpoint>,
    pub from: String,
    pub to: String,
    pub cause: Option<String>,
    pub cgroup: Option<String>,
    pub silence_seconds: Option<f64>,
    pub process: Option<Process>,
    pub connect_process: Option<Process>,
    pub socket: String,
}

/// An end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "named as in the schema")]
pub struct Endpoint {
    pub address: String,
    pub port: u16,
}

/// See [`Record::Lost`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "named as in the schema")]
pub struct Lost {
    pub events: u64,
}

/// See [`Record::End`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "named as in the schema")]
pub struct End {
    pub events: u64,
    pub lost: u64,
    pub seconds: f64,
}

impl Transition {
    /// From which state, and to which.
    ///
    /// # Errors
    /// Fails if a word is not a state.
    pub fn states(&self) -> Result<(State, State)> {
        let state = |word| State::from_word(word).with_context(|| format!("state {word}"));
        Ok((state(&self.from)?, state(&self.to)?))
    }
}

/// Only the transitions.
#[must_use]
pub fn transitions(records: Vec<Record>) -> Vec<Transition> {
    let transition = |record| match record {
        Record::Transition(transition) => Some(*transition),
        _ => None,
    };
    records.into_iter().filter_map(transition).collect()
}

/// The transitions of each socket, in their order.
#[must_use]
pub fn by_socket(transitions: &[Transition]) -> BTreeMap<&str, Vec<&Transition>> {
    let mut sockets = BTreeMap::<_, Vec<_>>::new();
    for transition in transitions {
        sockets.entry(transition.socket.as_str()).or_default().push(transition);
    }
    sockets
}

/// One line about a transition, for a failure.
#[must_use]
pub fn summary(transition: &Transition) -> String {
    let Transition { local, remote, from, to, cause, process, socket, .. } = transition;
    format!(
        "{socket} {}:{} {remote:?} {from} > {to} cause {cause:?} process {process:?}",
        local.address, local.port
    )
}

/// One line for each, for a failure.
#[must_use]
pub fn summaries(transitions: &[Transition]) -> String {
    transitions.iter().map(summary).collect::<Vec<_>>().join("\n")
}
