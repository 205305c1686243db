//! How often names are read again.

use std::time::{Duration, Instant};

/// A twentieth of the time at most is for reading names, because the transitions wait meanwhile.
const SHARE: u32 = 20;

/// The shortest time between two readings.
const SHORTEST: Duration = Duration::from_millis(10);

/// Allows a reading when the last one was long enough ago for what it took.
#[derive(Debug, Default)]
pub(super) struct Pace {
    next: Option<Instant>,
}

impl Pace {
    pub(super) fn allows(&self) -> bool {
        self.next.is_none_or(|next| Instant::now() >= next)
    }

    /// Notes a reading that began at `start` and has ended.
    pub(super) fn ended(&mut self, start: Instant) {
        self.next = Some(Instant::now() + SHORTEST.max(start.elapsed() * SHARE));
    }
}
