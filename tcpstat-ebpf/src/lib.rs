//! The layout that the tracer in the kernel and user space share.
//!
//! It uses `core` only. Shared records are `repr(C)`, and assertions fix their sizes and offsets at compile
//! time, so both sides always agree.
#![no_std]

mod causes;
mod cells;
mod dwell;
mod held_record;
mod held_state_record;
mod holder_record;
mod kernel_layout;
mod listener_record;
mod scope_rows;
mod silence;
mod slots;
mod stream_record;

use core::mem::{offset_of, size_of};

pub use causes::{
    CAUSES, CLOSED, CLOSING_PLACES, CLOSINGS, CONNECTED, CONNECTED_RETRIED, Cause, DETAIL_COUNT,
    DETAIL_SLOTS, DETAILED_PLACES, DETAILS, Detail, ERRORS, FULL_PLACES, MAY_HAVE_DETAIL, closing,
};
pub use cells::{
    BANK_CELLS, Bank, FAMILY_CELLS, FULL_TRANSITIONS, NO_CELL, PAIRS, PLACES, ROW_CELLS, Row,
    TRANSITIONS, cell, pair, place,
};
pub use dwell::{
    DWELL_BOUNDS, DWELL_BUCKETS, DWELL_OVERFLOW_CELL, DWELL_SLOTS, DWELL_STATES, DwellRecord,
    dwell_bucket, dwell_cell, dwell_entry, dwell_since, dwell_state,
};
pub use held_record::HeldRecord;
pub use held_state_record::HeldStateRecord;
pub use holder_record::HolderRecord;
pub use kernel_layout::{
    FIXED_MEMBERS, FixedMember, MEMBERS, Member, RECORD_FIELDS, Reader, RecordField, record,
};
pub use listener_record::ListenerRecord;
pub use scope_rows::{
    CgroupMember, OTHER_PORTS_SLOT, PORT_ENTRIES, PORTS_OF_ENTRY, ROOT_CGROUP, SCOPE_ROW_CELLS,
    ScopeRow, scope_cell,
};
pub use silence::{
    CloseWaitRecord, SILENCE_BOUNDS, SILENCE_BUCKETS, SILENCE_PLACE, SILENCE_SUM_PLACE,
    silence_bucket,
};
pub use slots::{
    FIRST_FREE_SLOT, NetnsKey, OTHER_SLOT, OWN_SLOT, TAGS, TaskRecord, row, tag, tag_index,
    tagged_slot,
};
pub use stream_record::{
    HEARD_STATES, NO_CAUSE, NO_SILENCE, PORT_WORDS, PREFIX_BYTES, PortFilter, SHOWN, SHOWN_CAUSES,
    StreamProcess, StreamRecord, StreamTransitions, V4_MAPPED, port_word, shown_cause,
};

/// A TCP state by the kernel's number (`include/net/tcp_states.h`).
///
/// `inet_sock_set_state` never reports `TimeWait`, `FinWait2Mini` and `NewSynRecv`: the first two are states
/// of mini-sockets, the last one is that of a request. /proc/net/tcp shows a request as `03`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// `TCP_ESTABLISHED`
    Established = 1,
    /// `TCP_SYN_SENT`
    SynSent = 2,
    /// `TCP_SYN_RECV`
    SynRecv = 3,
    /// `TCP_FIN_WAIT1`
    FinWait1 = 4,
    /// `TCP_FIN_WAIT2`
    FinWait2 = 5,
    /// `TCP_TIME_WAIT`
    TimeWait = 6,
    /// `TCP_CLOSE`
    Close = 7,
    /// `TCP_CLOSE_WAIT`
    CloseWait = 8,
    /// `TCP_LAST_ACK`
    LastAck = 9,
    /// `TCP_LISTEN`
    Listen = 10,
    /// `TCP_CLOSING`
    Closing = 11,
    /// `TCP_NEW_SYN_RECV`
    NewSynRecv = 12,
    /// An `inet_timewait_sock` in substate `TCP_FIN_WAIT2`. The kernel has no number for it (this one is
    /// unused there); /proc/net/tcp shows such a mini-socket as `05`.
    FinWait2Mini = 14,
}

