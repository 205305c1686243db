//! How long sockets were in the states that the user chooses: where each dwell is counted, and the entry that says since
//! when a socket is in its state.
//!
//! The counts are in a row of their own for each CPU, in the slot that the read-only global `DWELL_SLOT` names. They are
//! no transitions, so the row has no banks.

use crate::{State, cells::ROW_CELLS};

/// The upper bounds of the buckets, in nanoseconds. The last bucket has none.
///
/// Powers of ten below a minute, where round trips, requests and short timeouts are; then the times that keepalive, idle
/// timeouts and pools are set to.
pub const DWELL_BOUNDS: [u64; DWELL_BUCKETS - 1] = [
    1_000_000,
    10_000_000,
    100_000_000,
    SECOND,
    10 * SECOND,
    60 * SECOND,
    600 * SECOND,
    3_600 * SECOND,
    86_400 * SECOND,
];

const SECOND: u64 = 1_000_000_000;

/// Number of buckets.
pub const DWELL_BUCKETS: usize = 10;

/// Number of slots for the row of dwells.
pub const DWELL_SLOTS: u32 = 1;

/// The states whose dwell can be measured: those that a full socket enters and leaves by a transition that the programs see.
///
/// In TIME_WAIT there are mini-sockets only. SYN_RECV is shown with requests, which are no full sockets. A socket in CLOSE
/// can be freed without a transition.
pub const DWELL_STATES: [State; 8] = [
    State::Established,
    State::SynSent,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::LastAck,
    State::Listen,
    State::Closing,
];

/// Cells of one state: its buckets, then the sum of all dwells in microseconds. A sum of nanoseconds would wrap in days.
const STATE_CELLS: usize = DWELL_BUCKETS + 1;

/// The cell of entries that found no room.
pub const DWELL_OVERFLOW_CELL: usize = ROW_CELLS - 1;

/// The cell of a bucket, or with [`DWELL_BUCKETS`] that of the sum. `state` is one of [`DWELL_STATES`].
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the verifier has to see the bound where the index is used"
)]
pub const fn dwell_cell(state: usize, bucket: usize) -> usize {
    // It wraps so that no panic is reachable in a program.
    state.wrapping_sub(1).wrapping_mul(STATE_CELLS).wrapping_add(bucket) % ROW_CELLS
}

/// The bucket of a dwell. One that equals a bound is below it.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a call from a BPF program would be a function of its own"
)]
pub const fn dwell_bucket(nanoseconds: u64) -> usize {
    let mut bucket = 0;
    while bucket < DWELL_BOUNDS.len() && nanoseconds > DWELL_BOUNDS[bucket] {
        bucket += 1;
    }
    bucket
}

/// How many bits of an entry are the state. The others are the time.
const STATE_BITS: u32 = 4;

/// The value of the map `DWELL_SINCE`, by the address of the socket: the time at which it entered this state, in nanoseconds
/// of CLOCK_MONOTONIC. One word, so a program or a system call never reads the time of one state with another state.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "in a BPF program a call costs more than this")]
pub const fn dwell_entry(since: u64, state: u64) -> u64 {
    since << STATE_BITS | state & ((1 << STATE_BITS) - 1)
}

/// The number of the state of an entry.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "in a BPF program a call costs more than this")]
pub const fn dwell_state(entry: u64) -> u64 {
    entry & ((1 << STATE_BITS) - 1)
}

/// The time of an entry.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "in a BPF program a call costs more than this")]
pub const fn dwell_since(entry: u64) -> u64 {
    entry >> STATE_BITS
}

const _: () = {
    let mut index = 0;
    while index < DWELL_STATES.len() {
        let state = DWELL_STATES[index] as usize;
        assert!(state.wrapping_sub(1) * STATE_CELLS + DWELL_BUCKETS < DWELL_OVERFLOW_CELL);
        assert!(state < 1 << STATE_BITS);
        index += 1;
    }
    assert!(dwell_bucket(0) == 0 && dwell_bucket(1_000_000) == 0 && dwell_bucket(1_000_001) == 1);
    assert!(dwell_bucket(u64::MAX) == DWELL_BUCKETS - 1);
    let entry = dwell_entry(4_711, State::Closing as u64);
    assert!(dwell_since(entry) == 4_711 && dwell_state(entry) == State::Closing as u64);
};

/// A socket in one of the states that are measured, as the iterator over these sockets writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DwellRecord {
    /// The socket's kernel address.
    pub skaddr: u64,
}
