//! `tp_btf/inet_sock_set_state`: the arguments of the tracepoint itself, read with typed loads.
//!
//! Needs kernel BTF, CAP_BPF and CAP_PERFMON; no tracefs, no perf event.

use aya_ebpf::{
    helpers::generated::bpf_skc_to_tcp_sock, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use tcpstat_ebpf::{EventRecord, Family, IPPROTO_TCP};

use crate::{
    count,
    maps::{INET_SPORT, NET_INUM, NETNS_INUM, SOCK_FAMILY, SOCK_NET, SOCK_PROTOCOL},
    typed::{ends, load},
};

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn tcpstat_tp_btf(ctx: BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    // SAFETY: `sk` is a trusted `struct sock *` and the offsets are those of its BTF.
    unsafe {
        if load::<u16>(sk, &SOCK_PROTOCOL) != IPPROTO_TCP {
            return 0;
        }
        let net = load::<*const u8>(sk, &SOCK_NET);
        if load::<u32>(net, &NET_INUM) != NETNS_INUM.load() {
            return 0;
        }
        let Some(family) = Family::from_address_family(load::<u16>(sk, &SOCK_FAMILY)) else {
            return 0;
        };
        count::transition(&ctx, family, ctx.arg(1), ctx.arg(2), |record| fill(record, sk, family));
    }
    0
}

/// # Safety
/// As [`load`]; `sk` is a `struct sock *`.
#[inline(always)]
unsafe fn fill(record: &mut EventRecord, sk: *const u8, family: Family) {
    // SAFETY: as the function's.
    unsafe {
        record.skaddr = sk as u64;
        // `skc_num` is already 0 when an automatically bound socket dies; `inet_sport` is not.
        let tcp_sock = bpf_skc_to_tcp_sock(sk.cast_mut().cast()).cast::<u8>().cast_const();
        if !tcp_sock.is_null() {
            record.sport = u16::from_be(load(tcp_sock, &INET_SPORT));
        }
        ends(record, sk, family);
    }
}
