//! When an iterator that failed is tried again, and which failures are worth a line in the log.

use std::time::{Duration, Instant};

/// Time until the next attempt after the kernel lacked memory or descriptors. Loading an iterator takes
/// some tens of milliseconds.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// When to try again after a failure; `None` for never. `temporary`: whether the kernel lacked memory or descriptors.
pub(super) fn retry_at(temporary: bool) -> Option<Instant> {
    temporary.then(|| Instant::now() + RETRY_INTERVAL)
}

/// The last failure. One is logged if its cause is new.
#[derive(Debug, Default)]
pub(super) struct LastFailure(Option<String>);

impl LastFailure {
    /// Notes a failure; whether its cause is new.
    pub(super) fn is_new(&mut self, cause: &str) -> bool {
        self.0.replace(cause.to_owned()).is_none_or(|before| before != cause)
    }

    /// Notes a success; whether it is the first one after a failure.
    pub(super) fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_new_unless_the_last_one_had_its_cause() {
        let mut last = LastFailure::default();
        assert!(!last.is_over());
        assert!(last.is_new("no memory"));
        assert!(!last.is_new("no memory"));
        assert!(last.is_new("refused"));
        assert!(last.is_over());
        assert!(!last.is_over());
        assert!(last.is_new("refused"));
    }
}