impl State {
    /// The states that gauges show, in the kernel's order: all except `NewSynRecv` and `FinWait2Mini`.
    pub const ALL: [Self; 11] = match Self::EVERY.first_chunk() {
        Some(shown) => *shown,
        None => panic!("there are more states than are shown"),
    };

    /// All states: first those of [`State::ALL`], then the other two.
    pub const EVERY: [Self; 13] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynRecv,
        Self::FinWait2Mini,
    ];

    /// The state with this number; `None` if no state has it.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Established),
            2 => Some(Self::SynSent),
            3 => Some(Self::SynRecv),
            4 => Some(Self::FinWait1),
            5 => Some(Self::FinWait2),
            6 => Some(Self::TimeWait),
            7 => Some(Self::Close),
            8 => Some(Self::CloseWait),
            9 => Some(Self::LastAck),
            10 => Some(Self::Listen),
            11 => Some(Self::Closing),
            12 => Some(Self::NewSynRecv),
            14 => Some(Self::FinWait2Mini),
            _ => None,
        }
    }

    /// The kernel's number of the state; 14 for `FinWait2Mini`.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// The address family of a socket. A v4-mapped socket is `Ipv6`: /proc/net/tcp6 shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// `AF_INET`
    Ipv4 = 0,
    /// `AF_INET6`
    Ipv6 = 1,
}

impl Family {
    /// Both families, in the order of their indexes.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family for which `family as u8` is `index`; `None` if there is none.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::Ipv4),
            1 => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// The other one of the two families.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Ipv4 => Self::Ipv6,
            Self::Ipv6 => Self::Ipv4,
        }
    }

    /// The family for the kernel's number: `AF_INET` or `AF_INET6`; `None` for any other.
    #[must_use]
    pub const fn from_address_family(number: u16) -> Option<Self> {
        match number {
            AF_INET => Some(Self::Ipv4),
            AF_INET6 => Some(Self::Ipv6),
            _ => None,
        }
    }
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `IPPROTO_TCP`: the only protocol that is counted.
pub const IPPROTO_TCP: u16 = 6;

/// `IPPROTO_MPTCP`: the protocol of a socket whose subflows are TCP sockets without a descriptor.
pub const IPPROTO_MPTCP: u16 = 262;

/// What user space controls in the loaded tracer: the value type of the map `CONTROL`, which has one entry.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Control {
    /// One more than the slot whose event log is open; 0 while none is. The events of that slot are counted in
    /// [`Bank::Logged`] and written to the ring buffer `EVENTS`.
    pub log_open: u64,
    /// How many events had states for which there is no cell. The tracer adds to it.
    pub without_cell: u64,
    /// How many network namespaces have got a slot from the tracer. It adds to it after it has put one into the map
    /// `NETNS_SLOTS`.
    pub netns_assigned: u64,
    /// How many cgroups have got a slot from the tracer: as `netns_assigned`, with the map `CGROUP_SLOTS`.
    pub cgroups_assigned: u64,
}

/// One event, as the tracer writes it to the ring buffer `EVENTS` while the log is open.
///
/// At the birth of a socket addresses and ports are unreliable: up to 6.13 those of 10→3 are the listener's,
/// and 7→2 comes before the kernel chooses the source port (`sport` is 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct EventRecord {
    /// The socket's kernel address. It identifies the socket from its birth to its death.
    pub skaddr: u64,
    /// Local port, host order.
    pub sport: u16,
    /// Remote port, host order; 0 for a listener.
    pub dport: u16,
    /// [`Family`] as a number.
    pub family: u8,
    /// Number of the [`State`] before the transition.
    pub oldstate: u8,
    /// Number of the [`State`] after the transition.
    pub newstate: u8,
    /// Always 0.
    pub reserved: u8,
    /// Local address in network order. IPv4 is in the first four bytes, and the others are 0.
    pub saddr: [u8; 16],
    /// Remote address, in the same form.
    pub daddr: [u8; 16],
}

