//! The layout that the tracer (in the kernel) and the loader (in user space) share.
//!
//! Everything here is `core` only and `repr(C)`; the sizes and offsets are asserted at compile time,
//! so that the two sides cannot drift apart.
#![no_std]

use core::mem::{offset_of, size_of};

/// A TCP state by the kernel's number (`include/net/tcp_states.h`).
///
/// `TimeWait`, `FinWait2Mini` and `NewSynRecv` never come through `inet_sock_set_state`: the first two
/// belong to mini-sockets, the last to a request. /proc/net/tcp shows a request as `03`.
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
    /// An `inet_timewait_sock` in substate `TCP_FIN_WAIT2`. The number is not the kernel's, which has
    /// no use for it: /proc/net/tcp shows such a mini-socket as `05`.
    FinWait2Mini = 14,
}

impl State {
    /// The states that a socket can be shown in, in the kernel's order: all but `NewSynRecv` and
    /// `FinWait2Mini`.
    pub const ALL: [Self; 11] = match Self::EVERY.first_chunk() {
        Some(shown) => *shown,
        None => panic!("there are more states than are shown"),
    };

    /// All states, those first that are shown.
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

    /// The state with the `number`, if there is one.
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

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// The address family of a socket. A v4-mapped socket is `Ipv6`, as it is for /proc/net/tcp6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// `AF_INET`
    Ipv4 = 0,
    /// `AF_INET6`
    Ipv6 = 1,
}

impl Family {
    /// Both families, in the order in which everything here is indexed.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family with the index that `family as usize` gives.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::Ipv4),
            1 => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// The one that this is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Ipv4 => Self::Ipv6,
            Self::Ipv6 => Self::Ipv4,
        }
    }

    /// The family of an `AF_INET` or `AF_INET6` socket; of no other.
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

/// `IPPROTO_TCP`: the one protocol that is counted.
pub const IPPROTO_TCP: u16 = 6;

/// Transitions are counted in one of two banks: `Logged` while the event log is open, else `Plain`.
///
/// The tracer reads [`Control::log_open`] once per event and takes bank and log from that one answer, so the
/// log holds exactly the events of the `Logged` bank: a loss in the log shows as a difference, and
/// the `Plain` bank as it stands while the log is open is the exact moment at which the log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bank {
    /// Events seen while the log was shut.
    Plain = 0,
    /// Events seen while the log was open.
    Logged = 1,
}

/// Slots for a state number in a row: a power of two above the highest state.
pub const STATE_SLOTS: usize = 16;

/// Cells of a bank: family × oldstate × newstate.
pub const BANK_CELLS: usize = 2 * STATE_SLOTS * STATE_SLOTS;

/// Cells of a row: both banks.
pub const ROW_CELLS: usize = 2 * BANK_CELLS;

/// The counters of one CPU: the value type of the map `MATRIX`, whose entries are indexed by CPU id.
///
/// A row is two pages, so that no two CPUs write to one cache line.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct MatrixRow {
    /// Events counted, by [`cell`].
    pub cells: [u64; ROW_CELLS],
}

/// Where in a [`MatrixRow`] the transitions of (bank, family, oldstate → newstate) are counted.
///
/// Always below [`ROW_CELLS`]: state numbers are cut to four bits.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the verifier wants to see the bound where the index is used"
)]
pub const fn cell(bank: Bank, family: Family, oldstate: u8, newstate: u8) -> usize {
    ((bank as usize) << 9)
        | ((family as usize) << 8)
        | ((oldstate as usize & 0xf) << 4)
        | (newstate as usize & 0xf)
}

/// What user space tells the tracer: the only entry of the map `CONTROL`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Control {
    /// Not 0: events are counted in [`Bank::Logged`] and written to the ring buffer `EVENTS`.
    pub log_open: u64,
}

/// One event, as it is written to the ring buffer `EVENTS` while the log is open.
///
/// At a birth the tuple is not to be trusted: 10→3 carries the listener's up to 6.13, and 7→2 fires
/// before the source port is chosen (`sport` 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct EventRecord {
    /// The socket's kernel address: its identity between birth and death.
    pub skaddr: u64,
    /// Local port, host order.
    pub sport: u16,
    /// Remote port, host order; 0 for a listener.
    pub dport: u16,
    /// [`Family`] as a number.
    pub family: u8,
    /// [`State`] number before.
    pub oldstate: u8,
    /// [`State`] number after.
    pub newstate: u8,
    /// Always 0.
    pub reserved: u8,
    /// Local address in network order; IPv4 in the first four bytes, the rest 0.
    pub saddr: [u8; 16],
    /// Remote address, likewise.
    pub daddr: [u8; 16],
}

/// One socket, as the iterator writes it: what a row of /proc/net/tcp says, and whose row it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SocketRecord {
    /// The kernel address of the socket, mini-socket or request.
    pub skaddr: u64,
    /// Bytes received and not yet read; for a listener the length of its accept queue.
    pub receive_queue: u32,
    /// Bytes written and not yet acknowledged.
    pub send_queue: u32,
    /// [`Family`] as a number.
    pub family: u8,
    /// `skc_state`: a [`State`] number.
    pub state: u8,
    /// `tw_substate` of a timewait mini-socket: a [`State`] number; else 0.
    pub substate: u8,
    /// Always 0.
    pub reserved: [u8; 5],
}

/// Offsets in the record of the classic tracepoint `sock:inet_sock_set_state`.
///
/// They are the same in every kernel from 5.10 to 7.2; user space compares them with the running
/// kernel's BTF (`struct trace_event_raw_inet_sock_set_state`) before it attaches.
#[expect(missing_docs, reason = "each is the field of the same name")]
pub mod tracepoint_record {
    pub const SKADDR: usize = 8;
    pub const OLDSTATE: usize = 16;
    pub const NEWSTATE: usize = 20;
    pub const SPORT: usize = 24;
    pub const DPORT: usize = 26;
    pub const FAMILY: usize = 28;
    pub const PROTOCOL: usize = 30;
    pub const SADDR: usize = 32;
    pub const DADDR: usize = 36;
    pub const SADDR_V6: usize = 40;
    pub const DADDR_V6: usize = 56;
}

/// Bytes of the ring buffer `EVENTS`: room for 37,000 records between two visits of the reader.
pub const EVENT_LOG_BYTES: u32 = 1 << 21;

const _: () = {
    assert!(size_of::<MatrixRow>() == 8192, "a row is two pages");
    assert!(
        cell(Bank::Logged, Family::Ipv6, 0xff, 0xff) == ROW_CELLS - 1,
        "cells end with the row"
    );
    assert!(size_of::<Control>() == 8);
    assert!(size_of::<EventRecord>() == 48, "no hidden padding");
    assert!(offset_of!(EventRecord, sport) == 8);
    assert!(offset_of!(EventRecord, family) == 12);
    assert!(offset_of!(EventRecord, saddr) == 16);
    assert!(offset_of!(EventRecord, daddr) == 32);
    assert!(size_of::<SocketRecord>() == 24, "no hidden padding");
    assert!(offset_of!(SocketRecord, receive_queue) == 8);
    assert!(offset_of!(SocketRecord, send_queue) == 12);
    assert!(offset_of!(SocketRecord, family) == 16);
};
