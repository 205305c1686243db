//! Scopes inside the exporter's own namespace: the rows of cgroups and ports, and how their slots are found.
//!
//! Slots of the map `SCOPE_ROWS`: [`OTHER_PORTS_SLOT`], [`OTHER_SLOT`](crate::OTHER_SLOT) for cgroups, from
//! [`FIRST_FREE_SLOT`](crate::FIRST_FREE_SLOT) on one for each cgroup, then one for each port.

use core::mem::size_of;

use crate::{Bank, FAMILY_CELLS};

/// How the programs find the cgroup of a socket: the value of the read-only global `CGROUPS`.
///
/// It is a constant to the verifier. With `Off` it removes everything that concerns cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CgroupMember {
    /// Cgroups are not counted.
    Off = 0,
    /// `sk_cgrp_data.cgroup` is a pointer (since 5.15).
    Pointer = 1,
    /// `sk_cgrp_data.val` is a word, which is a pointer unless one of its lowest two bits is set.
    Word = 2,
}

/// The id of the root cgroup: that of a socket whose `sk_cgrp_data` has no pointer (`sock_cgroup_ptr`).
pub const ROOT_CGROUP: u64 = 1;

/// The slot of all ports that have none of their own: an entry of `PORT_SLOTS` that is not set.
pub const OTHER_PORTS_SLOT: u64 = 0;

/// Number of entries of the map `PORT_SLOTS` while ports are counted; each has the slots of [`PORTS_OF_ENTRY`]
/// ports.
pub const PORT_ENTRIES: u32 = 256;

/// Number of ports of an entry of `PORT_SLOTS`.
pub const PORTS_OF_ENTRY: usize = 256;

/// Counters of one CPU and one scope: the value type of the map `SCOPE_ROWS`, whose index is [`crate::row`].
///
/// A scope has no family: a socket can change that without an event, and the sum is what is shown.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ScopeRow {
    /// Number of events for each index that [`scope_cell`] returns.
    pub cells: [u64; SCOPE_ROW_CELLS],
}

/// Number of cells of a [`ScopeRow`]: those of both banks.
pub const SCOPE_ROW_CELLS: usize = 2 * FAMILY_CELLS;

/// The index in a [`ScopeRow`] at which the transition at `place` of [`crate::TRANSITIONS`] is counted.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the verifier has to see the bound where the index is used"
)]
pub const fn scope_cell(bank: Bank, place: usize) -> usize {
    (bank as usize * FAMILY_CELLS) | (place % FAMILY_CELLS)
}

const _: () = {
    assert!(size_of::<ScopeRow>().is_multiple_of(64), "a row is a whole number of cache lines");
    assert!(PORT_ENTRIES as usize * PORTS_OF_ENTRY == 1 << 16, "each port has a slot");
};
