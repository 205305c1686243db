//! `tp_btf/inet_sock_set_state`: counts transitions of full sockets, and reads the socket itself.
//!
//! It needs kernel BTF, CAP_BPF and CAP_PERFMON. It needs neither tracefs nor a perf event.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tcpstat_ebpf::{EventRecord, Family, IPPROTO_TCP};

use crate::{
    closing::{Connect, FullSocket, ticks_since},
    count,
    maps::{
        NET_COOKIE, NET_INUM, SOCK_ERR, SOCK_FAMILY, SOCK_NET, SOCK_PROTOCOL, TCP_RCV_TSTAMP,
        TCP_SPORT, TCP_TOTAL_RETRANS,
    },
    netns,
    scoped::{Full, Scoping, cgroup_id},
    typed::{tcp_sock, write_addresses},
};

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn tcpstat_tp_btf(ctx: BtfTracePointContext) -> i32 {
    transition(&ctx, ())
}

/// As `tcpstat_tp_btf`, while cgroups, ports or dwells are counted.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn tcpstat_tp_btf_scoped(ctx: BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    // SAFETY: `sk` is a trusted `struct sock *`.
    let scoping =
        Full { cgroup: || unsafe { cgroup_id(sk) }, port: || unsafe { port(sk) }.unwrap_or(0) };
    transition(&ctx, scoping)
}

#[inline(always)]
fn transition(ctx: &BtfTracePointContext, scoping: impl Scoping) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    // SAFETY: `sk` is a trusted `struct sock *` and the offsets are those of its BTF.
    unsafe {
        if SOCK_PROTOCOL.read(sk) != IPPROTO_TCP {
            return 0;
        }
        let net = SOCK_NET.read(sk);
        let slot = netns::slot(NET_INUM.read(net), || Some(NET_COOKIE.read(net)));
        let Some(slot) = slot else { return 0 };
        let Some(family) = Family::from_address_family(SOCK_FAMILY.read(sk)) else {
            return 0;
        };
        let (oldstate, newstate) = (ctx.arg(1), ctx.arg(2));
        count::transition(ctx, slot, family, oldstate, newstate, scoping, Typed(sk), |record| {
            fill(record, sk, family)
        });
    }
    0
}

/// A trusted `struct sock *`.
#[derive(Clone, Copy)]
struct Typed(*const u8);

impl FullSocket for Typed {
    #[inline(always)]
    fn address(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn error(self) -> u32 {
        // SAFETY: as the type's; the offset is that of its BTF.
        unsafe { SOCK_ERR.read(self.0) }
    }

    #[inline(always)]
    fn connect(self) -> Connect {
        // SAFETY: as above; the helper returns null for another type.
        unsafe {
            let tcp_sock = tcp_sock(self.0);
            if tcp_sock.is_null() {
                return Connect { port: 1, retransmits: 0 };
            }
            Connect {
                port: TCP_SPORT.read(tcp_sock),
                retransmits: TCP_TOTAL_RETRANS.read(tcp_sock),
            }
        }
    }

    #[inline(always)]
    fn silence(self) -> Option<u32> {
        // SAFETY: as above.
        unsafe {
            let tcp_sock = tcp_sock(self.0);
            if tcp_sock.is_null() { None } else { ticks_since(TCP_RCV_TSTAMP.read(tcp_sock)) }
        }
    }
}

/// # Safety
/// `sk` is a trusted `struct sock *`.
#[inline(always)]
unsafe fn fill(record: &mut EventRecord, sk: *const u8, family: Family) {
    // SAFETY: as the function's.
    unsafe {
        record.skaddr = sk as u64;
        if let Some(port) = port(sk) {
            record.sport = port;
        }
        write_addresses(record, sk, family);
    }
}

/// The local port. At the death of an automatically bound socket `skc_num` is 0 already; `inet_sport` is not.
///
/// # Safety
/// As [`fill`].
#[inline(always)]
unsafe fn port(sk: *const u8) -> Option<u16> {
    // SAFETY: as the function's.
    unsafe {
        let tcp_sock = tcp_sock(sk);
        if tcp_sock.is_null() { None } else { Some(u16::from_be(TCP_SPORT.read(tcp_sock))) }
    }
}
