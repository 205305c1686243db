//! `iter/tcp`: lists every socket of a network namespace, with its ends and the address of its object: the namespace of
//! the process that creates the iterator.
//!
//! Since 5.15 the kernel takes the sockets of a bucket together, and holds the lock of the socket that it
//! shows. Before, it holds the lock of the bucket.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::seq_file,
    helpers::generated::{bpf_seq_write, bpf_skc_to_tcp_timewait_sock},
};
use tcpstat_ebpf::{CgroupMember, Family, SOCKET_BYTES_WITHOUT_CGROUP, SocketRecord, State};

use crate::{
    maps::{
        CGROUPS, SOCK_DADDR, SOCK_DPORT, SOCK_FAMILY, SOCK_NUM, SOCK_RCV_SADDR, SOCK_STATE,
        SOCK_V6_DADDR, SOCK_V6_RCV_SADDR, TCP_ACK_BACKLOG, TCP_COPIED_SEQ, TCP_RCV_NXT,
        TCP_SND_UNA, TCP_WRITE_SEQ, TIMEWAIT_SUBSTATE,
    },
    scoped::cgroup_id,
    typed::tcp_sock,
};

/// The first members of `struct bpf_iter_meta`.
#[repr(C)]
pub(crate) struct Meta {
    seq: *mut seq_file,
    /// A number that no other open file of an iterator has.
    pub(crate) session_id: u64,
}

/// Gives the first `bytes` of the record to the reader of the iterator.
///
/// # Safety
/// `meta` is that of a context that the kernel passed; `record` has so many bytes.
#[inline(always)]
pub(crate) unsafe fn write<R>(meta: *const Meta, record: &R, bytes: usize) {
    // SAFETY: as the function's.
    unsafe { bpf_seq_write((*meta).seq, (&raw const *record).cast::<c_void>(), bytes as u32) };
}

/// The first two members of `struct bpf_iter__tcp`.
#[repr(C)]
pub(crate) struct Context {
    pub(crate) meta: *const Meta,
    pub(crate) sk_common: *const u8,
}

/// Writes a [`SocketRecord`] for the socket in the context.
#[unsafe(no_mangle)]
// SAFETY: the section names the kernel's iterator, and the function takes the context of that iterator.
#[unsafe(link_section = "iter/tcp")]
pub(crate) extern "C" fn tcpstat_iter(context: *const Context) -> i32 {
    // SAFETY: the kernel passes a valid context, and the offsets are from BTF.
    unsafe {
        let sk = (*context).sk_common;
        if sk.is_null() {
            return 0;
        }
        let Some(family) = Family::from_address_family(SOCK_FAMILY.read(sk)) else {
            return 0;
        };
        let (saddr, daddr) = match family {
            Family::Ipv4 => ([SOCK_RCV_SADDR.read(sk), 0, 0, 0], [SOCK_DADDR.read(sk), 0, 0, 0]),
            Family::Ipv6 => (SOCK_V6_RCV_SADDR.read(sk), SOCK_V6_DADDR.read(sk)),
        };
        let mut record = SocketRecord {
            skaddr: sk as u64,
            receive_queue: 0,
            send_queue: 0,
            family: family as u8,
            state: SOCK_STATE.read(sk),
            substate: 0,
            reserved: 0,
            sport: SOCK_NUM.read(sk),
            dport: u16::from_be(SOCK_DPORT.read(sk)),
            saddr,
            daddr,
            cgroup: 0,
        };
        fill(&mut record, sk);
        let bytes = if CGROUPS.load() == CgroupMember::Off as u32 {
            SOCKET_BYTES_WITHOUT_CGROUP
        } else {
            size_of::<SocketRecord>()
        };
        write((*context).meta, &record, bytes);
    }
    0
}

/// Writes substate, queues, and cgroup.
///
/// # Safety
/// `sk` is a `struct sock_common *` that the kernel passed.
#[inline(always)]
unsafe fn fill(record: &mut SocketRecord, sk: *const u8) {
    // SAFETY: as the function's; the helpers return null for an object of another type.
    unsafe {
        if record.state == State::TimeWait as u8 {
            let timewait = bpf_skc_to_tcp_timewait_sock(sk.cast_mut().cast());
            if !timewait.is_null() {
                record.substate = TIMEWAIT_SUBSTATE.read(timewait.cast());
            }
        } else if record.state != State::NewSynRecv as u8 {
            let tcp_sock = tcp_sock(sk);
            if tcp_sock.is_null() {
                return;
            }
            if CGROUPS.load() != CgroupMember::Off as u32 {
                record.cgroup = cgroup_id(tcp_sock);
            }
            (record.receive_queue, record.send_queue) = queues(tcp_sock);
            if record.state == State::Listen as u8 {
                record.receive_queue = TCP_ACK_BACKLOG.read(tcp_sock);
            }
        }
    }
}

/// Bytes received but not yet read, and bytes written but not yet acknowledged.
///
/// # Safety
/// `tcp_sock` is what [`tcp_sock`] returned, and not null.
#[inline(always)]
pub(crate) unsafe fn queues(tcp_sock: *const u8) -> (u32, u32) {
    // SAFETY: as the function's.
    unsafe {
        let receive = unread(TCP_RCV_NXT.read(tcp_sock), TCP_COPIED_SEQ.read(tcp_sock));
        let send = TCP_WRITE_SEQ.read(tcp_sock).wrapping_sub(TCP_SND_UNA.read(tcp_sock));
        (receive, send)
    }
}

/// `max_t(int, rcv_nxt - copied_seq, 0)`, as in `get_tcp4_sock`: `copied_seq` counts a FIN that was read.
#[inline(always)]
fn unread(rcv_nxt: u32, copied_seq: u32) -> u32 {
    let bytes = rcv_nxt.wrapping_sub(copied_seq);
    if bytes as i32 > 0 { bytes } else { 0 }
}
