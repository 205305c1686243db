//! The namespaces with sockets that no event has shown.

use std::{collections::HashSet, mem};

use super::NetnsKey;

/// The most namespaces that are remembered.
const MAX: usize = 10_000;

/// Namespaces that may have sockets of which the tracer has seen no event: their counts do not begin at 0.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    keys: HashSet<NetnsKey>,
    /// Whether some had no room.
    full: bool,
    /// Whether it is known where processes hold sockets.
    has_held: bool,
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

    /// Takes what a reading has shown: processes hold sockets in these namespaces, and in no others. `is_counted` says of
    /// which the sockets are counted.
    pub(super) fn know_held(
        &mut self,
        held: &HashSet<NetnsKey>,
        is_counted: impl Fn(NetnsKey) -> bool,
    ) {
        self.keys.retain(|key| held.contains(key));
        let was_full = mem::take(&mut self.full);
        if !mem::replace(&mut self.has_held, true) || was_full {
            let others = held.iter().filter(|&&key| !is_counted(key));
            others.for_each(|&key| self.note(key));
        }
    }

    /// Whether processes may hold such sockets in it still.
    pub(super) fn is_held(&self, key: NetnsKey) -> bool {
        self.has_held && self.keys.contains(&key)
    }

    /// Takes note of a namespace that is to be counted from now on: `is_listed` if a snapshot can list it. Returns whether
    /// the events show all its sockets.
    ///
    /// One without a process is new only if it is known what processes elsewhere held before.
    pub(super) fn begin(&mut self, key: NetnsKey, is_listed: bool) -> bool {
        if is_listed {
            return !self.keys.remove(&key) && !self.full;
        }
        let is_new = self.has_held && !self.full && !self.keys.contains(&key);
        if !is_new {
            self.note(key);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(keys: impl IntoIterator<Item = NetnsKey>) -> HashSet<NetnsKey> {
        keys.into_iter().collect()
    }

    #[test]
    fn a_namespace_without_a_process_is_new_unless_its_sockets_can_be_older() {
        let mut unseen = Unseen::default();
        assert!(!unseen.begin(1, false), "processes may hold sockets in it");
        assert!(!unseen.is_held(1), "that is not known");
        unseen.know_held(&held([1, 2, 3]), |key| key == 3);
        for (key, is_new) in [(1, false), (2, false), (3, true), (4, true)] {
            assert_eq!(unseen.begin(key, false), is_new, "{key}");
            assert_eq!(unseen.is_held(key), !is_new, "{key}");
        }
    }

    #[test]
    fn what_a_snapshot_lists_is_seen_afterwards() {
        let mut unseen = Unseen::default();
        unseen.know_held(&held([1]), |_| false);
        assert!(!unseen.begin(1, true), "the snapshot is its seed");
        assert!(unseen.begin(1, true));
        assert!(unseen.begin(1, false));
    }

    #[test]
    fn what_no_process_holds_any_more_is_new_when_it_comes_again() {
        let mut unseen = Unseen::default();
        unseen.know_held(&held([1, 2]), |_| false);
        unseen.know_held(&held([2, 3]), |_| false);
        for (key, is_new) in [(1, true), (2, false), (3, true)] {
            assert_eq!(unseen.begin(key, false), is_new, "{key}");
        }
    }

    #[test]
    fn beyond_the_most_no_namespace_is_new_until_it_is_known_what_is_held() {
        let mut unseen = Unseen::default();
        let most = MAX as NetnsKey;
        unseen.know_held(&held(0..most), |_| false);
        assert!(unseen.begin(most, false));
        unseen.note(most);
        assert_eq!(unseen.keys.len(), MAX);
        for is_listed in [false, true] {
            assert!(!unseen.begin(most + 1, is_listed));
        }
        unseen.know_held(&held([7, most]), |_| false);
        for (key, is_new) in [(6, true), (7, false), (most, false), (most + 1, true)] {
            assert_eq!(unseen.begin(key, false), is_new, "{key}");
        }
    }
}
