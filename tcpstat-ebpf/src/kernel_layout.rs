//! What the programs rely on in the kernel's structures: one table, which both sides use.
//!
//! Rust's BPF target has no CO-RE relocations. So user space takes offset and size of each member from the
//! kernel's BTF. It refuses a program that would read another size, and passes the offsets to the others as
//! read-only globals.

use core::{marker::PhantomData, mem::size_of};

/// Programs that are loaded together and read the same members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// `tp_btf/inet_sock_set_state`
    TpBtf,
    /// `tracepoint/sock/inet_sock_set_state`
    Tracepoint,
    /// The hooks that count mini-sockets.
    Timewait,
    /// The hooks that count requests.
    Requests,
    /// `iter/tcp`
    Iterator,
    /// `iter/task`
    Tasks,
    /// `iter/task` in a PID namespace that is not the initial one.
    NestedTasks,
    /// What identifies namespaces by their cookie.
    NetnsCookie,
    /// What finds the cgroup of a socket since 5.15.
    CgroupPointer,
    /// What finds the cgroup of a socket before 5.15.
    CgroupWord,
    /// What finds why a socket closes, and whether a connect was retried.
    Causes,
    /// What finds how long the peer has been silent.
    Silence,
    /// The `iter/tcp` that lists sockets in CLOSE_WAIT.
    CloseWait,
    /// The `iter/tcp` that lists sockets in the states whose dwell is measured.
    Dwell,
    /// `iter/tcp` for listening sockets.
    Listeners,
    /// `iter/task_file`, besides what [`Reader::CloseWait`] and [`Reader::Listeners`] read.
    Held,
    /// The `iter/task_file` that lists the TCP sockets of every state in other network namespaces.
    HeldStates,
    /// The `iter/task_file` that lists all TCP sockets with the processes that hold them.
    Holders,
    /// As [`Reader::Holders`], in a PID namespace that is not the initial one: what it reads besides [`Reader::NestedTasks`].
    NestedHolders,
    /// The programs of `tcpstat events`, besides what those of the tracepoint, causes and silences read.
    Stream,
    /// What finds the name of a process by one of its threads.
    ProcessName,
}

/// A member whose offset the programs get from user space.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The read-only global of the BPF object that receives the offset, a `u32` in bytes.
    pub global: &'static str,
    /// The name after `struct`.
    pub structure: &'static str,
    /// The names from the structure down to the member, with dots between them.
    pub member: &'static str,
    /// How many bytes the programs read there.
    pub bytes: u32,
    /// Which programs read it.
    pub readers: &'static [Reader],
}

/// A member whose offset is compiled into the programs.
#[derive(Clone, Copy, Debug)]
pub struct FixedMember {
    /// The name after `struct`.
    pub structure: &'static str,
    /// The member's name.
    pub member: &'static str,
    /// The offset that the programs use, in bytes.
    pub offset: u32,
    /// How many bytes the programs read there; `None` for a structure at the beginning of another one.
    pub bytes: Option<u32>,
    /// Which programs rely on it.
    pub readers: &'static [Reader],
}

