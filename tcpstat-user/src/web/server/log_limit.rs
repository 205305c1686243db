//! Limits how often a frequent event is logged.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Minimum time between two log lines about the event.
const INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(in crate::web) struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_line: Option<Instant>,
    /// Events since the last line.
    events: u64,
}

impl LogLimit {
    /// Counts one event. If a log line is due, returns the number of events since the last one.
    pub(in crate::web) fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.events += 1;
        let due = state.last_line.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL);
        due.then(|| {
            state.last_line = Some(now);
            std::mem::take(&mut state.events)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_logged_at_once_and_the_next_ones_as_a_number() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        let after = |seconds| limit.count_at(start + Duration::from_secs(seconds));
        assert_eq!(after(0), Some(1));
        assert_eq!(after(0), None);
        assert_eq!(after(29), None);
        assert_eq!(after(30), Some(3));
        assert_eq!(after(31), None);
    }
}
