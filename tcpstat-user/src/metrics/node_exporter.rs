//! The contract that dashboards already use: node_exporter's collector tcpstat.
//!
//! One label, thirteen values, sorted by it as Go's client library sorts. Unlike node_exporter a
//! state without sockets is 0 and not absent, and `tx_queued_bytes` holds no listener's backlog limit.

use crate::states::{Family, PerState, State, state_word};

use super::SnapshotValues;

/// The label's values with theirs.
pub(super) fn connection_states(
    connections: &PerState<u64>,
    snapshot: &SnapshotValues,
) -> Vec<(&'static str, u64)> {
    let mut values: Vec<_> = State::ALL
        .into_iter()
        .map(|state| {
            let count = Family::ALL.into_iter().map(|family| connections[(family, state)]).sum();
            (state_word(state), count)
        })
        .collect();
    values.push(("rx_queued_bytes", snapshot.tally.receive_queue_bytes.total()));
    values.push(("tx_queued_bytes", snapshot.tally.send_queue_bytes.total()));
    values.sort_unstable();
    values
}
