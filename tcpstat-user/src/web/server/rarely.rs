//! What may happen very often, and is told rarely.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Between two lines of the log about the same.
const INTERVAL: Duration = Duration::from_secs(30);

/// Counts what happens between two lines about it.
#[derive(Debug, Default)]
pub(super) struct Rarely(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// How often it has happened since.
    times: u64,
}

impl Rarely {
    /// It happened. How often it has since the last line, where another is due.
    pub(super) fn tell(&self) -> Option<u64> {
        self.tell_at(Instant::now())
    }

    fn tell_at(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.times += 1;
        let due = told.at.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL);
        due.then(|| {
            told.at = Some(now);
            std::mem::take(&mut told.times)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_as_a_number() {
        let (rarely, start) = (Rarely::default(), Instant::now());
        let after = |seconds| rarely.tell_at(start + Duration::from_secs(seconds));
        assert_eq!(after(0), Some(1));
        assert_eq!(after(0), None);
        assert_eq!(after(29), None);
        assert_eq!(after(30), Some(3));
        assert_eq!(after(31), None);
    }
}
