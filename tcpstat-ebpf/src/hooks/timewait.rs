//! Timewait mini-sockets: from `inet_twsk_alloc` to `tcp_twsk_destructor`.
//!
//! `tcp_time_wait` allocates one and hashes it without a way out between; the last reference is
//! dropped when it leaves the table, or as soon as whoever looked it up is done with it. It counts in
//! its substate, which only `tcp_timewait_state_process` changes, and only from FIN_WAIT2 to TIME_WAIT.

use aya_ebpf::{
    helpers::generated::bpf_skc_to_tcp_timewait_sock,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use tcpstat_ebpf::{IPPROTO_TCP, State};

use super::{counted_family, fill};
use crate::{
    count,
    maps::{SEGMENT_FOR, SOCK_PROTOCOL, TIMEWAIT_SUBSTATE},
    typed::load,
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
    // SAFETY: `sk` is the `struct sock` that ends, and the offsets are those of its BTF. Its ends are
    // those of the mini-socket, which has no IPv6 addresses yet.
    unsafe {
        if load::<u16>(sk, &SOCK_PROTOCOL) != IPPROTO_TCP {
            return 0;
        }
        let Some(family) = counted_family(sk) else { return 0 };
        count::hooked(family, State::Close, kind(substate as u8), |record| {
            fill(record, timewait, sk, family);
        });
    }
    0
}

/// `void tcp_twsk_destructor(struct sock *sk)`, whose `sk` is the mini-socket
#[fentry(function = "tcp_twsk_destructor")]
pub(crate) fn tcpstat_twsk_destructor(ctx: FEntryContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    // SAFETY: `sk` begins with a `struct sock_common`, and the helper checks what else it is.
    unsafe {
        let Some(family) = counted_family(sk) else { return 0 };
        let timewait = bpf_skc_to_tcp_timewait_sock(sk.cast_mut().cast()).cast::<u8>();
        if timewait.is_null() {
            return 0;
        }
        let substate = load(timewait, &TIMEWAIT_SUBSTATE);
        // Its memory may be in use again when `tcp_timewait_state_process` ends.
        if let Some(segment_for) = SEGMENT_FOR.get_ptr_mut(0)
            && *segment_for == sk as u64
        {
            *segment_for = 0;
        }
        count::hooked(family, kind(substate), State::Close, |record| fill(record, sk, sk, family));
    }
    0
}

/// `tcp_timewait_state_process(struct inet_timewait_sock *tw, ...)`, before it looks at the segment
#[fentry(function = "tcp_timewait_state_process")]
pub(crate) fn tcpstat_timewait_begin(ctx: FEntryContext) -> i32 {
    let timewait: *const u8 = ctx.arg(0);
    // SAFETY: the offset is that of BTF; the entry is this CPU's, which softirqs do not leave.
    unsafe {
        if load::<u8>(timewait, &TIMEWAIT_SUBSTATE) == State::FinWait2 as u8
            && let Some(segment_for) = SEGMENT_FOR.get_ptr_mut(0)
        {
            *segment_for = timewait as u64;
        }
    }
    0
}

/// The same, afterwards
#[fexit(function = "tcp_timewait_state_process")]
pub(crate) fn tcpstat_timewait_end(ctx: FExitContext) -> i32 {
    let timewait: *const u8 = ctx.arg(0);
    let Some(segment_for) = SEGMENT_FOR.get_ptr_mut(0) else { return 0 };
    // SAFETY: as where it begins.
    unsafe {
        let was_in_fin_wait2 = *segment_for == timewait as u64;
        *segment_for = 0;
        if !was_in_fin_wait2 || load::<u8>(timewait, &TIMEWAIT_SUBSTATE) != State::TimeWait as u8 {
            return 0;
        }
        let Some(family) = counted_family(timewait) else { return 0 };
        count::hooked(family, State::FinWait2Mini, State::TimeWait, |record| {
            fill(record, timewait, timewait, family);
        });
    }
    0
}

/// The state that a mini-socket in that substate counts in.
#[inline(always)]
fn kind(substate: u8) -> State {
    if substate == State::FinWait2 as u8 { State::FinWait2Mini } else { State::TimeWait }
}
