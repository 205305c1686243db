//! The rows of a snapshot and their sums, the same for both sources.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use crate::states::{Family, PerFamily, PerState, State};

/// An address in network order, as [`Tuple`] has it: IPv4 in the first four bytes.
pub(crate) fn ip_address(family: Family, bytes: [u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    match family {
        Family::Ipv4 => Ipv4Addr::new(a, b, c, d).into(),
        Family::Ipv6 => Ipv6Addr::from(bytes).into(),
    }
}

/// Addresses and ports of a socket. The remote ones of a listener are zero.
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
    /// The tuple of the IPv4 socket that this IPv6 socket can become; `None` unless both addresses are
    /// v4-mapped.
    #[must_use]
    pub fn as_ipv4(&self) -> Option<Self> {
        if self.family == Family::Ipv4 {
            return None;
        }
        let [saddr, daddr] = [self.saddr, self.daddr].map(unmapped);
        Some(Self { family: Family::Ipv4, saddr: saddr?, daddr: daddr?, ..*self })
    }
}

/// The IPv4 address in a v4-mapped address, in the first four bytes.
fn unmapped(address: [u8; 16]) -> Option<[u8; 16]> {
    let ipv4 = address.strip_prefix(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])?;
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(ipv4);
    Some(bytes)
}

/// The kernel object that a row shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A `struct sock` in this state.
    Full(State),
    /// An `inet_timewait_sock` in substate TIME_WAIT.
    TimeWait,
    /// An `inet_timewait_sock` in substate FIN_WAIT2: its owner has closed the socket.
    FinWait2Mini,
    /// A `request_sock`: half-open (NEW_SYN_RECV).
    Request,
}

impl Kind {
    /// The kind of object that counts in `state`.
    #[must_use]
    pub fn in_state(state: State) -> Self {
        match state {
            State::TimeWait => Self::TimeWait,
            State::FinWait2Mini => Self::FinWait2Mini,
            State::NewSynRecv => Self::Request,
            state => Self::Full(state),
        }
    }

    /// The state that the row counts in.
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

/// How a row identifies its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// As /proc/net/tcp shows it.
    Tuple {
        /// Addresses and ports. Several sockets can have the same: listeners may share them, and a
        /// mini-socket or a request can have those of a full socket.
        tuple: Tuple,
        /// Inode of the owner's descriptor; 0 if there is none (mini-sockets, requests, orphans,
        /// connections that are not accepted yet).
        inode: u64,
    },
    /// As the iterator shows it.
    Address {
        /// The kernel address of the socket, which events carry too.
        skaddr: u64,
        /// Addresses and ports.
        tuple: Tuple,
    },
}

impl Identity {
    /// Addresses and ports.
    pub(crate) fn tuple(&self) -> &Tuple {
        match self {
            Self::Tuple { tuple, .. } | Self::Address { tuple, .. } => tuple,
        }
    }
}

/// One socket of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The socket's family.
    pub family: Family,
    /// Which socket it is.
    pub identity: Identity,
    /// The kernel object and its state.
    pub kind: Kind,
    /// Bytes received but not yet read; for a listener the length of its accept queue.
    pub receive_queue: u32,
    /// Bytes written but not yet acknowledged.
    pub send_queue: u32,
    /// Local port.
    pub sport: u16,
    /// The id of a full socket's cgroup; 0 if the source does not give it.
    pub cgroup: u64,
}

/// Receives the rows of a snapshot.
pub trait RowSink {
    /// One read from the kernel has ended. Its rows follow; they do not show what happens from now on.
    fn listed(&mut self);
    /// Takes a row.
    fn row(&mut self, row: &Row);
    /// Takes a row that does not parse.
    fn broken(&mut self, row: BrokenRow<'_>);
}

/// A row that does not parse.
#[derive(Debug)]
pub struct BrokenRow<'a> {
    /// The file.
    pub path: &'a Path,
    /// The line in the file, from 1; the header is line 1.
    pub line: u64,
    /// The field that does not parse.
    pub field: &'static str,
    /// The text of the field.
    pub value: String,
}

impl fmt::Display for BrokenRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, field, value } = self;
        write!(f, "{} line {line}: invalid {field}: {value:?}", path.display())
    }
}

/// Where the rows of a snapshot come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotSource {
    /// /proc/net/tcp and tcp6
    Procfs,
    /// The BPF iterator over TCP sockets
    Iter,
}

impl SnapshotSource {
    /// The word for the source in metrics, the API, and the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Procfs => "procfs",
            Self::Iter => "iter",
        }
    }
}

/// The sums of the rows of a snapshot.
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
    /// Bytes in receive queues, without listeners.
    pub receive_queue_bytes: PerFamily<u64>,
    /// Bytes in send queues, without listeners.
    pub send_queue_bytes: PerFamily<u64>,
    /// Number of rows.
    pub rows: u64,
}

impl Tally {
    /// Adds a row.
    pub fn add(&mut self, row: &Row) {
        let family = row.family;
        match row.kind {
            Kind::Full(state) => {
                return self.add_full(family, state, row.receive_queue, row.send_queue);
            }
            Kind::TimeWait => self.time_wait[family] += 1,
            Kind::FinWait2Mini => self.fin_wait2_mini[family] += 1,
            Kind::Request => self.requests[family] += 1,
        }
        self.rows += 1;
    }

    /// Adds a full socket with so many bytes in its queues.
    pub(crate) fn add_full(
        &mut self,
        family: Family,
        state: State,
        receive_queue: u32,
        send_queue: u32,
    ) {
        self.full[(family, state)] += 1;
        if state != State::Listen {
            self.receive_queue_bytes[family] += u64::from(receive_queue);
            self.send_queue_bytes[family] += u64::from(send_queue);
        }
        self.rows += 1;
    }

    /// All mini-sockets: the `tw` of sockstat.
    #[must_use]
    pub fn minis(&self) -> u64 {
        self.time_wait.total() + self.fin_wait2_mini.total()
    }

    /// Full sockets and mini-sockets, which sockstat counts.
    pub(crate) fn sockets(&self) -> u64 {
        self.rows - self.requests.total()
    }

    /// Sockets by state, as /proc/net/tcp shows them.
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
