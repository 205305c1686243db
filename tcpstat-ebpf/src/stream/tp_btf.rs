//! `tp_btf/inet_sock_set_state` for `tcpstat events`: reads the socket itself.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tcpstat_ebpf::{Family, IPPROTO_TCP};

use super::Socket;
use crate::{
    maps::{
        NET_COOKIE, NET_INUM, SOCK_DADDR, SOCK_DPORT, SOCK_ERR, SOCK_FAMILY, SOCK_NET, SOCK_OWNED,
        SOCK_PROTOCOL, SOCK_RCV_SADDR, SOCK_V6_DADDR, SOCK_V6_RCV_SADDR, TCP_LRCVTIME,
        TCP_RCV_TSTAMP, TCP_SPORT,
    },
    scoped::cgroup_id,
    typed::tcp_sock,
};

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn tcpstat_stream_tp_btf(ctx: BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    // SAFETY: `sk` is a trusted `struct sock *` and the offsets are those of its BTF; the helper returns null for an object of
    // another type.
    unsafe {
        if SOCK_PROTOCOL.read(sk) != IPPROTO_TCP {
            return 0;
        }
        let tcp = tcp_sock(sk);
        if tcp.is_null() {
            return 0;
        }
        let Some(family) = Family::from_address_family(SOCK_FAMILY.read(sk)) else { return 0 };
        super::transition(Typed { sk, tcp }, family, ctx.arg(1), ctx.arg(2));
    }
    0
}

/// A trusted `struct sock *`, and the `struct tcp_sock *` of the same socket.
#[derive(Clone, Copy)]
struct Typed {
    sk: *const u8,
    tcp: *const u8,
}

// SAFETY of all reads: as the type's; the offsets are those of its BTF.
impl Socket for Typed {
    type Netns = *const u8;

    #[inline(always)]
    fn netns(self) -> Option<*const u8> {
        // SAFETY: as above.
        Some(unsafe { SOCK_NET.read(self.sk) })
    }

    #[inline(always)]
    fn inum(self, netns: *const u8) -> u32 {
        // SAFETY: as above.
        unsafe { NET_INUM.read(netns) }
    }

    #[inline(always)]
    fn cookie(self, netns: *const u8) -> u64 {
        // SAFETY: as above.
        unsafe { NET_COOKIE.read(netns) }
    }

    #[inline(always)]
    fn ports(self) -> (u16, u16) {
        // SAFETY: as above.
        unsafe { (u16::from_be(TCP_SPORT.read(self.tcp)), u16::from_be(SOCK_DPORT.read(self.sk))) }
    }

    #[inline(always)]
    fn addresses(self, family: Family) -> ([u32; 4], [u32; 4]) {
        // SAFETY: as above.
        unsafe {
            match family {
                Family::Ipv4 => {
                    ([SOCK_RCV_SADDR.read(self.sk), 0, 0, 0], [SOCK_DADDR.read(self.sk), 0, 0, 0])
                }
                Family::Ipv6 => (SOCK_V6_RCV_SADDR.read(self.sk), SOCK_V6_DADDR.read(self.sk)),
            }
        }
    }

    #[inline(always)]
    fn cgroup(self) -> u64 {
        // SAFETY: as above.
        unsafe { cgroup_id(self.sk) }
    }

    #[inline(always)]
    fn error(self) -> u32 {
        // SAFETY: as above.
        unsafe { SOCK_ERR.read(self.sk) }
    }

    #[inline(always)]
    fn heard(self) -> (u32, u32) {
        // SAFETY: as above.
        unsafe { (TCP_RCV_TSTAMP.read(self.tcp), TCP_LRCVTIME.read(self.tcp)) }
    }

    #[inline(always)]
    fn owned(self) -> u32 {
        // SAFETY: as above.
        unsafe { SOCK_OWNED.read(self.sk) }
    }

    #[inline(always)]
    unsafe fn write_address(self, place: *mut u64) {
        // SAFETY: as the function's.
        unsafe { place.write(self.sk as u64) }
    }
}
