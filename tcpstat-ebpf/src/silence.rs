//! How long the peer had been silent when a socket left CLOSE_WAIT, and where that is counted.
//!
//! The kernel keeps the time at which it last heard of the peer (`tcp_sock.rcv_tstamp`) in ticks (jiffies). The
//! counts are in the slots of details, beside the cells of [`DETAILS`](crate::DETAILS). They are no transitions.

use crate::{
    causes::{DETAIL_COUNT, DETAIL_SLOTS},
    cells::FAMILY_CELLS,
};

/// The upper bounds of the buckets, in seconds. The last bucket has none.
pub const SILENCE_BOUNDS: [u32; SILENCE_BUCKETS - 1] = [1, 10, 60, 300, 3_600, 86_400];

/// Number of buckets.
pub const SILENCE_BUCKETS: usize = 7;

/// The place of the first bucket, in the order of the bounds; the others follow. Places are those of
/// [`DETAILS`](crate::DETAILS).
pub const SILENCE_PLACE: usize = FAMILY_CELLS + DETAIL_COUNT;

/// The place of the sum of all silences, in ticks.
pub const SILENCE_SUM_PLACE: usize = SILENCE_PLACE + SILENCE_BUCKETS;

/// The bucket of a silence of so many ticks. A silence that equals a bound is below it.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a call from a BPF program would be a function of its own"
)]
pub const fn silence_bucket(ticks: u32, ticks_per_second: u32) -> usize {
    // Most sockets leave CLOSE_WAIT at once.
    if ticks <= ticks_per_second {
        return 0;
    }
    let mut bucket = 1;
    while bucket < SILENCE_BOUNDS.len()
        && ticks as u64 > SILENCE_BOUNDS[bucket] as u64 * ticks_per_second as u64
    {
        bucket += 1;
    }
    bucket
}

const _: () = {
    assert!(SILENCE_SUM_PLACE < FAMILY_CELLS * (1 + DETAIL_SLOTS as usize));
    assert!(SILENCE_PLACE / FAMILY_CELLS == SILENCE_SUM_PLACE / FAMILY_CELLS, "all in one slot");
    assert!(SILENCE_BOUNDS[0] == 1);
    assert!(silence_bucket(250, 250) == 0 && silence_bucket(251, 250) == 1);
    assert!(silence_bucket(u32::MAX, 1_000) == SILENCE_BUCKETS - 1);
};

/// A socket in CLOSE_WAIT, as the iterator over these sockets writes it. All times are in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CloseWaitRecord {
    /// The socket's kernel address.
    pub skaddr: u64,
    /// The time at which it was listed (`jiffies_64`).
    pub now: u64,
    /// `rcv_tstamp`: the lower half of the time of the last acknowledgment from the peer; 0 before the first one.
    pub heard: u32,
    /// `icsk_ack.lrcvtime`: the lower half of the time of the last data from the peer, or of the handshake. It does not
    /// change in CLOSE_WAIT, so together with the address it identifies the socket.
    pub received: u32,
}

const _: () = assert!(size_of::<CloseWaitRecord>() == 24, "no hidden padding");
