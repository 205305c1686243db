//! Which slot counts the sockets of a network namespace.
//!
//! The exporter's own namespace is a comparison with a constant. The others are found as [`assigned`] describes.

use aya_ebpf::maps::{Array, HashMap, Queue};
use tcpstat_ebpf::{Control, NetnsKey, OWN_SLOT};

use crate::{
    assigned::SlotMaps,
    maps::{FREE_SLOTS, NETNS_INUM, NETNS_KEY, NETNS_SLOTS, NETNS_TAGS},
};

/// The slot of the namespace with this inode number; `None` if it is not counted. `cookie` reads its cookie.
#[inline(always)]
pub(crate) fn slot(inum: u32, cookie: impl FnOnce() -> Option<u64>) -> Option<u64> {
    if inum == NETNS_INUM.load() {
        return Some(OWN_SLOT);
    }
    // A constant to the verifier: it removes the branches that cannot run.
    let kind = NETNS_KEY.load();
    if kind == NetnsKey::Off as u32 {
        return None;
    }
    let key = if kind == NetnsKey::Cookie as u32 { cookie()? } else { u64::from(inum) };
    Some(
        NetnsMaps::tagged(key)
            .or_else(|| NetnsMaps::known(key))
            .unwrap_or_else(|| NetnsMaps::assign(key)),
    )
}

struct NetnsMaps;

impl SlotMaps for NetnsMaps {
    #[inline(always)]
    fn tags() -> &'static Array<u64> {
        &NETNS_TAGS
    }

    #[inline(always)]
    fn slots() -> &'static HashMap<u64, u64> {
        &NETNS_SLOTS
    }

    #[inline(always)]
    fn free() -> &'static Queue<u64> {
        &FREE_SLOTS
    }

    #[inline(always)]
    unsafe fn assigned(control: *mut Control) -> *mut u64 {
        // SAFETY: as the function's.
        unsafe { &raw mut (*control).netns_assigned }
    }
}
