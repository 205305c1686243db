//! `tracepoint/sock/inet_sock_set_state` for `tcpstat events`: reads the tracepoint's record, and from the socket what the
//! record does not have.

use aya_ebpf::{helpers::bpf_probe_read_kernel, macros::tracepoint, programs::TracePointContext};
use tcpstat_ebpf::{Family, IPPROTO_TCP, record};

use super::Socket;
use crate::{
    maps::{NET_COOKIE, NET_INUM, SOCK_ERR, SOCK_NET, SOCK_OWNED, TCP_LRCVTIME, TCP_RCV_TSTAMP},
    probe::{probe, probe_u32},
    scoped::cgroup_id_at,
    tracepoint::field,
};

#[tracepoint(category = "sock", name = "inet_sock_set_state")]
pub(crate) fn tcpstat_stream_tracepoint(ctx: TracePointContext) -> u32 {
    if field(&ctx, record::PROTOCOL) != IPPROTO_TCP {
        return 0;
    }
    let Some(family) = Family::from_address_family(field(&ctx, record::FAMILY)) else { return 0 };
    let (oldstate, newstate) = (field(&ctx, record::OLDSTATE), field(&ctx, record::NEWSTATE));
    let socket = Recorded { skaddr: field(&ctx, record::SKADDR), ctx: &ctx };
    super::transition(socket, family, u64::from(oldstate), u64::from(newstate));
    0
}

/// The socket of a record.
#[derive(Clone, Copy)]
struct Recorded<'a> {
    skaddr: u64,
    ctx: &'a TracePointContext,
}

impl Socket for Recorded<'_> {
    /// Its address.
    type Netns = u64;

    #[inline(always)]
    fn netns(self) -> Option<u64> {
        match probe(self.skaddr, SOCK_NET.bytes()) {
            0 => None,
            net => Some(net),
        }
    }

    #[inline(always)]
    fn inum(self, netns: u64) -> u32 {
        probe_u32(netns, NET_INUM.bytes())
    }

    #[inline(always)]
    fn cookie(self, netns: u64) -> u64 {
        probe(netns, NET_COOKIE.bytes())
    }

    #[inline(always)]
    fn ports(self) -> (u16, u16) {
        (field(self.ctx, record::SPORT), field(self.ctx, record::DPORT))
    }

    #[inline(always)]
    fn addresses(self, family: Family) -> ([u32; 4], [u32; 4]) {
        match family {
            Family::Ipv4 => (
                [field(self.ctx, record::SADDR), 0, 0, 0],
                [field(self.ctx, record::DADDR), 0, 0, 0],
            ),
            Family::Ipv6 => (field(self.ctx, record::SADDR_V6), field(self.ctx, record::DADDR_V6)),
        }
    }

    #[inline(always)]
    fn cgroup(self) -> u64 {
        cgroup_id_at(self.skaddr)
    }

    #[inline(always)]
    fn error(self) -> u32 {
        let address = (self.skaddr + u64::from(SOCK_ERR.bytes())) as *const u32;
        // SAFETY: the helper fails if an address cannot be read.
        unsafe { bpf_probe_read_kernel(address) }.unwrap_or(u32::MAX)
    }

    #[inline(always)]
    fn heard(self) -> (u32, u32) {
        let acknowledged = probe_u32(self.skaddr, TCP_RCV_TSTAMP.bytes());
        (acknowledged, probe_u32(self.skaddr, TCP_LRCVTIME.bytes()))
    }

    #[inline(always)]
    fn owned(self) -> u32 {
        probe_u32(self.skaddr, SOCK_OWNED.bytes())
    }

    #[inline(always)]
    unsafe fn write_address(self, place: *mut u64) {
        // SAFETY: as the function's.
        unsafe { place.write(self.skaddr) }
    }
}
