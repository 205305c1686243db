//! The maps and read-only globals. User space finds them by these names.

use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LpmTrie, PerCpuArray, Queue, RingBuf},
};
use tcpstat_ebpf::{
    Control, EVENT_LOG_BYTES, PORTS_OF_ENTRY, PREFIX_BYTES, Row, ScopeRow, StreamTransitions,
};

use crate::typed::Offset;

/// The counters: for each slot one row for each CPU id up to the highest possible one. User space sets the
/// number of rows, and maps them into its memory.
#[map]
pub(crate) static ROWS: Array<Row> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// User space opens and closes the event log here, through mapped memory, and the programs read that once for each
/// event. The programs count events without a cell here.
#[map]
pub(crate) static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The event log. It is written only while it is open.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_LOG_BYTES, 0);

/// The address of the mini-socket in FIN_WAIT2 that receives a segment on this CPU now, else 0.
#[map]
pub(crate) static SEGMENT_FOR: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The tags of namespaces (`tcpstat_ebpf::tag`). User space writes them through mapped memory, and sets their
/// number.
#[map]
pub(crate) static NETNS_TAGS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The slot of each namespace that has one, by its key. The tags are copies of some of its entries.
#[map]
pub(crate) static NETNS_SLOTS: HashMap<u64, u64> = HashMap::with_max_entries(1, 0);

/// The slots that no namespace has. Queues exist since 4.20, atomic operations that return a value only since
/// 5.12.
#[map]
pub(crate) static FREE_SLOTS: Queue<u64> = Queue::with_max_entries(1, 0);

/// The counters of cgroups and ports, as [`ROWS`] has those of namespaces.
#[map]
pub(crate) static SCOPE_ROWS: Array<ScopeRow> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The tags of cgroups, as [`NETNS_TAGS`] has those of namespaces.
#[map]
pub(crate) static CGROUP_TAGS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The slot of each cgroup that has one, by its id.
#[map]
pub(crate) static CGROUP_SLOTS: HashMap<u64, u64> = HashMap::with_max_entries(1, 0);

/// The slots that no cgroup has.
#[map]
pub(crate) static FREE_CGROUP_SLOTS: Queue<u64> = Queue::with_max_entries(1, 0);

/// The slot of each local port. User space sets the number of entries.
#[map]
pub(crate) static PORT_SLOTS: Array<[u16; PORTS_OF_ENTRY]> = Array::with_max_entries(1, 0);

/// A `tcpstat_ebpf::CgroupMember`: whether cgroups are counted, and how the programs find that of a socket.
#[unsafe(no_mangle)]
pub(crate) static CGROUPS: Global<u32> = Global::new(0);

/// 1 if ports are counted.
#[unsafe(no_mangle)]
pub(crate) static PORTS: Global<u32> = Global::new(0);

/// Since when a socket is in its state, by its address: a `tcpstat_ebpf::dwell_entry`. User space sets the number of entries.
///
/// Its memory is allocated at the start: before 6.1 a program cannot allocate.
#[map]
pub(crate) static DWELL_SINCE: HashMap<u64, u64> = HashMap::with_max_entries(1, 0);

/// A bit for the number of each state whose dwell is measured; 0 for none.
#[unsafe(no_mangle)]
pub(crate) static DWELL_STATES: Global<u32> = Global::new(0);

/// The slot for the row of dwells.
#[unsafe(no_mangle)]
pub(crate) static DWELL_SLOT: Global<u32> = Global::new(0);

/// A `tcpstat_ebpf::NetnsKey`: whether other namespaces are counted, and how they are identified.
#[unsafe(no_mangle)]
pub(crate) static NETNS_KEY: Global<u32> = Global::new(0);

/// The first slot for the cells of `tcpstat_ebpf::DETAILS`; 0 if causes are not counted.
#[unsafe(no_mangle)]
pub(crate) static DETAIL_SLOT: Global<u32> = Global::new(0);

/// Ticks (jiffies) per second; 0 if silences are not counted.
#[unsafe(no_mangle)]
pub(crate) static TICKS_PER_SECOND: Global<u32> = Global::new(0);

