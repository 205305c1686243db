//! `iter/tcp` for listening sockets alone, of the network namespace of the process that creates the iterator.
//!
//! The kernel shows listening sockets first (`tcp_seek_last_pos`, `bpf_iter_tcp_seq_next`). The first other socket is
//! a mark of the end: user space stops reading there, so the kernel does not walk its whole hash table.

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use tcpstat_ebpf::{Family, ListenerRecord, State};

use crate::{
    iter::{Context, write},
    maps::{
        LISTENER_COOKIES, SOCK_FAMILY, SOCK_NUM, SOCK_RCV_SADDR, SOCK_STATE, SOCK_V6_RCV_SADDR,
        TCP_ACK_BACKLOG, TCP_DROPS, TCP_MAX_ACK_BACKLOG, TCP_REQUESTS,
    },
    typed::tcp_sock,
};

/// Writes a [`ListenerRecord`] for the socket in the context.
#[unsafe(no_mangle)]
// SAFETY: the section names the kernel's iterator, and the function takes the context of that iterator.
#[unsafe(link_section = "iter/tcp")]
pub(crate) extern "C" fn tcpstat_listeners(context: *const Context) -> i32 {
    // SAFETY: the kernel passes a valid context, and the offsets are from BTF.
    unsafe {
        let sk = (*context).sk_common;
        if sk.is_null() {
            return 0;
        }
        let record = if SOCK_STATE.read(sk) == State::Listen as u8 {
            match record(sk) {
                Some(record) => record,
                None => return 0,
            }
        } else {
            NONE
        };
        write((*context).meta, &record, size_of::<ListenerRecord>());
    }
    0
}

/// The mark of the end.
pub(crate) const NONE: ListenerRecord = ListenerRecord {
    skaddr: 0,
    cookie: 0,
    address: [0; 16],
    queue_length: 0,
    queue_limit: 0,
    half_open: 0,
    drops: 0,
    port: 0,
    family: 0,
    reserved: [0; 5],
};

/// `None` for a socket of another protocol or family.
///
/// # Safety
/// `sk` is a `struct sock_common *` that the kernel passed, or that of a file that it passed.
#[inline(always)]
pub(crate) unsafe fn record(sk: *const u8) -> Option<ListenerRecord> {
    // SAFETY: as the function's; the helper returns null for an object of another type.
    unsafe {
        let family = Family::from_address_family(SOCK_FAMILY.read(sk))?;
        let tcp_sock = tcp_sock(sk);
        if tcp_sock.is_null() {
            return None;
        }
        let words = match family {
            Family::Ipv4 => [SOCK_RCV_SADDR.read(sk), 0, 0, 0],
            Family::Ipv6 => SOCK_V6_RCV_SADDR.read(sk),
        };
        let mut record = NONE;
        record.skaddr = sk as u64;
        // A constant to the verifier, which refuses the helper until 5.11.
        if LISTENER_COOKIES.load() != 0 {
            record.cookie = bpf_get_socket_cookie(sk.cast_mut().cast());
        }
        record.address = bytes(words);
        record.queue_length = TCP_ACK_BACKLOG.read(tcp_sock);
        record.queue_limit = TCP_MAX_ACK_BACKLOG.read(tcp_sock);
        record.half_open = TCP_REQUESTS.read(tcp_sock);
        record.drops = TCP_DROPS.read(tcp_sock);
        record.port = SOCK_NUM.read(sk);
        record.family = family as u8;
        Some(record)
    }
}

/// An address in network order, as a record has it.
#[inline(always)]
pub(crate) fn bytes([a, b, c, d]: [u32; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    let words = [a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes(), d.to_ne_bytes()];
    bytes.copy_from_slice(words.as_flattened());
    bytes
}
