//! `tracepoint/sock/inet_sock_set_state`: counts transitions of full sockets from the tracepoint's record.
//! For kernels that refuse `tp_btf`, or on which it misses more events.
//!
//! It needs tracefs and perf_event_open. The record has no namespace, so the program reads it from the
//! socket.

use aya_ebpf::{
    EbpfContext, helpers::bpf_probe_read_kernel, macros::tracepoint, programs::TracePointContext,
};
use tcpstat_ebpf::{Family, IPPROTO_TCP, RecordField, record};

use crate::{
    closing::{Connect, FullSocket, ticks_since},
    count,
    maps::{NET_COOKIE, NET_INUM, SOCK_ERR, SOCK_NET, TCP_RCV_TSTAMP, TCP_TOTAL_RETRANS},
    netns,
    scoped::{Full, Scoping, cgroup_id_at},
};

#[tracepoint(category = "sock", name = "inet_sock_set_state")]
pub(crate) fn tcpstat_tracepoint(ctx: TracePointContext) -> u32 {
    transition(&ctx, ())
}

/// As `tcpstat_tracepoint`, while cgroups, ports or dwells are counted.
#[tracepoint(category = "sock", name = "inet_sock_set_state")]
pub(crate) fn tcpstat_tracepoint_scoped(ctx: TracePointContext) -> u32 {
    let scoping = Full {
        cgroup: || cgroup_id_at(field(&ctx, record::SKADDR)),
        port: || field(&ctx, record::SPORT),
    };
    transition(&ctx, scoping)
}

#[inline(always)]
fn transition(ctx: &TracePointContext, scoping: impl Scoping) -> u32 {
    if field(ctx, record::PROTOCOL) != IPPROTO_TCP {
        return 0;
    }
    let skaddr = field(ctx, record::SKADDR);
    let Some(slot) = slot(skaddr) else { return 0 };
    let Some(family) = Family::from_address_family(field(ctx, record::FAMILY)) else {
        return 0;
    };
    let oldstate = u64::from(field(ctx, record::OLDSTATE));
    let newstate = u64::from(field(ctx, record::NEWSTATE));
    let socket = Recorded { skaddr, ctx };
    count::transition(ctx, slot, family, oldstate, newstate, scoping, socket, |event| {
        event.skaddr = skaddr;
        event.sport = field(ctx, record::SPORT);
        event.dport = field(ctx, record::DPORT);
        match family {
            Family::Ipv4 => event.set_ipv4(field(ctx, record::SADDR), field(ctx, record::DADDR)),
            Family::Ipv6 => {
                event.set_ipv6(field(ctx, record::SADDR_V6), field(ctx, record::DADDR_V6));
            }
        }
    });
    0
}

/// The socket of a record.
#[derive(Clone, Copy)]
struct Recorded<'a> {
    skaddr: u64,
    ctx: &'a TracePointContext,
}

impl FullSocket for Recorded<'_> {
    #[inline(always)]
    fn address(self) -> u64 {
        self.skaddr
    }

    #[inline(always)]
    fn error(self) -> u32 {
        // SAFETY: the helper fails if an address cannot be read.
        unsafe { bpf_probe_read_kernel(self.member(SOCK_ERR.bytes())) }.unwrap_or(u32::MAX)
    }

    #[inline(always)]
    fn connect(self) -> Connect {
        // SAFETY: as above.
        let retransmits = unsafe { bpf_probe_read_kernel(self.member(TCP_TOTAL_RETRANS.bytes())) };
        Connect { port: field(self.ctx, record::SPORT), retransmits: retransmits.unwrap_or(0) }
    }

    #[inline(always)]
    fn silence(self) -> Option<u32> {
        // SAFETY: as above.
        ticks_since(unsafe { bpf_probe_read_kernel(self.member(TCP_RCV_TSTAMP.bytes())) }.ok()?)
    }
}

impl Recorded<'_> {
    /// A full TCP socket is a `struct tcp_sock`, which begins with the `struct sock`.
    #[inline(always)]
    fn member(self, offset: u32) -> *const u32 {
        (self.skaddr + u64::from(offset)) as *const u32
    }
}

/// The slot of the socket's namespace; `None` if it is not counted.
#[inline(always)]
fn slot(skaddr: u64) -> Option<u64> {
    // SAFETY: the helper fails if an address cannot be read.
    unsafe {
        let net =
            bpf_probe_read_kernel((skaddr + u64::from(SOCK_NET.bytes())) as *const u64).ok()?;
        let inum = bpf_probe_read_kernel((net + u64::from(NET_INUM.bytes())) as *const u32).ok()?;
        netns::slot(inum, || {
            bpf_probe_read_kernel((net + u64::from(NET_COOKIE.bytes())) as *const u64).ok()
        })
    }
}

/// Reads a field of the record by direct loads from the context.
#[inline(always)]
pub(crate) fn field<T: Copy>(ctx: &TracePointContext, field: RecordField<T>) -> T {
    // SAFETY: user space loads this program only if BTF has the field at this offset, with this size.
    unsafe { ctx.as_ptr().cast::<u8>().add(field.offset).cast::<T>().read_volatile() }
}
