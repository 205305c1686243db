//! Counts an event of the exporter's own namespace also in the rows of its cgroup and of its local port.
//!
//! `CGROUPS` and `PORTS` are constants to the verifier: it removes the code of a kind that is off. The programs
//! that user space attaches while both are off have none of it.

use aya_ebpf::maps::{Array, HashMap, Queue};
use tcpstat_ebpf::{
    Bank, CgroupMember, Control, OTHER_PORTS_SLOT, PORTS_OF_ENTRY, ROOT_CGROUP, SCOPE_ROW_CELLS,
    row, scope_cell,
};

use crate::{
    assigned::SlotMaps,
    bounded::bounded,
    maps::{
        CGROUP_KN, CGROUP_SLOTS, CGROUP_TAGS, CGROUPS, CPU_IDS, FREE_CGROUP_SLOTS, KERNFS_NODE_ID,
        PORT_SLOTS, PORTS, SCOPE_ROWS, SOCK_CGROUP, SOCK_CGROUP_WORD,
    },
    probe::probe,
    this_cpu::{add_to, cpu},
};

/// Which scopes count a socket.
pub(crate) trait Scoping: Copy {
    /// Whether a scope can count the socket, and its dwells can be measured.
    const COUNTS: bool;

    /// Whether the event log has the cgroup.
    const LOGS_CGROUP: bool;

    /// Adds one to the cell of the transition at `place`, in the rows of the scopes of the socket.
    fn count(self, bank: Bank, place: usize);

    /// The id of the socket's cgroup; 0 if cgroups are not counted.
    fn cgroup(self) -> u64;
}

/// No scope counts the socket.
impl Scoping for () {
    const COUNTS: bool = false;
    const LOGS_CGROUP: bool = false;

    #[inline(always)]
    fn count(self, _bank: Bank, _place: usize) {}

    #[inline(always)]
    fn cgroup(self) -> u64 {
        0
    }
}

/// A mini-socket or a request with this local port. It has no cgroup.
#[derive(Clone, Copy)]
pub(crate) struct WithoutCgroup<P>(pub(crate) P);

impl<P: FnOnce() -> u16 + Copy> Scoping for WithoutCgroup<P> {
    const COUNTS: bool = true;
    const LOGS_CGROUP: bool = false;

    #[inline(always)]
    fn count(self, bank: Bank, place: usize) {
        if PORTS.load() != 0 {
            add(port_slot((self.0)()), bank, place);
        }
    }

    #[inline(always)]
    fn cgroup(self) -> u64 {
        0
    }
}

/// A full socket: how its cgroup's id and its local port are read.
#[derive(Clone, Copy)]
pub(crate) struct Full<C, P> {
    pub(crate) cgroup: C,
    pub(crate) port: P,
}

impl<C: FnOnce() -> u64 + Copy, P: FnOnce() -> u16 + Copy> Scoping for Full<C, P> {
    const COUNTS: bool = true;
    const LOGS_CGROUP: bool = true;

    #[inline(always)]
    fn count(self, bank: Bank, place: usize) {
        if CGROUPS.load() != CgroupMember::Off as u32 {
            let id = (self.cgroup)();
            let slot = CgroupMaps::tagged(id)
                .or_else(|| CgroupMaps::known(id))
                .unwrap_or_else(|| CgroupMaps::assign(id));
            add(slot, bank, place);
        }
        if PORTS.load() != 0 {
            add(port_slot((self.port)()), bank, place);
        }
    }

    #[inline(always)]
    fn cgroup(self) -> u64 {
        if CGROUPS.load() == CgroupMember::Off as u32 { 0 } else { (self.cgroup)() }
    }
}

struct CgroupMaps;

impl SlotMaps for CgroupMaps {
    #[inline(always)]
    fn tags() -> &'static Array<u64> {
        &CGROUP_TAGS
    }

    #[inline(always)]
    fn slots() -> &'static HashMap<u64, u64> {
        &CGROUP_SLOTS
    }

    #[inline(always)]
    fn free() -> &'static Queue<u64> {
        &FREE_CGROUP_SLOTS
    }

    #[inline(always)]
    unsafe fn assigned(control: *mut Control) -> *mut u64 {
        // SAFETY: as the function's.
        unsafe { &raw mut (*control).cgroups_assigned }
    }
}

/// The id of the cgroup of a full socket.
///
/// # Safety
/// `sk` begins with a `struct sock` of BTF type, and the kernel passed it.
#[inline(always)]
pub(crate) unsafe fn cgroup_id(sk: *const u8) -> u64 {
    // SAFETY: as the function's. A load through a pointer of BTF type returns 0 where the address is not mapped.
    // The cgroup exists as long as a socket refers to it.
    unsafe {
        if CGROUPS.load() == CgroupMember::Word as u32 {
            return probed_cgroup_id(SOCK_CGROUP_WORD.read(sk));
        }
        let cgroup = SOCK_CGROUP.read(sk);
        if cgroup.is_null() {
            return ROOT_CGROUP;
        }
        let kn = CGROUP_KN.read(cgroup);
        if kn.is_null() { ROOT_CGROUP } else { KERNFS_NODE_ID.read(kn) }
    }
}

/// The id of the cgroup of a full socket of which only the address is known.
#[inline(always)]
pub(crate) fn cgroup_id_at(skaddr: u64) -> u64 {
    let offset = if CGROUPS.load() == CgroupMember::Word as u32 {
        SOCK_CGROUP_WORD.bytes()
    } else {
        SOCK_CGROUP.bytes()
    };
    probed_cgroup_id(probe(skaddr, offset))
}

/// The id of the cgroup that `sk_cgrp_data` refers to.
#[inline(always)]
fn probed_cgroup_id(word: u64) -> u64 {
    // As `sock_cgroup_ptr` of 5.10 has it. A pointer is aligned.
    if word & 3 != 0 {
        return ROOT_CGROUP;
    }
    match probe(probe(word, CGROUP_KN.bytes()), KERNFS_NODE_ID.bytes()) {
        0 => ROOT_CGROUP,
        id => id,
    }
}

#[inline(always)]
fn port_slot(port: u16) -> u64 {
    let Some(slots) = PORT_SLOTS.get_ptr(u32::from(port) / PORTS_OF_ENTRY as u32) else {
        return OTHER_PORTS_SLOT;
    };
    let index = bounded::<PORTS_OF_ENTRY>(usize::from(port) % PORTS_OF_ENTRY);
    // SAFETY: the index is below the number of ports of an entry.
    u64::from(unsafe { slots.cast::<u16>().add(index).read_volatile() })
}

/// Adds one to a cell of this bank, in the row of this slot and this CPU.
#[inline(always)]
fn add(slot: u64, bank: Bank, place: usize) {
    if let Some(row) = SCOPE_ROWS.get_ptr_mut(row(slot, CPU_IDS.load() as usize, cpu()) as u32) {
        let cell = bounded::<SCOPE_ROW_CELLS>(scope_cell(bank, place));
        // SAFETY: `cell` is below SCOPE_ROW_CELLS, so the pointer stays inside the map's value.
        unsafe { add_to(row.cast::<u64>().add(cell), 1) };
    }
}
