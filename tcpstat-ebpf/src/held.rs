//! `iter/task_file`: lists the sockets in CLOSE_WAIT and the listening ones that processes hold in other network
//! namespaces than the exporter's own, and the namespaces of the sockets in other states.
//!
//! It lists the files of the processes of the PID namespace of the process that creates the iterator. The kernel shows
//! a thread's files only if they are not those of its process (`task_seq_get_next`), and holds the file that it shows,
//! so the socket is there as long as the program runs.

use core::ptr;

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_sock_from_file};
use tcpstat_ebpf::{
    CloseWaitRecord, Family, HeldRecord, IPPROTO_MPTCP, IPPROTO_TCP, NetnsKey, State,
};

use crate::{
    iter::{Meta, write},
    listeners,
    maps::{
        LAST_HELD, NET_COOKIE, NET_INUM, NETNS_INUM, NETNS_KEY, SOCK_FAMILY, SOCK_NET,
        SOCK_PROTOCOL, SOCK_STATE, SOCKET_SK, SOCKET_TYPE, TCP_LRCVTIME, TCP_RCV_TSTAMP,
    },
    typed::tcp_sock,
};

/// The members of `struct bpf_iter__task_file`.
#[repr(C)]
pub(crate) struct Context {
    pub(crate) meta: *const Meta,
    pub(crate) task: *const u8,
    fd: u64,
    file: *const u8,
}

/// Writes a [`HeldRecord`] if the file in the context is such a socket, or names another namespace than the last record.
#[unsafe(no_mangle)]
// SAFETY: the section names the kernel's iterator, and the function takes the context of that iterator.
#[unsafe(link_section = "iter/task_file")]
pub(crate) extern "C" fn tcpstat_held(context: *const Context) -> i32 {
    // SAFETY: the kernel passes a valid context, and the offsets are from BTF.
    unsafe {
        let sk = socket(context);
        if sk.is_null() {
            return 0;
        }
        let meta = (*context).meta;
        if let Some(record) = record(sk, (*meta).session_id) {
            write(meta, &record, size_of::<HeldRecord>());
        }
    }
    0
}

/// The `struct sock *` of the file in the context; null if it is no socket of a stream. A raw socket can have the protocol
/// of TCP, and be no `struct tcp_sock`.
///
/// # Safety
/// The kernel passed `context`.
#[inline(always)]
pub(crate) unsafe fn socket(context: *const Context) -> *const u8 {
    // SAFETY: as the function's; the offsets are from BTF.
    unsafe {
        let file = (*context).file;
        if file.is_null() {
            return file;
        }
        let socket = bpf_sock_from_file(file.cast_mut().cast()).cast::<u8>();
        if socket.is_null() || SOCKET_TYPE.read(socket) != SOCK_STREAM {
            return ptr::null();
        }
        SOCKET_SK.read(socket)
    }
}

/// `None` for a socket in CLOSE, of another protocol, or of the exporter's own namespace, and for one that shows nothing
/// new in this session.
///
/// # Safety
/// `sk` is the `struct sock *` of a file that the kernel passed.
#[inline(always)]
unsafe fn record(sk: *const u8, session: u64) -> Option<HeldRecord> {
    // SAFETY: as the function's; the helper returns null for an object of another type.
    unsafe {
        let state = SOCK_STATE.read(sk);
        if state == State::Close as u8 {
            return None;
        }
        Family::from_address_family(SOCK_FAMILY.read(sk))?;
        let net = SOCK_NET.read(sk);
        let inum = NET_INUM.read(net);
        if inum == NETNS_INUM.load() {
            return None;
        }
        let netns_key = netns_key(net, inum);
        let (is_listener, is_close_wait) =
            (state == State::Listen as u8, state == State::CloseWait as u8);
        // Most sockets end here, and the protocol is in another cache line.
        if !is_listener && !is_close_wait && !is_news(session, netns_key) {
            return None;
        }
        let protocol = SOCK_PROTOCOL.read(sk);
        let is_tcp = protocol == IPPROTO_TCP;
        let (mut close_wait, mut listener) = (NO_CLOSE_WAIT, listeners::NONE);
        if is_tcp && is_listener {
            listener = listeners::record(sk)?;
        } else if is_tcp && is_close_wait {
            let tcp_sock = tcp_sock(sk);
            if tcp_sock.is_null() {
                return None;
            }
            close_wait.skaddr = sk as u64;
            close_wait.heard = TCP_RCV_TSTAMP.read(tcp_sock);
            close_wait.received = TCP_LRCVTIME.read(tcp_sock);
            close_wait.now = bpf_jiffies64();
        } else if (is_tcp || protocol == IPPROTO_MPTCP) && is_news(session, netns_key) {
            remember(session, netns_key);
        } else {
            return None;
        }
        Some(HeldRecord { netns_key, close_wait, listener, netns_inum: inum, reserved: 0 })
    }
}

/// What the programs identify a network namespace by. `inum` is its inode number.
///
/// # Safety
/// `net` is the `struct net *` of a socket of a file that the kernel passed.
#[inline(always)]
pub(crate) unsafe fn netns_key(net: *const u8, inum: u32) -> u64 {
    if NETNS_KEY.load() == NetnsKey::Cookie as u32 {
        // SAFETY: as the function's; the kernel has this member if the key is the cookie.
        unsafe { NET_COOKIE.read(net) }
    } else {
        u64::from(inum)
    }
}

/// Whether the last record of this session that names only a namespace names another one.
#[inline(always)]
fn is_news(session: u64, netns_key: u64) -> bool {
    LAST_HELD.get(0) != Some(&[session, netns_key])
}

/// Notes a record that names only a namespace. Two readings at once replace each other's note, and write more records.
#[inline(always)]
fn remember(session: u64, netns_key: u64) {
    if let Some(last) = LAST_HELD.get_ptr_mut(0) {
        // SAFETY: it is the value of a map.
        unsafe { *last = [session, netns_key] };
    }
}

/// Of `enum sock_type`, include/linux/net.h.
const SOCK_STREAM: u16 = 1;

const NO_CLOSE_WAIT: CloseWaitRecord = CloseWaitRecord { skaddr: 0, now: 0, heard: 0, received: 0 };
