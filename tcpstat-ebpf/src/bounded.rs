//! Indexes that the verifier accepts.

/// Bounds `index` by an instruction that the compiler cannot remove. The compiler knows that the index is in
/// bounds; the verifier does not, and would refuse the access.
#[inline(always)]
pub(crate) fn bounded<const LENGTH: usize>(mut index: usize) -> usize {
    const { assert!(LENGTH.is_power_of_two()) };
    // SAFETY: one instruction changes one register.
    unsafe {
        core::arch::asm!("{index} &= {mask}", index = inout(reg) index, mask = const LENGTH - 1);
    }
    index
}
