//! The namespaces with sockets that no event has shown.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use super::NetnsKey;

/// The most namespaces that are remembered.
const MAX: usize = 10_000;

/// Namespaces that may have sockets of which the tracer has seen no event: their counts do not begin at 0.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    keys: HashSet<NetnsKey>,
    /// Whether some had no room.
    full: bool,
    /// The inode numbers of the namespaces in which processes hold sockets; `None` if that is not known.
    held: Option<HashMap<NetnsKey, u32>>,
    /// Whether [`Self::held`] is of a reading that [`Self::take_held`] has not given.
    fresh: bool,
}

impl Unseen {
    /// Notes that this one may have such sockets.
    pub(super) fn note(&mut self, key: NetnsKey) {
        if self.keys.len() < MAX {
            self.keys.insert(key);
        } else {
            self.full |= !self.keys.contains(&key);
        }
    }

    /// Takes what a reading has shown: processes hold sockets in these namespaces, which have these inode numbers, and in no
    /// others. `is_counted` says of which the sockets are counted.
    pub(super) fn know_held(
        &mut self,
        held: HashMap<NetnsKey, u32>,
        is_counted: impl Fn(NetnsKey) -> bool,
    ) {
        let was_full = mem::take(&mut self.full);
        if was_full {
            self.keys.clear();
        }
        if was_full || self.held.is_none() {
            held.keys().filter(|&&key| !is_counted(key)).for_each(|&key| self.note(key));
        }
        self.held = Some(held);
        self.fresh = true;
    }

    /// The namespaces in which processes hold sockets, with their inode numbers: once for each reading, because they can end
    /// after it.
    pub(super) fn take_held(&mut self) -> Vec<(NetnsKey, u64)> {
        let held = self.held.iter().filter(|_| self.fresh).flatten();
        let held = held.map(|(&key, &inum)| (key, inum.into())).collect();
        self.fresh = false;
        held
    }

    /// Notes that the last reading says nothing about this one any more: its process has ended, or its sockets have.
    pub(super) fn forget_held(&mut self, key: NetnsKey) {
        if let Some(held) = &mut self.held {
            held.remove(&key);
        }
    }

    /// The inode number of a namespace in which processes hold sockets, as far as that is known.
    pub(super) fn held_inode(&self, key: NetnsKey) -> Option<u64> {
        self.held.as_ref()?.get(&key).map(|&inum| inum.into())
    }

    /// Takes note of a namespace that is to be counted from now on: `is_listed` if a snapshot can list it. Returns whether
    /// the events show all its sockets.
    ///
    /// One without a process is new only if it is known what processes elsewhere held before.
    pub(super) fn begin(&mut self, key: NetnsKey, is_listed: bool) -> bool {
        if is_listed {
            return !self.keys.remove(&key) && !self.full;
        }
        let is_new = self.held.is_some() && !self.full && !self.keys.contains(&key);
        if !is_new {
            self.note(key);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(keys: impl IntoIterator<Item = NetnsKey>) -> HashMap<NetnsKey, u32> {
        keys.into_iter().map(|key| (key, 70)).collect()
    }

    #[test]
    fn a_namespace_without_a_process_is_new_unless_its_sockets_can_be_older() {
        let mut unseen = Unseen::default();
        assert!(!unseen.begin(1, false), "processes may hold sockets in it");
        assert_eq!(unseen.held_inode(1), None, "that is not known");
        unseen.know_held(held([1, 2, 3]), |key| key == 3);
        for (key, is_new, inode) in
            [(1, false, Some(70)), (2, false, Some(70)), (3, true, Some(70)), (4, true, None)]
        {
            assert_eq!(unseen.begin(key, false), is_new, "{key}");
            assert_eq!(unseen.held_inode(key), inode, "{key}");
        }
    }

    #[test]
    fn what_a_snapshot_lists_is_seen_afterwards() {
        let mut unseen = Unseen::default();
        unseen.know_held(held([1]), |_| false);
        assert!(!unseen.begin(1, true), "the snapshot is its seed");
        assert!(unseen.begin(1, true));
        assert!(unseen.begin(1, false));
    }

    #[test]
    fn sockets_that_a_reading_has_missed_are_as_old_as_before() {
        let mut unseen = Unseen::default();
        unseen.know_held(held([1, 2]), |_| false);
        unseen.know_held(held([2, 3]), |_| false);
        for (key, is_new) in [(1, false), (2, false), (3, true)] {
            assert_eq!(unseen.begin(key, false), is_new, "{key}");
        }
    }

    #[test]
    fn what_a_reading_has_shown_is_given_once_and_without_what_has_ended() {
        let mut unseen = Unseen::default();
        assert_eq!(unseen.take_held(), []);
        unseen.know_held(held([1, 2]), |_| true);
        unseen.forget_held(1);
        assert_eq!((unseen.held_inode(1), unseen.held_inode(2)), (None, Some(70)));
        assert_eq!(unseen.take_held(), [(2, 70)]);
        assert_eq!(unseen.take_held(), []);
    }

    #[test]
    fn beyond_the_most_no_namespace_is_new_until_it_is_known_what_is_held() {
        let mut unseen = Unseen::default();
        let most = MAX as NetnsKey;
        unseen.know_held(held(0..most), |_| false);
        assert!(unseen.begin(most, false));
        unseen.note(most);
        assert_eq!(unseen.keys.len(), MAX);
        for is_listed in [false, true] {
            assert!(!unseen.begin(most + 1, is_listed));
        }
        unseen.know_held(held([7, most]), |_| false);
        for (key, is_new) in [(6, true), (7, false), (most, false), (most + 1, true)] {
            assert_eq!(unseen.begin(key, false), is_new, "{key}");
        }
    }
}
