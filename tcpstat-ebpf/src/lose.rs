//! Loses events on purpose, as the kernel does: they are neither counted nor logged. For tests.

use aya_ebpf::{Global, helpers::bpf_get_prandom_u32};

/// The transition to lose: newstate in the lowest byte, oldstate in the second one; 0 for all transitions.
#[unsafe(no_mangle)]
pub(crate) static LOSE_TRANSITION: Global<u32> = Global::new(0);
/// One in this many is lost, at random; 0 for none.
#[unsafe(no_mangle)]
pub(crate) static LOSE_ONE_IN: Global<u32> = Global::new(0);

/// Not 0: what would be lost is counted as an event without a cell.
#[unsafe(no_mangle)]
pub(crate) static LOSE_AS_WITHOUT_CELL: Global<u32> = Global::new(0);

/// How an event is treated.
pub(crate) enum Fate {
    Counted,
    Lost,
    WithoutCell,
}

#[inline(always)]
pub(crate) fn fate(oldstate: u32, newstate: u32) -> Fate {
    let (wanted, one_in) = (LOSE_TRANSITION.load(), LOSE_ONE_IN.load());
    // SAFETY: the helper has no preconditions.
    let is_hit = one_in != 0
        && (wanted == 0 || wanted == oldstate << 8 | newstate)
        && unsafe { bpf_get_prandom_u32() } % one_in == 0;
    match (is_hit, LOSE_AS_WITHOUT_CELL.load()) {
        (false, _) => Fate::Counted,
        (true, 0) => Fate::Lost,
        (true, _) => Fate::WithoutCell,
    }
}
