//! Slots: which row counts a socket, and how the slot of a network namespace is found.
//!
//! A slot is a set of rows, one for each CPU id. The exporter's own namespace always has slot 0. Other
//! namespaces are counted only if [`NetnsKey`] says so; each then has a slot of its own, or shares [`OTHER_SLOT`].
//! Slots are words: BPF needs two more instructions to compare or multiply half a register.

/// The slot of the exporter's own namespace.
pub const OWN_SLOT: u64 = 0;

/// The slot of all namespaces that came when no slot was free.
pub const OTHER_SLOT: u64 = 1;

/// The first slot that a namespace can have for itself; all later ones can, too.
pub const FIRST_FREE_SLOT: u64 = 2;

/// How the programs identify a network namespace: the value of the read-only global `NETNS_KEY`.
///
/// It is a constant to the verifier. With `Off` it removes everything that concerns other namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum NetnsKey {
    /// Other namespaces are not counted.
    Off = 0,
    /// By `net->ns.inum`. The kernel uses a number again as soon as its namespace is gone.
    Inum = 1,
    /// By `net->net_cookie`, which no other namespace ever has.
    Cookie = 2,
}

/// The row of a CPU in the map `ROWS`: those of one slot follow one another.
///
/// `cpu_ids` is the number of rows of a slot. A CPU id beyond it uses the row of CPU 0; atomic adds allow that.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "in a BPF program a call costs more than this")]
#[expect(clippy::cast_possible_truncation, reason = "the number of a slot has 16 bits")]
pub const fn row(slot: u64, cpu_ids: usize, cpu: usize) -> usize {
    // It wraps so that no panic is reachable in a program.
    let first = (slot as usize).wrapping_mul(cpu_ids);
    first.wrapping_add(if cpu < cpu_ids { cpu } else { 0 })
}

/// Number of tags in the map `NETNS_TAGS` while other namespaces are counted.
pub const TAGS: u32 = 1 << TAG_BITS;

const TAG_BITS: u32 = 10;

/// How many bits of a tag are the slot. The others are the key.
const SLOT_BITS: u32 = 16;

/// The tag that says that the namespace with this key has this slot; `None` if they do not fit into a word.
///
/// Key and slot are one word, so a program reads both by one load: it cannot see the key of one tag with the
/// slot of another, on any CPU architecture and in any order of stores. A tag of 0 is empty: no namespace has
/// the key 0 (cookies and inode numbers begin higher).
#[must_use]
pub const fn tag(key: u64, slot: u64) -> Option<u64> {
    if key == 0 || key >> (u64::BITS - SLOT_BITS) != 0 || slot >> SLOT_BITS != 0 {
        return None;
    }
    Some(key << SLOT_BITS | slot)
}

/// The slot that `tag` gives to the namespace with this key; `None` if it is the tag of another one.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "in a BPF program a call costs more than this")]
pub const fn tagged_slot(tag: u64, key: u64) -> Option<u64> {
    if tag >> SLOT_BITS == key { Some(tag & ((1 << SLOT_BITS) - 1)) } else { None }
}

/// The only index in `NETNS_TAGS` at which the tag of this key can be.
///
/// Cookies come in one sequence for each CPU, 4,096 apart, and inode numbers are dense, so the lowest bits of
/// different keys are often the same. The multiplication distributes them (2^64 by the golden ratio).
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "in a BPF program a call costs more than this")]
pub const fn tag_index(key: u64) -> u32 {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - TAG_BITS)) as u32
}

/// One process, as the iterator over tasks writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TaskRecord {
    /// What the programs identify its network namespace by: the cookie where the kernel has it, else the inode
    /// number.
    pub netns_key: u64,
    /// The id of its cgroup in the default hierarchy (v2), which is the inode number of the cgroup's directory.
    pub cgroup: u64,
    /// `ns.inum` of its network namespace.
    pub netns_inum: u32,
    /// Its process id in the PID namespace that user space asks for.
    pub pid: u32,
}

const _: () = {
    assert!(
        row(3, 8, 5) == 29 && row(3, 8, 8) == 24,
        "a CPU id beyond the rows uses the first one"
    );
    assert!(size_of::<TaskRecord>() == 24, "no hidden padding");
};
