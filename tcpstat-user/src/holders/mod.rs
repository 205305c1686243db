//! Which processes hold which TCP sockets.
//!
//! This part is pure: it takes what a reading shows of each descriptor, and reads nothing.
//!
//! - [`HolderTable`] keeps each socket once, with the set of processes that hold it.
//! - [`HolderTable::report`] makes a row of each set of processes in one network namespace, and counts what the row's
//!   sockets have in common: states, local ports, peers.

mod report;
mod sets;
mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use tcpstat_ebpf::{Family, HolderRecord, State};

pub use report::{AcceptQueue, HolderReport, HolderRow, NetnsTotals, Peer, Query, SortBy};
pub use table::HolderTable;

use crate::{
    ages::{TickRate, since_heard},
    snapshot::ip_address,
};

/// A socket, as a reading shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Identifies the socket while the reading lasts.
    pub key: u64,
    /// Identifies its network namespace.
    pub netns: u64,
    /// Its state.
    pub state: State,
    /// Local port; 0 if it has none.
    pub local_port: u16,
    /// Address and port of the peer; `None` for a socket without one.
    pub remote: Option<(IpAddr, u16)>,
    /// Ticks since the peer was last heard; `None` if that is not known.
    pub silence: Option<u32>,
    /// The accept queue of a listening socket.
    pub queue: Option<Queue>,
}

/// The accept queue of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The address that the socket listens on.
    pub address: IpAddr,
    /// Connections that wait to be accepted.
    pub length: u32,
    /// The queue is full when it is longer than this; `None` if that is not known.
    pub limit: Option<u32>,
}

impl Socket {
    /// What the BPF iterator shows, with the process that has the descriptor. `None` for a state or a family that there
    /// is not.
    #[must_use]
    pub fn of_record(record: &HolderRecord, rate: Option<TickRate>) -> Option<(Self, u32)> {
        let state = State::from_number(record.state)?;
        let family = Family::from_index(record.family)?;
        let has_peer = !matches!(state, State::Listen | State::Close);
        // Before the peer answers, the time is that of an earlier connection of the socket.
        let is_heard = has_peer && state != State::SynSent;
        let silence = rate.filter(|_| is_heard);
        let silence = silence.and_then(|rate| since_heard(record.now, record.heard, rate));
        let remote = has_peer.then(|| (peer_address(family, record.address), record.remote_port));
        let queue = (state == State::Listen).then(|| Queue {
            address: ip_address(family, record.address),
            length: record.queue_length,
            limit: Some(record.queue_limit),
        });
        let socket = Self {
            key: record.skaddr,
            netns: record.netns_inum.into(),
            state,
            local_port: record.local_port,
            remote,
            silence,
            queue,
        };
        Some((socket, record.pid))
    }
}

/// As [`ip_address`], with IPv4 instead of a v4-mapped address: a peer has one address for both families.
pub(crate) fn peer_address(family: Family, bytes: [u8; 16]) -> IpAddr {
    ip_address(family, bytes).to_canonical()
}
