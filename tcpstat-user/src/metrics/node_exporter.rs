//! The metric of node_exporter's collector tcpstat, which existing dashboards use.
//!
//! It has one label with thirteen values, sorted as Go's client library sorts them. Two things differ from
//! node_exporter: a state without sockets is 0 instead of absent, and `tx_queued_bytes` does not include
//! the backlog limits of listeners.

use std::fmt;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{Values, family_writer::FamilyWriter, groups::Groups, names};
use crate::states::{Family, State, state_word};

/// Each value of the label `state`, with its sample.
#[derive(Debug)]
pub(super) struct ConnectionStates([(&'static str, u64); State::ALL.len() + 2]);

impl ConnectionStates {
    /// `None` before the first snapshot.
    pub(super) fn of(values: &Values) -> Option<Self> {
        let (connections, snapshot) = (values.connections.as_ref()?, values.snapshot.as_ref()?);
        let mut states = [("", 0); State::ALL.len() + 2];
        for (value, state) in states.iter_mut().zip(State::ALL) {
            let count = Family::ALL.into_iter().map(|family| connections[(family, state)]).sum();
            *value = (state_word(state), count);
        }
        let [.., received, sent] = &mut states;
        *received = ("rx_queued_bytes", snapshot.tally.receive_queue_bytes.total());
        *sent = ("tx_queued_bytes", snapshot.tally.send_queue_bytes.total());
        states.sort_unstable();
        Some(Self(states))
    }

    pub(super) fn write(&self, writer: &mut FamilyWriter<'_>) -> fmt::Result {
        let samples = self.0.iter().map(|&(state, value)| ([("state", state)], value));
        writer.gauges(names::NODE_TCP_CONNECTION_STATES, samples)
    }
}

impl Collector for ConnectionStates {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.write(&mut FamilyWriter { encoder, groups: Groups::ALL })
    }
}
