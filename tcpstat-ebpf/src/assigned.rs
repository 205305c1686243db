//! Which slot counts the sockets with a key, for a kind of scope whose keys are not known before the first event.
//!
//! A slot is found by its tag, one load from an array. Without a tag it is found in a hash map, which costs ten
//! times as much. User space makes the tags from that map. If a key is not in the map either, the program gives it
//! a slot at once, so no event is lost until user space learns of it.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    maps::{Array, HashMap, Queue},
};
use tcpstat_ebpf::{Control, OTHER_SLOT, tag_index, tagged_slot};

use crate::{maps::CONTROL, this_cpu::add_to};

/// The maps of one kind of scope. A program asks [`SlotMaps::tagged`], then [`SlotMaps::known`], then
/// [`SlotMaps::assign`]. It writes that out: the compiler would copy the code of one function that does.
pub(crate) trait SlotMaps {
    fn tags() -> &'static Array<u64>;
    fn slots() -> &'static HashMap<u64, u64>;
    fn free() -> &'static Queue<u64>;

    /// The member of [`Control`] that counts the keys that have got a slot.
    ///
    /// # Safety
    /// The pointer is to an entry of `CONTROL`.
    unsafe fn assigned(control: *mut Control) -> *mut u64;

    /// The slot of this key by its tag.
    #[inline(always)]
    fn tagged(key: u64) -> Option<u64> {
        let tag = Self::tags().get_ptr(tag_index(key))?;
        // SAFETY: the pointer is to an entry of the map, a word that user space changes while programs run.
        tagged_slot(unsafe { tag.read_volatile() }, key)
    }

    /// The slot of this key by the hash map.
    #[inline(always)]
    fn known(key: u64) -> Option<u64> {
        // SAFETY: the value is one number. Its entry can be removed and used again meanwhile; user space does
        // that only when the scope is gone and has no sockets.
        Self::slots().get_ptr(key).map(|slot| unsafe { *slot })
    }

    /// Gives a slot to a key that has none: a free one, else [`OTHER_SLOT`].
    ///
    /// The key keeps [`OTHER_SLOT`] when another slot becomes free: the sockets that it has are counted there.
    /// If another CPU is faster, its slot stays. If the hash map is full the event is counted in [`OTHER_SLOT`],
    /// and the next one tries again. A slot that cannot be returned to the queue is lost until user space compares
    /// the queue with the hash map.
    #[inline(always)]
    fn assign(key: u64) -> u64 {
        let free = Self::free().pop().ok().flatten();
        let slot = free.unwrap_or(OTHER_SLOT);
        if Self::slots().insert(key, slot, u64::from(BPF_NOEXIST)).is_ok() {
            Self::announce();
            return slot;
        }
        if free.is_some() {
            // It fails only if another program of this CPU was interrupted inside the queue.
            let _ = Self::free().push(slot, 0);
        }
        Self::known(key).unwrap_or(OTHER_SLOT)
    }

    /// Says that the hash map has a new key. User space reads that in mapped memory: a system call that reads
    /// the map makes the kernel skip programs of a classic tracepoint on its CPU meanwhile.
    #[inline(always)]
    fn announce() {
        if let Some(control) = CONTROL.get_ptr_mut(0) {
            // SAFETY: the pointer is to the map's only entry.
            unsafe { add_to(Self::assigned(control), 1) };
        }
    }
}
