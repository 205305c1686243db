//! `iter/task_file`: lists the descriptors of TCP sockets of all network namespaces, in every state, each with its process.
//!
//! It lists the files that [`held`](crate::held) lists.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use tcpstat_ebpf::{Family, HolderRecord, State};

use crate::{
    held::{Context, socket},
    iter::write,
    listeners::bytes,
    maps::{
        NET_INUM, SOCK_DADDR, SOCK_DPORT, SOCK_FAMILY, SOCK_NET, SOCK_NUM, SOCK_RCV_SADDR,
        SOCK_STATE, SOCK_V6_DADDR, SOCK_V6_RCV_SADDR, TASK_GROUP_LEADER, TASK_TGID,
        TCP_ACK_BACKLOG, TCP_MAX_ACK_BACKLOG, TCP_RCV_TSTAMP, UPID_BYTES,
    },
    tasks::nested_pid,
    typed::tcp_sock,
};

/// Writes a [`HolderRecord`] if the file in the context is a TCP socket.
#[unsafe(no_mangle)]
// SAFETY: the section names the kernel's iterator, and the function takes the context of that iterator.
#[unsafe(link_section = "iter/task_file")]
pub(crate) extern "C" fn tcpstat_holders(context: *const Context) -> i32 {
    // SAFETY: the kernel passes a valid context, and the offsets are from BTF.
    unsafe {
        let (task, sk) = ((*context).task, socket(context));
        if task.is_null() || sk.is_null() {
            return 0;
        }
        if let Some(record) = record(task, sk) {
            write((*context).meta, &record, size_of::<HolderRecord>());
        }
    }
    0
}

/// `None` for a socket of another protocol, and for a process that has ended.
///
/// # Safety
/// `task` is a `struct task_struct *` that the kernel passed, and `sk` the `struct sock *` of a file that it passed.
#[inline(always)]
unsafe fn record(task: *const u8, sk: *const u8) -> Option<HolderRecord> {
    // SAFETY: as the function's; the helper returns null for an object of another type.
    unsafe {
        let family = Family::from_address_family(SOCK_FAMILY.read(sk))?;
        let tcp_sock = tcp_sock(sk);
        if tcp_sock.is_null() {
            return None;
        }
        // A constant to the verifier, as in `iter/task`.
        let pid = if UPID_BYTES.load() == 0 {
            TASK_TGID.read(task)
        } else {
            nested_pid(TASK_GROUP_LEADER.read(task))
        };
        if pid == 0 {
            return None;
        }
        let state = SOCK_STATE.read(sk);
        let listens = state == State::Listen as u8;
        let words = match (family, listens) {
            (Family::Ipv4, true) => [SOCK_RCV_SADDR.read(sk), 0, 0, 0],
            (Family::Ipv4, false) => [SOCK_DADDR.read(sk), 0, 0, 0],
            (Family::Ipv6, true) => SOCK_V6_RCV_SADDR.read(sk),
            (Family::Ipv6, false) => SOCK_V6_DADDR.read(sk),
        };
        let (mut queue_length, mut queue_limit) = (0, 0);
        if listens {
            queue_length = TCP_ACK_BACKLOG.read(tcp_sock);
            queue_limit = TCP_MAX_ACK_BACKLOG.read(tcp_sock);
        }
        Some(HolderRecord {
            skaddr: sk as u64,
            address: bytes(words),
            now: bpf_jiffies64() as u32,
            heard: TCP_RCV_TSTAMP.read(tcp_sock),
            pid,
            netns_inum: NET_INUM.read(SOCK_NET.read(sk)),
            queue_length,
            queue_limit,
            local_port: SOCK_NUM.read(sk),
            remote_port: u16::from_be(SOCK_DPORT.read(sk)),
            state,
            family: family as u8,
            reserved: [0; 2],
        })
    }
}
