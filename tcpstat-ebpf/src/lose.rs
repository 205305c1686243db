//! Loses events on purpose, as the kernel does: they are neither counted nor logged. For tests.

use aya_ebpf::{Global, helpers::bpf_get_prandom_u32};

/// The transition to lose: newstate in the lowest byte, oldstate in the second one; 0 for all transitions.
#[unsafe(no_mangle)]
pub(crate) static LOSE_TRANSITION: Global<u32> = Global::new(0);
/// One in this many is lost, at random; 0 for none.
#[unsafe(no_mangle)]
pub(crate) static LOSE_ONE_IN: Global<u32> = Global::new(0);

#[inline(always)]
pub(crate) fn is_lost(oldstate: u32, newstate: u32) -> bool {
    let (wanted, one_in) = (LOSE_TRANSITION.load(), LOSE_ONE_IN.load());
    // SAFETY: the helper has no preconditions.
    one_in != 0
        && (wanted == 0 || wanted == oldstate << 8 | newstate)
        && unsafe { bpf_get_prandom_u32() } % one_in == 0
}
