//! Measures how long full sockets are in the states of `DWELL_STATES`: keeps since when each is there, and counts how long
//! it was when it leaves.
//!
//! `DWELL_STATES` is a constant to the verifier: without a state it removes this code. The programs that user space attaches
//! while neither scopes nor dwells are counted have none of it.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use tcpstat_ebpf::{
    DWELL_BUCKETS, DWELL_OVERFLOW_CELL, ROW_CELLS, State, dwell_bucket, dwell_cell, dwell_entry,
    dwell_since, dwell_state,
};

use crate::{
    bounded::bounded,
    maps::{DWELL_SINCE, DWELL_SLOT, DWELL_STATES},
    this_cpu::{add_to, own_row},
};

/// Notes a transition of a full socket of the own namespace.
#[inline(always)]
pub(crate) fn note(address: u64, oldstate: u64, newstate: u64) {
    let states = u64::from(DWELL_STATES.load());
    let (leaves, enters) = (states >> (oldstate & 0xf), states >> (newstate & 0xf));
    // One test sends all other transitions on.
    if (leaves | enters) & 1 != 0 {
        change(address, oldstate, newstate, leaves & 1, enters & 1);
    }
}

/// `leaves` and `enters`: whether each of the states is measured.
///
/// A function of its own, as `count_silence` is, so that the paths of other transitions do not get longer.
#[inline(never)]
fn change(address: u64, oldstate: u64, newstate: u64, leaves: u64, enters: u64) {
    // A child of a listener has the listener's state at first, and never was in it.
    if oldstate == State::Listen as u64 && newstate != State::Close as u64 {
        return;
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let entry = dwell_entry(now, newstate);
    if leaves != 0
        && let Some(found) = DWELL_SINCE.get_ptr_mut(address)
    {
        // SAFETY: the pointer is to a value of the map, one word. Only the events of this socket change it, one after the
        // other, and user space removes it only when no socket is there.
        let before = unsafe { found.read_volatile() };
        if dwell_state(before) == oldstate {
            count(oldstate, now.saturating_sub(dwell_since(before)));
        }
        if enters == 0 {
            // It fails if user space has removed it, or if the program interrupts another one that changes the map: then
            // the entry stays until user space finds no socket there.
            let _ = DWELL_SINCE.remove(address);
        } else {
            // SAFETY: as above.
            unsafe { found.write_volatile(entry) };
        }
        return;
    }
    // What a missed end left at this address is replaced.
    if enters != 0 && DWELL_SINCE.insert(address, entry, 0).is_err() {
        add(DWELL_OVERFLOW_CELL, 1);
    }
}

#[inline(always)]
fn count(state: u64, nanoseconds: u64) {
    add(dwell_cell(state as usize, DWELL_BUCKETS), nanoseconds / 1_000);
    add(dwell_cell(state as usize, dwell_bucket(nanoseconds)), 1);
}

#[inline(always)]
fn add(cell: usize, value: u64) {
    if let Some(row) = own_row(u64::from(DWELL_SLOT.load())) {
        let cell = bounded::<ROW_CELLS>(cell);
        // SAFETY: the cell is below ROW_CELLS, so the pointer stays inside the map's value.
        unsafe { add_to(row.add(cell), value) };
    }
}