/// Passes the table of members to the macro `$with`: global, type as which it is read, structure, member,
/// readers. Addresses and ports are in network order unless a comment says otherwise.
#[macro_export]
macro_rules! members {
    ($with:ident) => {
        $with! {
            SOCK_NET: *const u8 = "sock", "__sk_common.skc_net.net", [TpBtf, Tracepoint, Timewait, Requests, Held, HeldStates, Holders];
            SOCK_PROTOCOL: u16 = "sock", "sk_protocol", [TpBtf, Timewait, Requests, Held, HeldStates];
            SOCK_FAMILY: u16 = "sock", "__sk_common.skc_family", [TpBtf, Timewait, Requests, Iterator, Listeners, Held, HeldStates, Holders];
            SOCK_DPORT: u16 = "sock", "__sk_common.skc_dport", [TpBtf, Timewait, Requests, Iterator, Holders];
            // Host order.
            SOCK_NUM: u16 = "sock", "__sk_common.skc_num", [Timewait, Requests, Iterator, Listeners, Holders];
            SOCK_RCV_SADDR: u32 = "sock", "__sk_common.skc_rcv_saddr", [TpBtf, Timewait, Requests, Iterator, Listeners, Holders];
            SOCK_DADDR: u32 = "sock", "__sk_common.skc_daddr", [TpBtf, Timewait, Requests, Iterator, Holders];
            SOCK_V6_RCV_SADDR: [u32; 4] = "sock", "__sk_common.skc_v6_rcv_saddr", [TpBtf, Timewait, Requests, Iterator, Listeners, Holders];
            SOCK_V6_DADDR: [u32; 4] = "sock", "__sk_common.skc_v6_daddr", [TpBtf, Timewait, Requests, Iterator, Holders];
            SOCK_STATE: u8 = "sock", "__sk_common.skc_state", [Requests, Iterator, CloseWait, Dwell, Listeners, HeldStates, Holders];
            SOCK_CGROUP: *const u8 = "sock", "sk_cgrp_data.cgroup", [CgroupPointer];
            // Until 5.14.
            SOCK_CGROUP_WORD: u64 = "sock", "sk_cgrp_data.val", [CgroupWord];
            SOCK_ERR: u32 = "sock", "sk_err", [Causes];
            // 1 while a task owns the lock, in a system call for example.
            SOCK_OWNED: u32 = "sock", "sk_lock.owned", [Stream];
            SOCKET_TYPE: u16 = "socket", "type", [Held, HeldStates, Holders];
            SOCKET_SK: *const u8 = "socket", "sk", [Held, HeldStates, Holders];
            NET_INUM: u32 = "net", "ns.inum", [TpBtf, Tracepoint, Timewait, Requests, Tasks, Held, HeldStates, Holders];
            // Since 5.12. Before, it is an `atomic64_t`, 0 until a program of another kind asks for it.
            NET_COOKIE: u64 = "net", "net_cookie", [NetnsCookie];
            TCP_SPORT: u16 = "tcp_sock", "inet_conn.icsk_inet.inet_sport", [TpBtf];
            // How many segments were sent again, SYNs among them.
            TCP_TOTAL_RETRANS: u32 = "tcp_sock", "total_retrans", [Causes];
            // The length of a listener's accept queue.
            TCP_ACK_BACKLOG: u32 = "tcp_sock", "inet_conn.icsk_inet.sk.sk_ack_backlog", [Iterator, Listeners, Holders];
            // The queue is full when it is longer than this.
            TCP_MAX_ACK_BACKLOG: u32 = "tcp_sock", "inet_conn.icsk_inet.sk.sk_max_ack_backlog", [Listeners, Holders];
            // An `atomic_t`: connections that the listener dropped.
            TCP_DROPS: u32 = "tcp_sock", "inet_conn.icsk_inet.sk.sk_drops", [Listeners];
            // An `atomic_t`: the requests of a listener.
            TCP_REQUESTS: u32 = "tcp_sock", "inet_conn.icsk_accept_queue.qlen", [Listeners, HeldStates];
            TCP_RCV_NXT: u32 = "tcp_sock", "rcv_nxt", [Iterator, HeldStates];
            TCP_COPIED_SEQ: u32 = "tcp_sock", "copied_seq", [Iterator, HeldStates];
            TCP_WRITE_SEQ: u32 = "tcp_sock", "write_seq", [Iterator, HeldStates];
            TCP_SND_UNA: u32 = "tcp_sock", "snd_una", [Iterator, HeldStates];
            // The lower half of `jiffies`, as in the next one.
            TCP_RCV_TSTAMP: u32 = "tcp_sock", "rcv_tstamp", [Silence, CloseWait, Holders];
            TCP_LRCVTIME: u32 = "tcp_sock", "inet_conn.icsk_ack.lrcvtime", [CloseWait, Stream];
            TASK_PID: u32 = "task_struct", "pid", [Tasks];
            TASK_TGID: u32 = "task_struct", "tgid", [Tasks, Holders];
            TASK_THREAD_PID: *const u8 = "task_struct", "thread_pid", [NestedTasks];
            // The first thread of the process.
            TASK_GROUP_LEADER: *const u8 = "task_struct", "group_leader", [NestedHolders, ProcessName];
            TASK_NSPROXY: *const u8 = "task_struct", "nsproxy", [Tasks];
            TASK_CGROUPS: *const u8 = "task_struct", "cgroups", [Tasks];
            TASK_COMM: [u32; 4] = "task_struct", "comm", [ProcessName];
            PID_LEVEL: u32 = "pid", "level", [NestedTasks];
            // The id in the initial PID namespace; those in the nested ones follow.
            PID_NUMBERS: u32 = "pid", "numbers.nr", [NestedTasks];
            NSPROXY_NET: *const u8 = "nsproxy", "net_ns", [Tasks];
            CSS_SET_DFL_CGRP: *const u8 = "css_set", "dfl_cgrp", [Tasks];
            CGROUP_KN: *const u8 = "cgroup", "kn", [Tasks, CgroupPointer, CgroupWord];
            KERNFS_NODE_ID: u64 = "kernfs_node", "id", [Tasks, CgroupPointer, CgroupWord];
            TIMEWAIT_SUBSTATE: u8 = "tcp_timewait_sock", "tw_sk.tw_substate", [Timewait, Iterator];
        }
    };
}

