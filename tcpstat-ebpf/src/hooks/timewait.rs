//! Timewait mini-sockets: from `inet_twsk_alloc` to `tcp_twsk_destructor`.
//!
//! `tcp_time_wait` allocates a mini-socket and always adds it to the table of connections. The last reference
//! is dropped when it leaves the table, or when the last function that looked it up releases it. A
//! mini-socket counts in its substate. Only `tcp_timewait_state_process` changes that, and only from
//! FIN_WAIT2 to TIME_WAIT.

use aya_ebpf::{
    helpers::generated::bpf_skc_to_tcp_timewait_sock,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use tcpstat_ebpf::{IPPROTO_TCP, State};

use super::{fill, slot_and_family, without_cgroup};
use crate::{
    count,
    maps::{SEGMENT_FOR, SOCK_PROTOCOL, TIMEWAIT_SUBSTATE},
};

/// `struct inet_timewait_sock *inet_twsk_alloc(const struct sock *sk,
/// struct inet_timewait_death_row *dr, const int state)`
#[fexit(function = "inet_twsk_alloc")]
pub(crate) fn tcpstat_twsk_alloc(ctx: FExitContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    let timewait: *const u8 = ctx.arg(3);
    if timewait.is_null() {
        return 0;
    }
    let substate: u32 = ctx.arg(2);
    // SAFETY: `sk` is the `struct sock` that the mini-socket replaces, and the offsets are from BTF. The
    // record gets addresses and ports of `sk`, which are the same: the mini-socket has no IPv6 addresses yet.
    unsafe {
        if SOCK_PROTOCOL.read(sk) != IPPROTO_TCP {
            return 0;
        }
        let Some((slot, family)) = slot_and_family(sk) else { return 0 };
        let (newstate, scoping) = (state(substate as u8), without_cgroup(sk));
        count::hooked_transition(slot, family, State::Close, newstate, scoping, |record| {
            fill(record, timewait, sk, family);
        });
    }
    0
}

/// `void tcp_twsk_destructor(struct sock *sk)`. `sk` is the mini-socket.
#[fentry(function = "tcp_twsk_destructor")]
pub(crate) fn tcpstat_twsk_destructor(ctx: FEntryContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    // SAFETY: `sk` begins with a `struct sock_common`, and the helper checks that it is a mini-socket.
    unsafe {
        let Some((slot, family)) = slot_and_family(sk) else { return 0 };
        let timewait = bpf_skc_to_tcp_timewait_sock(sk.cast_mut().cast()).cast::<u8>();
        if timewait.is_null() {
            return 0;
        }
        let substate = TIMEWAIT_SUBSTATE.read(timewait);
        // Another object can have this address when `tcp_timewait_state_process` returns.
        if let Some(segment_for) = SEGMENT_FOR.get_ptr_mut(0)
            && *segment_for == sk as u64
        {
            *segment_for = 0;
        }
        let (oldstate, scoping) = (state(substate), without_cgroup(sk));
        count::hooked_transition(slot, family, oldstate, State::Close, scoping, |record| {
            fill(record, sk, sk, family);
        });
    }
    0
}

/// `tcp_timewait_state_process(struct inet_timewait_sock *tw, ...)`, before it handles the segment.
#[fentry(function = "tcp_timewait_state_process")]
pub(crate) fn tcpstat_timewait_begin(ctx: FEntryContext) -> i32 {
    let timewait: *const u8 = ctx.arg(0);
    // SAFETY: the offset is from BTF; the map's entry is that of this CPU, and softirqs stay on their CPU.
    unsafe {
        if TIMEWAIT_SUBSTATE.read(timewait) == State::FinWait2 as u8
            && let Some(segment_for) = SEGMENT_FOR.get_ptr_mut(0)
        {
            *segment_for = timewait as u64;
        }
    }
    0
}

/// `tcp_timewait_state_process`, after it has handled the segment.
#[fexit(function = "tcp_timewait_state_process")]
pub(crate) fn tcpstat_timewait_end(ctx: FExitContext) -> i32 {
    let timewait: *const u8 = ctx.arg(0);
    let Some(segment_for) = SEGMENT_FOR.get_ptr_mut(0) else { return 0 };
    // SAFETY: as in `tcpstat_timewait_begin`.
    unsafe {
        let was_in_fin_wait2 = *segment_for == timewait as u64;
        *segment_for = 0;
        if !was_in_fin_wait2 || TIMEWAIT_SUBSTATE.read(timewait) != State::TimeWait as u8 {
            return 0;
        }
        let Some((slot, family)) = slot_and_family(timewait) else { return 0 };
        let (old, new) = (State::FinWait2Mini, State::TimeWait);
        count::hooked_transition(slot, family, old, new, without_cgroup(timewait), |record| {
            fill(record, timewait, timewait, family);
        });
    }
    0
}

/// The state in which a mini-socket with this substate counts.
#[inline(always)]
fn state(substate: u8) -> State {
    if substate == State::FinWait2 as u8 { State::FinWait2Mini } else { State::TimeWait }
}
