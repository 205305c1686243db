//! A bounded set of the latest values.

use std::collections::VecDeque;

/// The latest values that were added, at most `most`; the oldest makes room.
#[derive(Debug)]
pub(super) struct Recent<T> {
    most: usize,
    values: VecDeque<T>,
}

impl<T: PartialEq> Recent<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, values: VecDeque::with_capacity(most) }
    }

    pub(super) fn contains(&self, value: &T) -> bool {
        self.values.contains(value)
    }

    pub(super) fn add(&mut self, value: T) {
        if self.values.contains(&value) {
            return;
        }
        if self.values.len() >= self.most {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_value_makes_room_and_none_is_there_twice() {
        let mut recent = Recent::new(2);
        for value in [1, 2, 2, 1, 3] {
            recent.add(value);
        }
        assert_eq!([1, 2, 3].map(|value| recent.contains(&value)), [false, true, true]);
    }
}
