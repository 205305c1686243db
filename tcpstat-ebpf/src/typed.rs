//! Typed loads from kernel structures, at the offsets that user space took from the kernel's BTF.

use aya_ebpf::Global;

/// Reads the `T` at `base + offset`.
///
/// # Safety
/// `base` points to a kernel structure that has a `T` there; the verifier checks it against BTF.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(base: *const u8, offset: &Global<u32>) -> T {
    // SAFETY: as the function's; unaligned, since addresses are byte arrays here.
    unsafe { base.add(offset.load() as usize).cast::<T>().read() }
}
