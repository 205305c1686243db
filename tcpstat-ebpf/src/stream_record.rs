//! What the programs of `tcpstat events` write, and the filters that they evaluate.

use core::mem::{offset_of, size_of};

use crate::{Cause, State};

/// A transition of a full socket, as the programs write it to the ring buffer `STREAM`.
///
/// At the birth of a socket addresses and ports are unreliable, as those of [`EventRecord`](crate::EventRecord) are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct StreamRecord {
    /// CLOCK_MONOTONIC in nanoseconds.
    pub time: u64,
    /// The socket's kernel address.
    pub skaddr: u64,
    /// What the programs identify the socket's network namespace by.
    pub netns_key: u64,
    /// The id of the socket's cgroup; 0 if cgroups are not read.
    pub cgroup: u64,
    /// Local address in network order. IPv4 is in the first word, and the others are 0.
    pub saddr: [u32; 4],
    /// Remote address, in the same form.
    pub daddr: [u32; 4],
    /// The name of the process, which ends before its first 0.
    pub command: [u32; 4],
    /// The id of the process that owns the socket's lock, in the initial PID namespace; 0 for none.
    pub pid: u32,
    /// The inode number of the socket's network namespace.
    pub netns_inum: u32,
    /// How many ticks (jiffies) ago the peer was last heard; [`NO_SILENCE`] if that is not known.
    pub silence: u32,
    /// The lower half of the number of records that were lost until this one was written.
    pub lost: u32,
    /// Local port, host order.
    pub sport: u16,
    /// Remote port, host order; 0 for a listener.
    pub dport: u16,
    /// [`Family`](crate::Family) as a number.
    pub family: u8,
    /// Number of the [`State`] before the transition.
    pub oldstate: u8,
    /// Number of the [`State`] after the transition.
    pub newstate: u8,
    /// Number of the [`Cause`] of a transition to CLOSE, else [`NO_CAUSE`].
    pub cause: u8,
}

/// [`StreamRecord::silence`] of a socket for which it is not known.
pub const NO_SILENCE: u32 = u32::MAX;

/// [`StreamRecord::cause`] of a transition to another state than CLOSE.
pub const NO_CAUSE: u8 = 31;

/// The states that a socket leaves after it has heard of its peer: before, `rcv_tstamp` has no meaning.
pub const HEARD_STATES: u32 = 1 << State::Established as u32
    | 1 << State::FinWait1 as u32
    | 1 << State::FinWait2 as u32
    | 1 << State::CloseWait as u32
    | 1 << State::LastAck as u32
    | 1 << State::Closing as u32;

/// Which transitions are written: for the number of each state before, a bit for the number of each state after.
pub type StreamTransitions = [u16; 16];

/// The cause that is shown for [`shown_cause`].
pub const SHOWN_CAUSES: [u8; SHOWN] = {
    let mut shown = [Cause::Other as u8; SHOWN];
    let mut state = 0;
    while state < State::EVERY.len() {
        let mut cause = 0;
        while cause < Cause::ALL.len() {
            let (old, cause_of_error) = (State::EVERY[state], Cause::ALL[cause]);
            shown[shown_cause(old.number(), cause_of_error as u8)] =
                cause_of_error.shown_in(old) as u8;
            cause += 1;
        }
        state += 1;
    }
    shown
};

/// Number of [`SHOWN_CAUSES`].
pub const SHOWN: usize = 128;

/// The index in [`SHOWN_CAUSES`] of the number of a [`Cause`] for a socket that closes in this state.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the verifier has to see the bound where the index is used"
)]
pub const fn shown_cause(oldstate: u8, cause: u8) -> usize {
    ((oldstate as usize & 0xf) << 3) | (cause as usize & 7)
}

/// Whether and how the programs name the process that owns the lock of a socket: the value of the global
/// `STREAM_PROCESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum StreamProcess {
    /// Transitions do not have the process.
    Off = 0,
    /// By the name of its thread: before 5.11 a program gets no pointer to the task.
    Thread = 1,
    /// By the name of its first thread.
    Process = 2,
}

/// Which port a bitmap in the map `STREAM_PORTS` is compared with: the bits of the global `STREAM_PORT_FILTERS`, and the order
/// of the bitmaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PortFilter {
    /// The local or the remote one.
    Either = 0,
    /// The local one.
    Local = 1,
    /// The remote one.
    Remote = 2,
}

/// Number of words of a bitmap of ports.
pub const PORT_WORDS: u32 = 65_536 / 64;

/// The word in `STREAM_PORTS` that has the bit of a port.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a call from a BPF program would be a function of its own"
)]
pub const fn port_word(filter: PortFilter, port: u16) -> u32 {
    filter as u32 * PORT_WORDS + port as u32 / 64
}

/// Bytes of a prefix of addresses in `STREAM_ADDRESSES`, and bits of a whole one. IPv4 addresses are v4-mapped.
pub const PREFIX_BYTES: usize = 16;

/// The word before the last one of a v4-mapped address, in network order.
pub const V4_MAPPED: u32 = 0x0000_ffff_u32.to_be();

const _: () = {
    assert!(size_of::<StreamRecord>() == 104, "no hidden padding");
    assert!(offset_of!(StreamRecord, command) == 64);
    assert!(offset_of!(StreamRecord, sport) == 96);
    assert!(Cause::ALL.len() == 8 && SHOWN == 16 * 8);
    assert!(
        SHOWN_CAUSES[shown_cause(State::CloseWait as u8, Cause::Refused as u8)]
            == Cause::Unreachable as u8
    );
};