#[expect(clippy::cast_possible_truncation, reason = "no type here has more than 16 bytes")]
const fn bytes_of<T>() -> u32 {
    size_of::<T>() as u32
}

macro_rules! rows {
    ($($global:ident: $type:ty = $structure:literal, $member:literal, [$($reader:ident),*];)*) => {
        /// The members whose offsets the programs get from user space; those of one structure follow one
        /// another.
        pub const MEMBERS: &[Member] = &[$(Member {
            global: stringify!($global),
            structure: $structure,
            member: $member,
            bytes: bytes_of::<$type>(),
            readers: &[$(Reader::$reader),*],
        }),*];
    };
}
members!(rows);

/// A field of the record of the tracepoint `sock:inet_sock_set_state`, which the program reads as a `T`.
#[derive(Clone, Copy, Debug)]
pub struct RecordField<T> {
    /// Its offset in bytes.
    pub offset: usize,
    read_as: PhantomData<T>,
}

const RECORD: &str = "trace_event_raw_inet_sock_set_state";

macro_rules! record {
    ($($name:ident: $type:ty = $field:literal at $offset:literal;)*) => {
        /// The record's fields. Their offsets are the same in every kernel from 5.10 to 7.3.
        #[expect(missing_docs, reason = "each is the field of the same name")]
        pub mod record {
            use super::{PhantomData, RecordField};
            $(pub const $name: RecordField<$type> =
                RecordField { offset: $offset, read_as: PhantomData };)*
        }

        /// The fields of the record for user space, which compares them with the kernel's BTF.
        pub const RECORD_FIELDS: &[FixedMember] = &[$(FixedMember {
            structure: RECORD,
            member: $field,
            offset: $offset,
            bytes: Some(bytes_of::<$type>()),
            readers: &[Reader::Tracepoint],
        }),*];
    };
}
record! {
    SKADDR: u64 = "skaddr" at 8;
    OLDSTATE: u32 = "oldstate" at 16;
    NEWSTATE: u32 = "newstate" at 20;
    SPORT: u16 = "sport" at 24;
    DPORT: u16 = "dport" at 26;
    FAMILY: u16 = "family" at 28;
    PROTOCOL: u16 = "protocol" at 30;
    SADDR: u32 = "saddr" at 32;
    DADDR: u32 = "daddr" at 36;
    SADDR_V6: [u32; 4] = "saddr_v6" at 40;
    DADDR_V6: [u32; 4] = "daddr_v6" at 56;
}

