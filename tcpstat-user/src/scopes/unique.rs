//! Label values that differ, for namespaces that would have the same.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The names that are in use.
///
/// Two namespaces can want one name: two containers with the same first 12 digits, two pods of one name
/// where the first is still ending, an `ip netns` name like that of a container. The first that asks gets
/// the name, each later one gets `NAME@INODE`. A namespace keeps its name until it wants another one or
/// ends, so that a series does not change its labels because another one ends. The host's namespace asks
/// first.
#[derive(Clone, Debug, Default)]
pub struct UniqueNames {
    /// By the key of the namespace: the name that it wants, and the one that it has.
    given: HashMap<u64, (String, Arc<str>)>,
    taken: HashSet<Arc<str>>,
}

impl UniqueNames {
    /// No name is in use yet. Those of `reserved` are never assigned: label values with a meaning of their
    /// own, such as `other`.
    #[must_use]
    pub fn new(reserved: &[&str]) -> Self {
        let taken = reserved.iter().map(|&name| name.into()).collect();
        Self { given: HashMap::new(), taken }
    }

    /// The name of the namespace `key`, which wants `wanted` and has this inode: the same as long as it
    /// wants the same.
    ///
    /// `key` is what identifies a namespace for good: its cookie. A table has an entry for each key until
    /// [`Self::release`].
    pub fn name(&mut self, key: u64, wanted: &str, inode: u64) -> Arc<str> {
        if let Some((_, name)) = self.given.get(&key).filter(|(before, _)| before == wanted) {
            return Arc::clone(name);
        }
        self.release(key);
        let name = self.free(wanted, inode);
        self.taken.insert(Arc::clone(&name));
        self.given.insert(key, (wanted.to_owned(), Arc::clone(&name)));
        name
    }

    /// Frees the name of a namespace that has ended.
    pub fn release(&mut self, key: u64) {
        if let Some((_, name)) = self.given.remove(&key) {
            self.taken.remove(&name);
        }
    }

    /// The first form of `wanted` that is free. There is one: each form is another one.
    fn free(&self, wanted: &str, inode: u64) -> Arc<str> {
        let is_free = |name: &str| !name.is_empty() && !self.taken.contains(name);
        if is_free(wanted) {
            return wanted.into();
        }
        let mut name = format!("{wanted}@{inode}");
        let mut number = 2_u64;
        while !is_free(&name) {
            name = format!("{wanted}@{inode}.{number}");
            number += 1;
        }
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_has_the_name_and_keeps_it() {
        let mut names = UniqueNames::new(&["other"]);
        assert_eq!(&*names.name(1, "web", 401), "web");
        assert_eq!(&*names.name(2, "web", 402), "web@402");
        names.release(1);
        assert_eq!(&*names.name(2, "web", 402), "web@402", "a series keeps its labels");
        assert_eq!(&*names.name(3, "web", 403), "web");
        assert_eq!(&*names.name(4, "other", 404), "other@404");
        assert_eq!(&*names.name(5, "", 405), "@405");
    }

    #[test]
    fn a_namespace_that_becomes_known_gets_its_name() {
        let mut names = UniqueNames::default();
        assert_eq!(&*names.name(1, "4026532345", 4_026_532_345), "4026532345");
        assert_eq!(&*names.name(1, "shop/web", 4_026_532_345), "shop/web");
        assert_eq!(&*names.name(2, "4026532345", 7), "4026532345");
        names.release(1);
        names.release(2);
        names.release(3);
        assert!(names.given.is_empty() && names.taken.is_empty());
    }

    #[test]
    fn a_name_that_imitates_a_suffix_stays_distinct() {
        let mut names = UniqueNames::default();
        let given = [
            names.name(1, "web@402", 400),
            names.name(2, "web", 401),
            names.name(3, "web", 402),
            names.name(4, "web", 402),
        ];
        assert_eq!(
            given.map(|name| name.to_string()),
            ["web@402", "web", "web@402.2", "web@402.3"]
        );
    }

    proptest! {
        #[test]
        fn live_names_differ_and_nothing_is_left_of_ended_ones(
            steps in proptest::collection::vec((0_u64..8, "[ab@1]{0,3}", 0_u64..3, any::<bool>()), 0..60),
        ) {
            let mut names = UniqueNames::new(&["a"]);
            for (key, wanted, inode, ends) in steps {
                if ends {
                    names.release(key);
                } else {
                    prop_assert_ne!(&*names.name(key, &wanted, inode), "a");
                }
                let live: HashSet<_> = names.given.values().map(|(_, name)| name).collect();
                prop_assert_eq!(live.len(), names.given.len());
                prop_assert_eq!(names.taken.len(), names.given.len() + 1);
            }
        }
    }
}