/// What the tracer writes instead of an [`EventRecord`] for a full socket while cgroups, ports or dwells are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ScopedEventRecord {
    /// The event.
    pub event: EventRecord,
    /// The id of the socket's cgroup; 0 if cgroups are not counted.
    pub cgroup: u64,
}

impl EventRecord {
    /// Sets both addresses, in network order as the kernel keeps them.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "in a BPF program a call costs more than this")]
    pub fn set_ipv4(&mut self, saddr: u32, daddr: u32) {
        self.set_ipv6([saddr, 0, 0, 0], [daddr, 0, 0, 0]);
    }

    /// Sets both addresses, in network order as the kernel keeps them in words.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "in a BPF program a call costs more than this")]
    pub fn set_ipv6(&mut self, saddr: [u32; 4], daddr: [u32; 4]) {
        self.saddr = bytes(saddr);
        self.daddr = bytes(daddr);
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "in a BPF program a call costs more than this")]
fn bytes([a, b, c, d]: [u32; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    let words = [a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes(), d.to_ne_bytes()];
    bytes.copy_from_slice(words.as_flattened());
    bytes
}

/// One socket, as the iterator writes it: what a row of /proc/net/tcp says, and the socket's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SocketRecord {
    /// The kernel address of the full socket, mini-socket or request.
    pub skaddr: u64,
    /// Bytes received and not yet read; for a listener the number of connections in its accept queue.
    pub receive_queue: u32,
    /// Bytes written and not yet acknowledged.
    pub send_queue: u32,
    /// [`Family`] as a number.
    pub family: u8,
    /// `skc_state`: a [`State`] number.
    pub state: u8,
    /// `tw_substate` of a mini-socket: a [`State`] number; else 0.
    pub substate: u8,
    /// Always 0.
    pub reserved: u8,
    /// Local port, host order.
    pub sport: u16,
    /// Remote port, host order; that of a listener is 0.
    pub dport: u16,
    /// Local address in network order. IPv4 is in the first word, and the others are 0.
    pub saddr: [u32; 4],
    /// Remote address, in the same form.
    pub daddr: [u32; 4],
    /// The id of a full socket's cgroup, else 0. The record ends before it if cgroups are not counted.
    pub cgroup: u64,
}

/// Bytes of a [`SocketRecord`] if cgroups are not counted.
pub const SOCKET_BYTES_WITHOUT_CGROUP: usize = offset_of!(SocketRecord, cgroup);

/// Size of the ring buffer `EVENTS` in bytes: 37,000 records fit in between two reads.
pub const EVENT_LOG_BYTES: u32 = 1 << 21;

const _: () = {
    assert!(size_of::<Control>() == 32);
    assert!(offset_of!(Control, log_open) == 0);
    assert!(offset_of!(Control, without_cell) == 8);
    assert!(offset_of!(Control, netns_assigned) == 16);
    assert!(offset_of!(Control, cgroups_assigned) == 24);
    assert!(size_of::<EventRecord>() == 48, "no hidden padding");
    assert!(offset_of!(EventRecord, sport) == 8);
    assert!(offset_of!(EventRecord, family) == 12);
    assert!(offset_of!(EventRecord, saddr) == 16);
    assert!(offset_of!(EventRecord, daddr) == 32);
    assert!(size_of::<ScopedEventRecord>() == 56, "no hidden padding");
    assert!(size_of::<SocketRecord>() == 64, "no hidden padding");
    assert!(offset_of!(SocketRecord, sport) == 20);
    assert!(offset_of!(SocketRecord, dport) == 22);
    assert!(offset_of!(SocketRecord, saddr) == 24);
    assert!(offset_of!(SocketRecord, daddr) == 40);
    assert!(SOCKET_BYTES_WITHOUT_CGROUP == 56);
    assert!(offset_of!(SocketRecord, receive_queue) == 8);
    assert!(offset_of!(SocketRecord, send_queue) == 12);
    assert!(offset_of!(SocketRecord, family) == 16);
};
