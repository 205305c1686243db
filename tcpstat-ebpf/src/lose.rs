//! Events that are lost on purpose, as the kernel loses them: neither counted nor logged.

use aya_ebpf::{Global, helpers::bpf_get_prandom_u32};

/// The transition to lose: oldstate in the second byte, newstate in the first; 0 for any.
#[unsafe(no_mangle)]
pub(crate) static LOSE_TRANSITION: Global<u32> = Global::new(0);
/// One in so many is lost; 0 for none.
#[unsafe(no_mangle)]
pub(crate) static LOSE_ONE_IN: Global<u32> = Global::new(0);

/// Whether this one is.
#[inline(always)]
pub(crate) fn lost(oldstate: u32, newstate: u32) -> bool {
    let (wanted, one_in) = (LOSE_TRANSITION.load(), LOSE_ONE_IN.load());
    // SAFETY: the helper has no preconditions.
    one_in != 0
        && (wanted == 0 || wanted == oldstate << 8 | newstate)
        && unsafe { bpf_get_prandom_u32() } % one_in == 0
}
