//! How many scopes of one kind found no room.

use tracing::warn;

/// A count since the start. The first one is logged, with the remedy.
#[derive(Debug)]
pub(super) struct Overflow {
    /// What the scopes are, in the plural.
    things: &'static str,
    /// `--scopes-max`
    max: usize,
    count: u64,
}

impl Overflow {
    pub(super) const fn new(things: &'static str, max: usize) -> Self {
        Self { things, max, count: 0 }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Counts one more.
    pub(super) fn add(&mut self) {
        if self.count == 0 {
            warn!(
                "more {} than --scopes-max={}: those that find no room count in the scope `other`; raise --scopes-max",
                self.things, self.max
            );
        }
        self.count += 1;
    }
}
