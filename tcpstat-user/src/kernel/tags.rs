//! The tags of namespaces: an array in memory that the kernel shares, in which programs find most slots.

use std::{
    io,
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};
use tcpstat_ebpf::{TAGS, tag, tag_index};

use super::{counters::first_word, slot::Slot};

/// The map `NETNS_TAGS` in writable memory. Only this process writes it.
///
/// A tag is one word, which programs load at once: see `tcpstat_ebpf::tag`. A program that read a tag can still
/// use it after it is removed, until all programs that run now have ended.
#[derive(Debug)]
pub(super) struct Tags {
    map: MmapRaw,
}

const BYTES: usize = TAGS as usize * size_of::<u64>();

impl Tags {
    /// # Errors
    /// The error of mmap(2).
    pub(super) fn map(tags: impl AsFd) -> io::Result<Self> {
        Ok(Self { map: MmapOptions::new().len(BYTES).map_raw(&tags.as_fd())? })
    }

    /// Makes a tag for the namespace with this key. Returns whether it has one then: there is one place for it,
    /// which the tag of another namespace keeps. Without a tag the programs find the slot in the hash map.
    pub(super) fn place(&self, key: u64, slot: Slot) -> bool {
        let Some(tag) = tag(key, slot.number()) else { return false };
        let place = self.word(key);
        let is_free = [0, tag].contains(&place.load(Ordering::Relaxed));
        if is_free {
            place.store(tag, Ordering::Relaxed);
        }
        is_free
    }

    /// Removes the tag of this namespace, if it has one.
    pub(super) fn remove(&self, key: u64, slot: Slot) {
        let place = self.word(key);
        if tag(key, slot.number()) == Some(place.load(Ordering::Relaxed)) {
            place.store(0, Ordering::Relaxed);
        }
    }

    fn word(&self, key: u64) -> &AtomicU64 {
        // SAFETY: an index is below TAGS; the mapped memory has as many words, and lives as long as `self`. The
        // kernel only loads them.
        unsafe { &*first_word(&self.map).add(tag_index(key) as usize) }
    }
}

#[cfg(test)]
mod tests {
    use memmap2::MmapMut;
    use tcpstat_ebpf::{row, tagged_slot};

    use super::*;

    impl Tags {
        /// In memory that no program reads.
        fn anonymous() -> Self {
            Self { map: MmapMut::map_anon(BYTES).unwrap().into() }
        }

        /// The slot that a program finds.
        fn slot(&self, key: u64) -> Option<Slot> {
            let tag = self.word(key).load(Ordering::Relaxed);
            tagged_slot(tag, key).map(Slot::from_number)
        }
    }

    const CPU_BATCH: u64 = 4096;

    /// The first key from `first` on that has its place where `other` has it.
    fn collision(other: u64, first: u64) -> u64 {
        let mut others = (first..first + 100_000).filter(|&key| key != other);
        others.find(|&key| tag_index(key) == tag_index(other)).unwrap()
    }

    fn slot(number: u64) -> Slot {
        Slot::from_number(number)
    }

    #[test]
    fn a_tag_gives_its_slot_to_its_key_alone() {
        let tags = Tags::anonymous();
        for key in [1, CPU_BATCH + 1, 0xf000_0001, (1 << 48) - 1] {
            assert_eq!(tags.slot(key), None, "{key} before");
            assert!(tags.place(key, slot(0xfffe)));
            assert_eq!(tags.slot(key), Some(slot(0xfffe)), "{key}");
            let other = collision(key, 1);
            assert_eq!(tags.slot(other), None, "{other} is at the place of {key}");
            tags.remove(key, slot(0xfffe));
            assert_eq!(tags.slot(key), None, "{key} after");
        }
    }

    #[test]
    fn the_first_of_two_namespaces_keeps_their_place_until_its_tag_is_removed() {
        let tags = Tags::anonymous();
        let (first, second) = (7, collision(7, 8));
        assert!(tags.place(first, slot(2)));
        assert!(!tags.place(second, slot(3)), "{second} has no other place");
        assert_eq!((tags.slot(first), tags.slot(second)), (Some(slot(2)), None));
        assert!(tags.place(first, slot(2)), "a tag can be made again");

        tags.remove(second, slot(3));
        assert_eq!(tags.slot(first), Some(slot(2)), "only its own tag is removed");
        tags.remove(first, slot(2));
        assert!(tags.place(second, slot(3)));
        assert_eq!((tags.slot(first), tags.slot(second)), (None, Some(slot(3))));
    }

    #[test]
    fn what_does_not_fit_into_a_tag_has_none() {
        let tags = Tags::anonymous();
        for (key, number) in [(0, 2), (1 << 48, 2), (u64::MAX, 2), (1, 1 << 16)] {
            assert!(!tags.place(key, slot(number)), "{key}, {number}");
        }
        assert_eq!((tags.slot(1 << 48), tags.slot(u64::MAX)), (None, None));
    }

    #[test]
    fn three_of_four_namespaces_have_a_tag_at_the_largest_number_of_slots() {
        // 256 namespaces, made on four CPUs in turn; and on a kernel that identifies them by dense numbers.
        let by_cookie = (0..256).map(|number| number % 4 * CPU_BATCH + 1 + number / 4);
        let by_inum = (0..256).map(|number| 0xf000_0000 + number);
        for keys in [by_cookie.collect::<Vec<u64>>(), by_inum.collect()] {
            let tags = Tags::anonymous();
            let placed = keys.iter().filter(|&&key| tags.place(key, slot(key % 256))).count();
            assert!(placed >= 192, "{placed} of 256 have a tag");
        }
    }

    #[test]
    fn rows_of_slots_and_cpus_do_not_overlap() {
        for (slots, cpus) in [(1, 1), (3, 2), (32, 256)] {
            let rows = (0..slots).flat_map(|slot| (0..cpus).map(move |cpu| row(slot, cpus, cpu)));
            assert!(rows.eq(0..usize::try_from(slots).unwrap() * cpus), "{slots}, {cpus}");
        }
        assert_eq!(row(2, 4, 4), row(2, 4, 0), "a CPU id that is too high");
        assert_eq!(row(2, 4, usize::MAX), row(2, 4, 0));
    }
}
