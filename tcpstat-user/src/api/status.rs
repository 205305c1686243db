//! How tcpstat counts, and whether the numbers can be trusted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AgesJson, ClosedCounts, EphemeralPortsJson, ListenersJson, Text};

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StatusJson {
    #[serde(default)]
    pub(crate) version: Text,
    #[serde(default)]
    pub(crate) revision: Text,
    pub(crate) host: Option<String>,
    pub(crate) kernel: Option<String>,
    /// Milliseconds since the epoch, now.
    #[serde(default)]
    pub(crate) unix_ms: u64,
    /// Milliseconds of the host's uptime, now.
    #[serde(default)]
    pub(crate) uptime_ms: u64,
    /// The host's uptime when this run began: no two runs of a boot have the same.
    #[serde(default)]
    pub(crate) started_uptime_ms: u64,
    /// Whether the first snapshot is complete.
    #[serde(default)]
    pub(crate) ready: bool,
    /// `None` if only snapshots are served.
    pub(crate) tracer: Option<TracerJson>,
    /// The last snapshot; `None` before the first.
    pub(crate) snapshot: Option<SnapshotJson>,
    /// Rows that do not parse, and snapshots that failed.
    #[serde(default)]
    pub(crate) snapshot_errors: u64,
    /// `None` if no program counts causes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) closed: Option<Box<ClosedCounts>>,
    /// `None` if nothing reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) close_wait_ages: Option<AgesJson>,
    /// `None` if nothing reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listeners: Option<ListenersJson>,
    /// `None` if nothing counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ephemeral_ports: Option<EphemeralPortsJson>,
}

/// The program that counts, and how its counts compare with the kernel's.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct TracerJson {
    pub(crate) program: Text,
    pub(crate) hooks: Vec<Text>,
    /// How often tcpstat changed to the program that loses less.
    #[serde(default)]
    pub(crate) changes: u64,
    /// Missed events.
    pub(crate) events_missed: u64,
    /// Whether counts and kernel agreed at the last conclusive check.
    pub(crate) consistent: bool,
    /// Time since they last agreed; `None` before the first time.
    pub(crate) agreed_ms_ago: Option<u64>,
    /// Failed sockstat checks.
    #[serde(default)]
    pub(crate) sockstat_mismatches: u64,
    /// Comparisons of the counts with a snapshot, by reason.
    #[serde(default)]
    pub(crate) reconciles: BTreeMap<Text, u64>,
    /// Counts minus snapshot at the last exact snapshot, without zeros.
    #[serde(default)]
    pub(crate) drift: Vec<StateCount<i64>>,
    /// Sockets that corrections added or removed since the start, without zeros.
    #[serde(default)]
    pub(crate) corrections: Vec<StateCount<u64>>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StateCount<T> {
    pub(crate) family: Text,
    pub(crate) state: Text,
    pub(crate) sockets: T,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct SnapshotJson {
    /// `procfs` or `iter`.
    #[serde(default)]
    pub(crate) source: Text,
    pub(crate) ended_ms_ago: u64,
    #[serde(default)]
    pub(crate) took_ms: f64,
    /// The current time between two snapshots.
    #[serde(default)]
    pub(crate) interval_ms: f64,
    #[serde(default)]
    pub(crate) sockets: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_may_have_only_the_fields_that_top_needs() {
        let text = r#"{"host": "web-1", "snapshot": {"ended_ms_ago": 1500}, "more": 1, "tracer": {
            "program": "tp_btf", "hooks": ["timewait"], "consistent": true, "events_missed": 3}}"#;
        let status: StatusJson = serde_json::from_str(text).unwrap();
        assert_eq!(status.tracer.unwrap().agreed_ms_ago, None);
        assert_eq!(status.snapshot.unwrap().ended_ms_ago, 1500);
        assert!(serde_json::from_str::<StatusJson>("{}").unwrap().tracer.is_none());
        let incomplete = text.replace("\"consistent\": true, ", "");
        assert!(serde_json::from_str::<StatusJson>(&incomplete).is_err());
    }
}