/// The other members whose offsets are compiled into the programs.
pub const FIXED_MEMBERS: &[FixedMember] = &[
    // Offsets in `struct sock` are used for everything that begins with a `struct sock_common`.
    first(
        "sock",
        "__sk_common",
        &[
            Reader::Timewait,
            Reader::Requests,
            Reader::Iterator,
            Reader::CloseWait,
            Reader::Dwell,
            Reader::Listeners,
            Reader::Held,
            Reader::HeldStates,
            Reader::Holders,
        ],
    ),
    first("inet_timewait_sock", "__tw_common", &[Reader::Timewait, Reader::Requests]),
    first("request_sock", "__req_common", &[Reader::Requests]),
    // `tcp_timewait_state_process` has a `struct inet_timewait_sock *`.
    first("tcp_timewait_sock", "tw_sk", &[Reader::Timewait]),
    // The iterator reads `sk_cgrp_data` of a `struct tcp_sock`, and the tracepoint's program `total_retrans` and
    // `rcv_tstamp` at the address of the `struct sock`.
    first("tcp_sock", "inet_conn", FULL_SOCKET_READERS),
    first("inet_connection_sock", "icsk_inet", FULL_SOCKET_READERS),
    first("inet_sock", "sk", FULL_SOCKET_READERS),
    // The contexts of the iterators.
    pointer("bpf_iter__tcp", "meta", 0, TCP_ITERATORS),
    pointer("bpf_iter__tcp", "sk_common", 8, TCP_ITERATORS),
    pointer("bpf_iter__task", "meta", 0, &[Reader::Tasks]),
    pointer("bpf_iter__task", "task", 8, &[Reader::Tasks]),
    pointer("bpf_iter__task_file", "meta", 0, FILE_ITERATORS),
    pointer("bpf_iter__task_file", "task", 8, &[Reader::Holders]),
    pointer("bpf_iter__task_file", "file", 24, FILE_ITERATORS),
    UPID_NR,
    pointer(
        "bpf_iter_meta",
        "seq",
        0,
        &[
            Reader::Iterator,
            Reader::CloseWait,
            Reader::Dwell,
            Reader::Listeners,
            Reader::Tasks,
            Reader::HeldStates,
            Reader::Holders,
        ],
    ),
    FixedMember {
        structure: "bpf_iter_meta",
        member: "session_id",
        offset: 8,
        bytes: Some(bytes_of::<u64>()),
        readers: &[Reader::Held],
    },
];

const TCP_ITERATORS: &[Reader] =
    &[Reader::Iterator, Reader::CloseWait, Reader::Dwell, Reader::Listeners];

const FILE_ITERATORS: &[Reader] = &[Reader::Held, Reader::HeldStates, Reader::Holders];

const UPID_NR: FixedMember = FixedMember {
    structure: "upid",
    member: "nr",
    offset: 0,
    bytes: Some(bytes_of::<u32>()),
    readers: &[Reader::NestedTasks],
};

const FULL_SOCKET_READERS: &[Reader] =
    &[Reader::CgroupPointer, Reader::CgroupWord, Reader::Causes, Reader::Silence, Reader::Stream];

const fn first(
    structure: &'static str,
    member: &'static str,
    readers: &'static [Reader],
) -> FixedMember {
    FixedMember { structure, member, offset: 0, bytes: None, readers }
}

const fn pointer(
    structure: &'static str,
    member: &'static str,
    offset: u32,
    readers: &'static [Reader],
) -> FixedMember {
    let bytes = Some(bytes_of::<*const u8>());
    FixedMember { structure, member, offset, bytes, readers }
}
