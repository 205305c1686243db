//! Half-open requests: those that are in the table of connections (`ehash`).
//!
//! `inet_csk_reqsk_queue_hash_add` puts one there; a request answered by a SYN cookie, or with data
//! (Fast Open), never comes there. It leaves when its child takes its place (`inet_ehash_nolisten`), or
//! by `__inet_csk_reqsk_queue_drop`: refused, reset, or given up by its timer. The request itself lives
//! on until its child is accepted, so its destructor tells nothing.

use aya_ebpf::{EbpfContext, macros::fexit, programs::FExitContext};
use tcpstat_ebpf::{IPPROTO_TCP, State};

use super::{counted_family, fill};
use crate::{
    count,
    maps::{HASH_ADD_ANSWER, SOCK_PROTOCOL, SOCK_STATE},
    typed::load,
};

/// `inet_csk_reqsk_queue_hash_add(struct sock *sk, struct request_sock *req, ...)`: gives nothing before
/// 5.15 or so, then whether there was no other like it; has lost its third parameter by 7.3.
#[fexit(function = "inet_csk_reqsk_queue_hash_add")]
pub(crate) fn tcpstat_reqsk_queue_hash_add(ctx: FExitContext) -> i32 {
    let added = match HASH_ADD_ANSWER.load() {
        0 => true,
        2 => answer::<2>(&ctx),
        _ => answer::<3>(&ctx),
    };
    if added {
        request(ctx.arg(0), ctx.arg(1), State::Close, State::NewSynRecv);
    }
    0
}

/// `bool inet_ehash_nolisten(struct sock *sk, struct sock *osk, bool *found_dup_sk)`, whose `osk` is the
/// request that `sk` takes the place of, a mini-socket likewise, or null
#[fexit(function = "inet_ehash_nolisten")]
pub(crate) fn tcpstat_ehash_nolisten(ctx: FExitContext) -> i32 {
    let osk: *const u8 = ctx.arg(1);
    if osk.is_null() || !answer::<3>(&ctx) {
        return 0;
    }
    // SAFETY: `osk` begins with a `struct sock_common`.
    if unsafe { load::<u8>(osk, &SOCK_STATE) } == State::NewSynRecv as u8 {
        request(ctx.arg(0), osk, State::NewSynRecv, State::Close);
    }
    0
}

/// `bool __inet_csk_reqsk_queue_drop(struct sock *sk, struct request_sock *req, bool from_timer)`:
/// whether it was in the table
#[fexit(function = "__inet_csk_reqsk_queue_drop")]
pub(crate) fn tcpstat_reqsk_queue_drop(ctx: FExitContext) -> i32 {
    if answer::<3>(&ctx) {
        request(ctx.arg(0), ctx.arg(1), State::NewSynRecv, State::Close);
    }
    0
}

/// Counts a request of the socket `sk`, which is its listener or its child: a request knows no protocol.
#[inline(always)]
fn request(sk: *const u8, request: *const u8, oldstate: State, newstate: State) {
    // SAFETY: `sk` is a `struct sock`, a request begins with a `struct sock_common`, and the offsets are
    // those of BTF.
    unsafe {
        if load::<u16>(sk, &SOCK_PROTOCOL) != IPPROTO_TCP {
            return;
        }
        let Some(family) = counted_family(request) else { return };
        count::hooked(family, oldstate, newstate, |record| fill(record, request, request, family));
    }
}

/// The `bool` that a function of `PARAMETERS` parameters has returned: it stands behind them.
///
/// An instruction of its own: the compiler would make one load of two, at an offset chosen before, and
/// the verifier wants a context's offsets in the load.
#[inline(always)]
fn answer<const PARAMETERS: usize>(ctx: &FExitContext) -> bool {
    let answer: u64;
    // SAFETY: user space attaches only where BTF confirms the number; the load changes nothing.
    unsafe {
        core::arch::asm!(
            "{answer} = *(u64 *)({ctx} + {offset})",
            answer = out(reg) answer,
            ctx = in(reg) ctx.as_ptr(),
            offset = const PARAMETERS * 8,
        );
    }
    answer as u8 != 0
}
