//! `iter/task_file`: lists the TCP sockets of every state that processes hold in other network namespaces than the
//! exporter's own.
//!
//! It lists the files that [`held`](crate::held) lists.

use tcpstat_ebpf::{Family, HeldStateRecord, IPPROTO_MPTCP, State};

use crate::{
    held::{Context, netns_key, socket},
    iter::{queues, write},
    maps::{NET_INUM, NETNS_INUM, SOCK_FAMILY, SOCK_NET, SOCK_PROTOCOL, SOCK_STATE, TCP_REQUESTS},
    typed::tcp_sock,
};

/// Writes a [`HeldStateRecord`] if the file in the context is such a socket.
#[unsafe(no_mangle)]
// SAFETY: the section names the kernel's iterator, and the function takes the context of that iterator.
#[unsafe(link_section = "iter/task_file")]
pub(crate) extern "C" fn tcpstat_held_states(context: *const Context) -> i32 {
    // SAFETY: the kernel passes a valid context, and the offsets are from BTF.
    unsafe {
        let sk = socket(context);
        if sk.is_null() {
            return 0;
        }
        if let Some(record) = record(sk) {
            write((*context).meta, &record, size_of::<HeldStateRecord>());
        }
    }
    0
}

/// `None` for a socket in CLOSE, of another protocol, or of the exporter's own namespace.
///
/// # Safety
/// `sk` is the `struct sock *` of a file that the kernel passed.
#[inline(always)]
unsafe fn record(sk: *const u8) -> Option<HeldStateRecord> {
    // SAFETY: as the function's; the helper returns null for an object of another type.
    unsafe {
        let state = SOCK_STATE.read(sk);
        if state == State::Close as u8 {
            return None;
        }
        let family = Family::from_address_family(SOCK_FAMILY.read(sk))?;
        let net = SOCK_NET.read(sk);
        let inum = NET_INUM.read(net);
        if inum == NETNS_INUM.load() {
            return None;
        }
        let mut record = HeldStateRecord {
            netns_key: netns_key(net, inum),
            skaddr: sk as u64,
            receive_queue: 0,
            send_queue: 0,
            requests: 0,
            family: family as u8,
            state: 0,
            reserved: [0; 2],
        };
        let tcp_sock = tcp_sock(sk);
        if tcp_sock.is_null() {
            return (SOCK_PROTOCOL.read(sk) == IPPROTO_MPTCP).then_some(record);
        }
        record.state = state;
        if state == State::Listen as u8 {
            record.requests = TCP_REQUESTS.read(tcp_sock);
        } else {
            (record.receive_queue, record.send_queue) = queues(tcp_sock);
        }
        Some(record)
    }
}