/// Number of rows of a slot.
#[unsafe(no_mangle)]
pub(crate) static CPU_IDS: Global<u32> = Global::new(0);

/// Inode number of the exporter's own namespace (`net->ns.inum`).
#[unsafe(no_mangle)]
pub(crate) static NETNS_INUM: Global<u32> = Global::new(0);

/// Bytes of a `struct upid`; 0 if `iter/task` writes the process ids of the initial PID namespace.
#[unsafe(no_mangle)]
pub(crate) static UPID_BYTES: Global<u32> = Global::new(0);

/// How many levels the PID namespace of the ids that `iter/task` writes is above that of the exporter.
#[unsafe(no_mangle)]
pub(crate) static PID_LEVELS_UP: Global<u32> = Global::new(0);

/// 1 if listeners have their cookies.
#[unsafe(no_mangle)]
pub(crate) static LISTENER_COOKIES: Global<u32> = Global::new(0);

/// How many parameters `inet_csk_reqsk_queue_hash_add` has; 0 where it returns nothing.
#[unsafe(no_mangle)]
pub(crate) static HASH_ADD_PARAMETERS: Global<u32> = Global::new(0);

/// The transitions that `tcpstat events` shows. User space sets the size of this and of the next maps, which are as small as
/// possible for everything else.
#[map]
pub(crate) static STREAM: RingBuf = RingBuf::with_byte_size(4096, 0);

/// The last record that names only a namespace: the reading that it is of (`bpf_iter_meta.session_id`), and the key.
#[map]
pub(crate) static LAST_HELD: Array<[u64; 2]> = Array::with_max_entries(1, 0);

/// How many records did not fit in `STREAM`. User space maps it into its memory.
#[map]
pub(crate) static STREAM_LOST: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// A bitmap of ports for each `tcpstat_ebpf::PortFilter`.
#[map]
pub(crate) static STREAM_PORTS: Array<u64> = Array::with_max_entries(1, 0);

/// For a prefix of addresses, whether they are written. Those of no prefix are not.
#[map]
pub(crate) static STREAM_ADDRESSES: LpmTrie<[u8; PREFIX_BYTES], u32> =
    LpmTrie::with_max_entries(1, 0);

/// For the id of a cgroup, whether its transitions are written. Those of others are written: user space decides then.
#[map]
pub(crate) static STREAM_CGROUPS: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);

/// Which transitions are written to `STREAM`.
#[unsafe(no_mangle)]
pub(crate) static STREAM_TRANSITIONS: StreamTransitions = [0; 16];

/// The inode number of the network namespace whose transitions are written; 0 for all.
#[unsafe(no_mangle)]
pub(crate) static STREAM_NETNS: Global<u32> = Global::new(0);

/// A bit for the number of each `tcpstat_ebpf::Cause` that is written; 0 for all, and for transitions to other states than CLOSE.
#[unsafe(no_mangle)]
pub(crate) static STREAM_CAUSES: Global<u32> = Global::new(0);

/// A bit for each `tcpstat_ebpf::PortFilter` that has a bitmap.
#[unsafe(no_mangle)]
pub(crate) static STREAM_PORT_FILTERS: Global<u32> = Global::new(0);

/// 1 if an address has to have one of the prefixes.
#[unsafe(no_mangle)]
pub(crate) static STREAM_BY_ADDRESS: Global<u32> = Global::new(0);

/// 1 if `STREAM_CGROUPS` has verdicts.
#[unsafe(no_mangle)]
pub(crate) static STREAM_BY_CGROUP: Global<u32> = Global::new(0);

/// A `tcpstat_ebpf::StreamProcess`.
#[unsafe(no_mangle)]
pub(crate) static STREAM_PROCESS: Global<u32> = Global::new(0);

macro_rules! offsets {
    ($($global:ident: $type:ty = $structure:literal, $member:literal, $readers:tt;)*) => {
        $(#[unsafe(no_mangle)]
        pub(crate) static $global: Offset<$type> = Offset::unset();)*
    };
}
// The verifier treats the offsets as constants: their section is frozen before a program is loaded.
tcpstat_ebpf::members!(offsets);
