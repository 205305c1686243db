//! Reads kernel memory by address, where the verifier accepts no typed read.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// The word at `offset` from `base`; 0 if it cannot be read.
#[inline(always)]
pub(crate) fn probe(base: u64, offset: u32) -> u64 {
    // SAFETY: the helper fails if an address cannot be read.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const u64) }.unwrap_or(0)
}

/// Reads half a word, as [`probe`] reads a word.
#[inline(always)]
pub(crate) fn probe_u32(base: u64, offset: u32) -> u32 {
    // SAFETY: as in `probe`.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const u32) }.unwrap_or(0)
}
