//! The maps and read-only globals. User space finds them by these names.

use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use tcpstat_ebpf::{Control, EVENT_LOG_BYTES, MatrixRow};

/// The counters: one row for each CPU id up to the highest possible one (user space sets the number of
/// entries), mmap'ed there.
#[map]
pub(crate) static MATRIX: Array<MatrixRow> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Written by user space through mmap, read once per event.
#[map]
pub(crate) static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The event log, filled only while it is open.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_LOG_BYTES, 0);

/// The address of the mini-socket in FIN_WAIT2 that a segment is being handed to on this CPU, else 0.
#[map]
pub(crate) static SEGMENT_FOR: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Inode number of the namespace whose sockets are counted (`net->ns.inum`).
#[unsafe(no_mangle)]
pub(crate) static NETNS_INUM: Global<u32> = Global::new(0);

// Offsets from the running kernel's BTF. The verifier treats them as constants, since the section is
// frozen before the program is loaded.

/// `struct sock`: `__sk_common.skc_net.net`
#[unsafe(no_mangle)]
pub(crate) static SOCK_NET: Global<u32> = Global::new(0);
/// `struct net`: `ns.inum`
#[unsafe(no_mangle)]
pub(crate) static NET_INUM: Global<u32> = Global::new(0);
/// `struct sock`: `sk_protocol`
#[unsafe(no_mangle)]
pub(crate) static SOCK_PROTOCOL: Global<u32> = Global::new(0);
/// `struct sock`: `__sk_common.skc_family`
#[unsafe(no_mangle)]
pub(crate) static SOCK_FAMILY: Global<u32> = Global::new(0);
/// `struct inet_sock`: `inet_sport`, the local port in network order
#[unsafe(no_mangle)]
pub(crate) static INET_SPORT: Global<u32> = Global::new(0);
/// `struct sock`: `__sk_common.skc_dport`, the remote port in network order
#[unsafe(no_mangle)]
pub(crate) static SOCK_DPORT: Global<u32> = Global::new(0);
/// `struct sock`: `__sk_common.skc_rcv_saddr`
#[unsafe(no_mangle)]
pub(crate) static SOCK_RCV_SADDR: Global<u32> = Global::new(0);
/// `struct sock`: `__sk_common.skc_daddr`
#[unsafe(no_mangle)]
pub(crate) static SOCK_DADDR: Global<u32> = Global::new(0);
/// `struct sock`: `__sk_common.skc_v6_rcv_saddr`
#[unsafe(no_mangle)]
pub(crate) static SOCK_V6_RCV_SADDR: Global<u32> = Global::new(0);
/// `struct sock`: `__sk_common.skc_v6_daddr`
#[unsafe(no_mangle)]
pub(crate) static SOCK_V6_DADDR: Global<u32> = Global::new(0);

/// `struct sock`: `__sk_common.skc_state`
#[unsafe(no_mangle)]
pub(crate) static SOCK_STATE: Global<u32> = Global::new(0);
/// `struct sock`: `sk_ack_backlog`, the length of a listener's accept queue
#[unsafe(no_mangle)]
pub(crate) static SOCK_ACK_BACKLOG: Global<u32> = Global::new(0);
/// `struct tcp_sock`: `rcv_nxt`
#[unsafe(no_mangle)]
pub(crate) static TCP_RCV_NXT: Global<u32> = Global::new(0);
/// `struct tcp_sock`: `copied_seq`
#[unsafe(no_mangle)]
pub(crate) static TCP_COPIED_SEQ: Global<u32> = Global::new(0);
/// `struct tcp_sock`: `write_seq`
#[unsafe(no_mangle)]
pub(crate) static TCP_WRITE_SEQ: Global<u32> = Global::new(0);
/// `struct tcp_sock`: `snd_una`
#[unsafe(no_mangle)]
pub(crate) static TCP_SND_UNA: Global<u32> = Global::new(0);
/// `struct tcp_timewait_sock`: `tw_sk.tw_substate`
#[unsafe(no_mangle)]
pub(crate) static TIMEWAIT_SUBSTATE: Global<u32> = Global::new(0);

/// `struct sock`: `__sk_common.skc_num`, the local port in host order
#[unsafe(no_mangle)]
pub(crate) static SOCK_NUM: Global<u32> = Global::new(0);
/// Where `inet_csk_reqsk_queue_hash_add` has its answer: its number of parameters; 0 where it gives none.
#[unsafe(no_mangle)]
pub(crate) static HASH_ADD_ANSWER: Global<u32> = Global::new(0);
