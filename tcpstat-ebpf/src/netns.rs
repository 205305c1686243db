//! Which slot counts the sockets of a network namespace.
//!
//! The exporter's own namespace is a comparison with a constant. Another one is found by its tag, one load from
//! an array. Without a tag it is found in a hash map, which costs ten times as much. User space makes the tags
//! from that map. If a namespace is not in the map either, the program gives it a slot at once, so no event is
//! lost until user space learns of it.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpstat_ebpf::{NetnsKey, OTHER_SLOT, OWN_SLOT, tag_index, tagged_slot};

use crate::maps::{CONTROL, FREE_SLOTS, NETNS_INUM, NETNS_KEY, NETNS_SLOTS, NETNS_TAGS};

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
    Some(tagged(key).or_else(|| known(key)).unwrap_or_else(|| assign(key)))
}

#[inline(always)]
fn tagged(key: u64) -> Option<u64> {
    let tag = NETNS_TAGS.get_ptr(tag_index(key))?;
    // SAFETY: the pointer is to an entry of the map, a word that user space changes while programs run.
    tagged_slot(unsafe { tag.read_volatile() }, key)
}

#[inline(always)]
fn known(key: u64) -> Option<u64> {
    // SAFETY: the value is one number. Its entry can be removed and used again meanwhile; user space does that
    // only when the namespace is gone and has no sockets.
    NETNS_SLOTS.get_ptr(key).map(|slot| unsafe { *slot })
}

/// Gives a slot to a namespace that has none: a free one, else [`OTHER_SLOT`].
///
/// The namespace keeps [`OTHER_SLOT`] when another one becomes free: the sockets that it has are counted there.
/// If another CPU is faster, its slot stays. If the hash map is full the event is counted in [`OTHER_SLOT`], and
/// the next one tries again. A slot that cannot be returned to the queue is lost until user space compares the
/// queue with the hash map.
#[inline(always)]
fn assign(key: u64) -> u64 {
    let free = FREE_SLOTS.pop().ok().flatten();
    let slot = free.unwrap_or(OTHER_SLOT);
    if NETNS_SLOTS.insert(key, slot, u64::from(BPF_NOEXIST)).is_ok() {
        announce();
        return slot;
    }
    if free.is_some() {
        // It fails only if another program of this CPU was interrupted inside the queue.
        let _ = FREE_SLOTS.push(slot, 0);
    }
    known(key).unwrap_or(OTHER_SLOT)
}

/// Says that the hash map has a new namespace. User space reads that in mapped memory: a system call that reads
/// the map makes the kernel skip programs of a classic tracepoint on its CPU meanwhile.
#[inline(always)]
fn announce() {
    if let Some(control) = CONTROL.get_ptr_mut(0) {
        // SAFETY: the pointer is to the map's only entry.
        unsafe {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(
                &raw mut (*control).netns_assigned,
                1,
            )
        };
    }
}
