//! The rows of this CPU, and how their cells change.

use core::{
    intrinsics::{AtomicOrdering, atomic_xadd},
    mem::transmute,
};

use aya_ebpf::bindings::bpf_func_id::BPF_FUNC_get_smp_processor_id;
use tcpstat_ebpf::{Row, row};

use crate::maps::{CPU_IDS, ROWS};

/// The cells of this slot and this CPU.
#[inline(always)]
pub(crate) fn own_row(slot: u64) -> Option<*mut u64> {
    ROWS.get_ptr_mut(row(slot, CPU_IDS.load() as usize, cpu()) as u32).map(<*mut Row>::cast)
}

/// The id of this CPU.
///
/// `bpf_get_smp_processor_id` of aya returns a `u32`, which takes three more instructions to widen. A helper
/// returns a word.
#[inline(always)]
pub(crate) fn cpu() -> usize {
    // SAFETY: the kernel replaces a call of this number by its helper, which has no preconditions.
    unsafe {
        let helper: extern "C" fn() -> usize = transmute(BPF_FUNC_get_smp_processor_id as usize);
        helper()
    }
}

/// Adds to a counter. It is atomic also where the counter belongs to this CPU: a softirq can interrupt between load and
/// store.
///
/// # Safety
/// `cell` is inside a map's value.
#[inline(always)]
pub(crate) unsafe fn add_to(cell: *mut u64, value: u64) {
    // SAFETY: as the function's.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(cell, value) };
}
