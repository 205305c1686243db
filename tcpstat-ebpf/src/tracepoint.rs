//! `tracepoint/sock/inet_sock_set_state`: the classic record, for kernels where `tp_btf` is not to be
//! had or loses more.
//!
//! Needs tracefs and perf_event_open. The record carries no namespace: that is read from the socket.

use aya_ebpf::{
    EbpfContext, helpers::bpf_probe_read_kernel, macros::tracepoint, programs::TracePointContext,
};
use tcpstat_ebpf::{Family, IPPROTO_TCP, tracepoint_record as record};

use crate::{
    count,
    maps::{NET_INUM, NETNS_INUM, SOCK_NET},
};

/// Counts an event of the classic tracepoint.
#[tracepoint(category = "sock", name = "inet_sock_set_state")]
pub(crate) fn tcpstat_tracepoint(ctx: TracePointContext) -> u32 {
    if field::<u16, { record::PROTOCOL }>(&ctx) != IPPROTO_TCP {
        return 0;
    }
    let skaddr = field::<u64, { record::SKADDR }>(&ctx);
    if !counted_namespace(skaddr) {
        return 0;
    }
    let Some(family) = Family::from_address_family(field::<u16, { record::FAMILY }>(&ctx)) else {
        return 0;
    };
    let oldstate = field::<u32, { record::OLDSTATE }>(&ctx);
    let newstate = field::<u32, { record::NEWSTATE }>(&ctx);
    count::transition(&ctx, family, oldstate, newstate, |event| {
        event.skaddr = skaddr;
        event.sport = field::<u16, { record::SPORT }>(&ctx);
        event.dport = field::<u16, { record::DPORT }>(&ctx);
        match family {
            Family::Ipv4 => {
                event.saddr[..4].copy_from_slice(&field::<[u8; 4], { record::SADDR }>(&ctx));
                event.daddr[..4].copy_from_slice(&field::<[u8; 4], { record::DADDR }>(&ctx));
            }
            Family::Ipv6 => {
                event.saddr = field::<[u8; 16], { record::SADDR_V6 }>(&ctx);
                event.daddr = field::<[u8; 16], { record::DADDR_V6 }>(&ctx);
            }
        }
    });
    0
}

#[inline(always)]
fn counted_namespace(skaddr: u64) -> bool {
    // SAFETY: the helper checks the address and fails where it cannot be read.
    unsafe {
        let net = bpf_probe_read_kernel((skaddr + u64::from(SOCK_NET.load())) as *const u64);
        net.and_then(|net| bpf_probe_read_kernel((net + u64::from(NET_INUM.load())) as *const u32))
            .is_ok_and(|inum| inum == NETNS_INUM.load())
    }
}

/// The record's field at a constant offset, by a direct load from the context.
#[inline(always)]
fn field<T: Copy, const OFFSET: usize>(ctx: &TracePointContext) -> T {
    // SAFETY: user space attaches this program only where BTF confirms these offsets.
    unsafe { ctx.as_ptr().cast::<u8>().add(OFFSET).cast::<T>().read_volatile() }
}
