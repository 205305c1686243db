//! The most frequent of many keys, in bounded memory (Misra and Gries, 1982).

use std::{collections::HashMap, hash::Hash};

/// Counts keys, at most so many at once.
///
/// A key that is more than one in `most` of all is certainly in it. Counts are exact as long as there were no more keys
/// than that; afterwards they are too low by [`Frequent::error`] at most, and [`Frequent::recount`] begins to count those
/// that are left.
#[derive(Clone, Debug)]
pub(crate) struct Frequent<K> {
    counts: HashMap<K, u64, foldhash::fast::RandomState>,
    most: usize,
    error: u64,
}

impl<K: Copy + Eq + Hash + Ord> Frequent<K> {
    pub(crate) fn new(most: usize) -> Self {
        Self { counts: HashMap::default(), most, error: 0 }
    }

    pub(crate) fn add(&mut self, key: K) {
        if let Some(count) = self.counts.get_mut(&key) {
            *count += 1;
        } else if self.counts.len() < self.most {
            self.counts.insert(key, 1);
        } else {
            self.error += 1;
            self.counts.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }

    /// Whether every key has been counted.
    pub(crate) fn is_exact(&self) -> bool {
        self.error() == 0
    }

    /// How much too low a count can be: at most one in `most` + 1 of all keys that were added.
    pub(crate) fn error(&self) -> u64 {
        self.error
    }

    /// The most frequent key; of several the smallest one. `None` if no key is in it.
    pub(crate) fn first(&self) -> Option<(K, u64)> {
        let each = self.counts.iter().map(|(&key, &count)| (key, count));
        each.max_by(|(one, count), (other, others)| count.cmp(others).then(other.cmp(one)))
    }

    /// Sets all counts to 0. Only the keys that are in it now are counted by [`Frequent::count`].
    pub(crate) fn recount(&mut self) {
        self.counts.values_mut().for_each(|count| *count = 0);
    }

    /// Counts a key, if it is in it.
    pub(crate) fn count(&mut self, key: K) {
        if let Some(count) = self.counts.get_mut(&key) {
            *count += 1;
        }
    }

    /// The `first` most frequent keys, and how many others there are.
    pub(crate) fn top(&self, first: usize) -> (Vec<(K, u64)>, usize) {
        let mut all: Vec<_> = self.counts.iter().map(|(&key, &count)| (key, count)).collect();
        all.sort_unstable_by(|(one, count), (other, others)| {
            others.cmp(count).then(one.cmp(other))
        });
        let more = all.len().saturating_sub(first);
        all.truncate(first);
        (all, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_few_keys_are_exact() {
        let mut frequent = Frequent::new(3);
        for key in [5, 7, 5, 6, 5, 6] {
            frequent.add(key);
        }
        assert!(frequent.is_exact());
        assert_eq!(frequent.top(2), (vec![(5, 3), (6, 2)], 1));
        assert_eq!(frequent.top(9), (vec![(5, 3), (6, 2), (7, 1)], 0));
    }

    #[test]
    fn a_frequent_key_is_found_among_many_and_counted_exactly() {
        let keys = || (0..10_000_u32).map(|at| if at % 50 == 0 { 7 } else { 1000 + at });
        let mut frequent = Frequent::new(100);
        keys().for_each(|key| frequent.add(key));
        assert!(!frequent.is_exact());
        assert!(frequent.counts.len() <= 100);
        frequent.recount();
        keys().for_each(|key| frequent.count(key));
        assert_eq!(frequent.top(1).0, [(7, 200)]);
    }

    #[test]
    fn the_first_key_is_the_smallest_of_the_most_frequent() {
        let mut frequent = Frequent::new(4);
        assert_eq!(frequent.first(), None);
        for key in [9, 5, 7, 7, 5, 6] {
            frequent.add(key);
        }
        assert_eq!(frequent.first(), Some((5, 2)));
        assert_eq!(frequent.error(), 0);
    }

    #[test]
    fn a_count_is_too_low_by_no_more_than_the_error_which_has_a_bound() {
        let (most, all) = (16_usize, 20_000_u64);
        let mut frequent = Frequent::new(most);
        for at in 0..all {
            frequent.add(if at % 4 == 0 { 7 } else { 1000 + at });
            assert!(frequent.counts.len() <= most);
        }
        let (key, count) = frequent.first().unwrap();
        assert_eq!(key, 7);
        assert!(count < all / 4, "the keys are too many for exact counts");
        assert!(count + frequent.error() >= all / 4, "{count} {}", frequent.error());
        assert!(frequent.error() <= all / (most as u64 + 1), "{}", frequent.error());
    }
}
