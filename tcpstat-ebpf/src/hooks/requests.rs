//! Half-open requests: those in the table of connections (`ehash`).
//!
//! `inet_csk_reqsk_queue_hash_add` adds a request, except one that is answered by a SYN cookie or that has
//! data (Fast Open). A request leaves when its child replaces it (`inet_ehash_nolisten`), or by
//! `__inet_csk_reqsk_queue_drop`: it is refused or reset, or its timer has expired. The request itself lives
//! until its child is accepted, so its destructor is no sign that it left.

use aya_ebpf::{EbpfContext, macros::fexit, programs::FExitContext};
use tcpstat_ebpf::{IPPROTO_TCP, State};

use super::{fill, slot_and_family, without_cgroup};
use crate::{
    count,
    maps::{HASH_ADD_PARAMETERS, SOCK_PROTOCOL, SOCK_STATE},
};

/// `inet_csk_reqsk_queue_hash_add(struct sock *sk, struct request_sock *req, ...)`. Until about 5.15 it
/// returns nothing; then it returns whether it added the request, which it does not if the table has the same
/// one. In 7.3 it has two parameters, before that three.
#[fexit(function = "inet_csk_reqsk_queue_hash_add")]
pub(crate) fn tcpstat_reqsk_queue_hash_add(ctx: FExitContext) -> i32 {
    let added = match HASH_ADD_PARAMETERS.load() {
        0 => true,
        2 => returned::<2>(&ctx),
        _ => returned::<3>(&ctx),
    };
    if added {
        request(ctx.arg(0), ctx.arg(1), State::Close, State::NewSynRecv);
    }
    0
}

/// `bool inet_ehash_nolisten(struct sock *sk, struct sock *osk, bool *found_dup_sk)`. `osk` is the request or
/// mini-socket that `sk` replaces, or null.
#[fexit(function = "inet_ehash_nolisten")]
pub(crate) fn tcpstat_ehash_nolisten(ctx: FExitContext) -> i32 {
    let osk: *const u8 = ctx.arg(1);
    if osk.is_null() || !returned::<3>(&ctx) {
        return 0;
    }
    // SAFETY: `osk` begins with a `struct sock_common`.
    if unsafe { SOCK_STATE.read(osk) } == State::NewSynRecv as u8 {
        request(ctx.arg(0), osk, State::NewSynRecv, State::Close);
    }
    0
}

/// `bool __inet_csk_reqsk_queue_drop(struct sock *sk, struct request_sock *req, bool from_timer)`. It returns
/// whether the request was in the table.
#[fexit(function = "__inet_csk_reqsk_queue_drop")]
pub(crate) fn tcpstat_reqsk_queue_drop(ctx: FExitContext) -> i32 {
    if returned::<3>(&ctx) {
        request(ctx.arg(0), ctx.arg(1), State::NewSynRecv, State::Close);
    }
    0
}

/// Counts a transition of a request. `sk` is its listener or its child, and has the protocol; a request has
/// none.
#[inline(always)]
fn request(sk: *const u8, request: *const u8, oldstate: State, newstate: State) {
    // SAFETY: `sk` is a `struct sock`, a request begins with a `struct sock_common`, and the offsets are from
    // BTF.
    unsafe {
        if SOCK_PROTOCOL.read(sk) != IPPROTO_TCP {
            return;
        }
        let Some((slot, family)) = slot_and_family(request) else { return };
        let scoping = without_cgroup(request);
        count::hooked_transition(slot, family, oldstate, newstate, scoping, |record| {
            fill(record, request, request, family);
        });
    }
}

/// The `bool` that a function with `PARAMETERS` parameters has returned. In the context it follows them.
///
/// The load is written in assembly. The compiler would merge two loads into one with an offset in a register,
/// and the verifier accepts only constant offsets into a context.
#[inline(always)]
fn returned<const PARAMETERS: usize>(ctx: &FExitContext) -> bool {
    let returned: u64;
    // SAFETY: user space attaches the program only if BTF has this number of parameters; the load changes
    // nothing.
    unsafe {
        core::arch::asm!(
            "{returned} = *(u64 *)({ctx} + {offset})",
            returned = out(reg) returned,
            ctx = in(reg) ctx.as_ptr(),
            offset = const PARAMETERS * 8,
        );
    }
    returned as u8 != 0
}
