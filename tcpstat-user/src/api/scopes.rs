//! The scopes of each kind that is counted, now and in the last ten minutes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Text, ages::AgesJson, at_most::at_most, listeners::ListenersJson, state_counts::StateCounts,
};
use crate::{
    history::{Moment, ScopeKey, ScopeSample, ScopesHistory},
    scopes::NetnsName,
    tracker::{Scope, Scopes},
};

/// A reader takes at most this many kinds. Fewer exist.
const MAX_KINDS: usize = 16;

/// A reader takes at most this many scopes of a kind: the highest `--scopes-max`, the host, and `other`.
const MAX_SCOPES: usize = 4_096 + 2;

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct ScopesJson {
    /// Milliseconds since the epoch, now.
    #[serde(default)]
    unix_ms: u64,
    /// Milliseconds of the host's uptime, now.
    #[serde(default)]
    uptime_ms: u64,
    /// Empty if no scopes are counted.
    #[serde(deserialize_with = "at_most::<MAX_KINDS, _, _>")]
    pub(crate) kinds: Vec<ScopeKindJson>,
    /// The times of all samples; `None` if none are requested.
    history: Option<TimesJson>,
}

/// The scopes of one kind.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ScopeKindJson {
    /// `netns`, `cgroup`, or `port`.
    pub(crate) kind: Text,
    /// Scopes since the start that found no room.
    #[serde(default)]
    pub(crate) overflow: u64,
    /// Scopes that exist now and cannot be counted.
    #[serde(default)]
    pub(crate) hidden: u64,
    #[serde(deserialize_with = "at_most::<MAX_SCOPES, _, _>")]
    pub(crate) scopes: Vec<ScopeJson>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ScopeJson {
    pub(crate) name: String,
    /// Sockets by state, of both families; `None` before they are known.
    pub(crate) connections: Option<StateCounts>,
    /// Sockets in any state.
    pub(crate) total: Option<u64>,
    /// Whether counts and kernel agreed at the last conclusive check; `None` if that is not checked.
    consistent: Option<bool>,
    /// Age of the last snapshot; `None` before the first.
    snapshot_ended_ms_ago: Option<u64>,
    /// `None` if it is not a network namespace, and for `other`.
    netns: Option<Box<NetnsJson>>,
    /// How long sockets have been in CLOSE_WAIT; `None` if it is not a network namespace, or if that is not read.
    pub(crate) close_wait_ages: Option<Box<AgesJson>>,
    /// The listeners of a network namespace, as for the ages.
    pub(crate) listeners: Option<Box<ListenersJson>>,
    /// `None` if no samples are requested.
    history: Option<Box<SamplesJson>>,
}

/// What a network namespace belongs to. A text that does not apply is empty.
#[derive(Debug, Deserialize, Serialize)]
struct NetnsJson {
    /// `None` if it is not known.
    inode: Option<u64>,
    /// `host`, `pod`, `container`, `named`, or `unnamed`.
    kind: Text,
    namespace: String,
    pod: String,
    pod_uid: String,
    container: String,
    cgroup: String,
}

/// When samples were taken, oldest first.
#[derive(Debug, Deserialize, Serialize)]
struct TimesJson {
    /// Milliseconds since the epoch, by the wall clock as it is at the newest sample.
    unix_ms: Vec<u64>,
    /// Milliseconds of the host's uptime.
    uptime_ms: Vec<u64>,
}

/// One value for each time: `None` if the sockets were not known.
#[derive(Debug, Deserialize, Serialize)]
struct SamplesJson {
    established: Vec<Option<u32>>,
    close_wait: Vec<Option<u32>>,
    total: Vec<Option<u32>>,
}

impl ScopesJson {
    /// `kinds` at the time `now`, with the samples of `history`, if there is one.
    pub(crate) fn new(kinds: &[Scopes], now: Moment, history: Option<&ScopesHistory>) -> Self {
        Self {
            unix_ms: now.unix_ms,
            uptime_ms: now.uptime_ms,
            kinds: kinds.iter().map(|kind| ScopeKindJson::new(kind, now, history)).collect(),
            history: history.map(TimesJson::new),
        }
    }
}

impl ScopeKindJson {
    fn new(kind: &Scopes, now: Moment, history: Option<&ScopesHistory>) -> Self {
        let word = kind.kind.word();
        let scope = |scope: &Scope| ScopeJson {
            history: history
                .map(|history| SamplesJson::new(history, &(word, Arc::clone(&scope.name))).into()),
            ..ScopeJson::new(scope, now)
        };
        Self {
            kind: word.into(),
            overflow: kind.overflow,
            hidden: kind.hidden,
            scopes: kind.scopes.iter().map(scope).collect(),
        }
    }
}

impl ScopeJson {
    fn new(scope: &Scope, now: Moment) -> Self {
        let details = scope.netns.as_ref();
        let finished = details.and_then(|details| details.snapshot_finished);
        let connections = scope.connections.as_ref().map(StateCounts::from);
        Self {
            name: scope.name.to_string(),
            total: connections.map(|connections| connections.total()),
            connections,
            consistent: details.and_then(|details| details.consistent),
            snapshot_ended_ms_ago: finished
                .map(|finished| now.uptime_ms.saturating_sub(finished.uptime_ms)),
            netns: details
                .and_then(|details| details.name.as_deref())
                .map(|name| NetnsJson::new(name).into()),
            close_wait_ages: details
                .and_then(|details| details.close_wait_ages)
                .map(|ages| Box::new(ages.into())),
            listeners: details
                .and_then(|details| details.listeners.as_deref())
                .map(|listeners| Box::new(listeners.into())),
            history: None,
        }
    }

    /// The inode number of the network namespace; `None` if it is not known, or if this is no namespace.
    pub(crate) fn inode(&self) -> Option<u64> {
        self.netns.as_ref().and_then(|netns| netns.inode)
    }
}

impl NetnsJson {
    fn new(name: &NetnsName) -> Self {
        Self {
            inode: name.known_inode(),
            kind: name.kind.word().into(),
            namespace: name.namespace.clone(),
            pod: name.pod.clone(),
            pod_uid: name.pod_uid.clone(),
            container: name.container.clone(),
            cgroup: name.cgroup.clone(),
        }
    }
}

impl TimesJson {
    fn new(history: &ScopesHistory) -> Self {
        Self {
            unix_ms: history.times().map(|time| time.unix_ms).collect(),
            uptime_ms: history.times().map(|time| time.uptime_ms).collect(),
        }
    }
}

impl SamplesJson {
    fn new(history: &ScopesHistory, key: &ScopeKey) -> Self {
        let column = |value: fn(ScopeSample) -> u32| {
            history.samples(key).map(|sample| sample.map(value)).collect()
        };
        Self {
            established: column(|sample| sample.established),
            close_wait: column(|sample| sample.close_wait),
            total: column(|sample| sample.total),
        }
    }
}

#[cfg(test)]
mod tests;
