//! What a listing of all sockets tells: one row type and one tally, whatever the source.

use std::path::Path;

use crate::states::{Family, PerFamily, PerState, State};

/// Both ends of a connection; for a listener the remote end is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The socket's family.
    pub family: Family,
    /// Local address in network order; IPv4 in the first four bytes, the rest 0.
    pub saddr: [u8; 16],
    /// Local port.
    pub sport: u16,
    /// Remote address, as `saddr`.
    pub daddr: [u8; 16],
    /// Remote port.
    pub dport: u16,
}

impl Tuple {
    /// The ends of the IPv4 socket that an IPv6 one with these ends can become: both are v4-mapped.
    #[must_use]
    pub fn as_ipv4(&self) -> Option<Self> {
        if self.family == Family::Ipv4 {
            return None;
        }
        let [saddr, daddr] = [self.saddr, self.daddr].map(unmapped);
        Some(Self { family: Family::Ipv4, saddr: saddr?, daddr: daddr?, ..*self })
    }
}

/// The IPv4 address in a v4-mapped one, in the first four bytes.
fn unmapped(address: [u8; 16]) -> Option<[u8; 16]> {
    let ipv4 = address.strip_prefix(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])?;
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(ipv4);
    Some(bytes)
}

/// What kind of kernel object a row shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A `struct sock` in this state.
    Full(State),
    /// An `inet_timewait_sock` in substate TIME_WAIT.
    TimeWait,
    /// An `inet_timewait_sock` in substate FIN_WAIT2: the socket was closed by its owner.
    FinWait2Mini,
    /// A `request_sock`: SYN received, not acknowledged (NEW_SYN_RECV).
    Request,
}

impl Kind {
    /// What a row shows that counts for `state`.
    #[must_use]
    pub fn in_state(state: State) -> Self {
        match state {
            State::TimeWait => Self::TimeWait,
            State::FinWait2Mini => Self::FinWait2Mini,
            State::NewSynRecv => Self::Request,
            state => Self::Full(state),
        }
    }

    /// The state that the row counts for.
    #[must_use]
    pub fn state(self) -> State {
        match self {
            Self::Full(state) => state,
            Self::TimeWait => State::TimeWait,
            Self::FinWait2Mini => State::FinWait2Mini,
            Self::Request => State::NewSynRecv,
        }
    }
}

/// By what a row tells which socket it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// What /proc/net/tcp shows.
    Tuple {
        /// Its ends. Not of one socket alone: listeners may share them, and a mini-socket or a request
        /// has those of a full socket.
        tuple: Tuple,
        /// Inode of the owner's descriptor; 0 where there is none (mini-sockets, requests, orphans,
        /// connections not yet accepted).
        inode: u64,
    },
    /// Its kernel address, which an event carries too.
    Address(u64),
}

/// One socket of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its family.
    pub family: Family,
    /// Which it is.
    pub identity: Identity,
    /// What it is, and its state.
    pub kind: Kind,
    /// Bytes received and not yet read; for a listener no bytes but the accept queue's length.
    pub receive_queue: u32,
    /// Bytes written and not yet acknowledged.
    pub send_queue: u32,
}

/// Who takes the rows of a listing.
pub trait RowSink {
    /// The kernel has listed some more rows, which now follow: what happened to their sockets until
    /// this moment shows in them, what happens from now on does not.
    fn listed(&mut self);
    /// A socket.
    fn row(&mut self, row: &Row);
    /// A row that is none.
    fn broken(&mut self, row: BrokenRow<'_>);
}

/// A row that does not parse.
#[derive(Debug)]
pub struct BrokenRow<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its line, the header being the first.
    pub line: u64,
    /// The field.
    pub field: &'static str,
    /// What stands there.
    pub value: String,
}

/// Where listings come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotSource {
    /// /proc/net/tcp and tcp6
    Procfs,
    /// The BPF iterator over TCP sockets
    Iter,
}

impl SnapshotSource {
    /// The word for it in metrics and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Procfs => "procfs",
            Self::Iter => "iter",
        }
    }
}

/// A listing added up: what there is, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Full sockets by state. TIME_WAIT and CLOSE stay 0.
    pub full: PerState<u64>,
    /// `inet_timewait_sock`s in substate TIME_WAIT.
    pub time_wait: PerFamily<u64>,
    /// `inet_timewait_sock`s in substate FIN_WAIT2.
    pub fin_wait2_mini: PerFamily<u64>,
    /// Half-open requests.
    pub requests: PerFamily<u64>,
    /// Bytes in receive queues, LISTEN left out.
    pub receive_queue_bytes: PerFamily<u64>,
    /// Bytes in send queues, LISTEN left out.
    pub send_queue_bytes: PerFamily<u64>,
    /// Rows added.
    pub rows: u64,
}

impl Tally {
    /// Adds a row.
    pub fn add(&mut self, row: &Row) {
        let family = row.family;
        match row.kind {
            Kind::Full(state) => {
                self.full[(family, state)] += 1;
                if state != State::Listen {
                    self.receive_queue_bytes[family] += u64::from(row.receive_queue);
                    self.send_queue_bytes[family] += u64::from(row.send_queue);
                }
            }
            Kind::TimeWait => self.time_wait[family] += 1,
            Kind::FinWait2Mini => self.fin_wait2_mini[family] += 1,
            Kind::Request => self.requests[family] += 1,
        }
        self.rows += 1;
    }

    /// All mini-sockets: what sockstat calls `tw`.
    #[must_use]
    pub fn minis(&self) -> u64 {
        self.time_wait.total() + self.fin_wait2_mini.total()
    }

    /// The numbers that /proc/net/tcp shows: the kinds merged by state.
    #[must_use]
    pub fn connections(&self) -> PerState<u64> {
        let mut connections = self.full;
        for family in Family::ALL {
            connections[(family, State::TimeWait)] += self.time_wait[family];
            connections[(family, State::FinWait2)] += self.fin_wait2_mini[family];
            connections[(family, State::SynRecv)] += self.requests[family];
        }
        connections
    }
}
