//! Transitions as `tcpstat events` shows them: what the programs write, and which of them they write. Pure.

mod connects;
mod filter;
mod prefix;
mod socket_ids;
mod transition;

pub(crate) use connects::Connects;
pub(crate) use filter::{Filter, NO_TIME_WAIT, Port, StatePair};
pub(crate) use prefix::Prefix;
pub(crate) use socket_ids::SocketIds;
pub(crate) use transition::{Process, Transition};

use crate::states::State;

/// The states that a full socket can have: those that transitions are shown of.
pub(crate) const STATES: [State; 10] = [
    State::Established,
    State::SynSent,
    State::SynRecv,
    State::FinWait1,
    State::FinWait2,
    State::Close,
    State::CloseWait,
    State::LastAck,
    State::Listen,
    State::Closing,
];

#[cfg(test)]
pub(crate) use transition::tests::RECORD;
