//! A bound on the CPU time that some work takes. No clock: times are parameters.

use std::time::{Duration, Instant};

/// A share of the time of one CPU. Time that is not used is saved, up to a limit.
///
/// In any span of time, the work takes at most its share of the span, the savings, and what the last piece of
/// work takes: a piece begins if there is anything left, and is never interrupted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// The work takes at most this fraction of the time: 1 / `share`.
    share: u32,
    max_savings: Duration,
    /// When the share alone has paid for the work so far.
    paid_at: Instant,
}

impl Budget {
    /// A budget that starts with all its savings.
    pub(super) fn new(share: u32, max_savings: Duration, now: Instant) -> Self {
        Self { share, max_savings, paid_at: now }
    }

    /// When work may begin: now, or later.
    pub(super) fn open_at(&self, now: Instant) -> Instant {
        let savings_last_until = now + self.max_savings * self.share;
        now + self.paid_at.saturating_duration_since(savings_last_until)
    }

    /// Notes that work, which ended now, took so much CPU time.
    pub(super) fn spend(&mut self, now: Instant, took: Duration) {
        self.paid_at = self.paid_at.max(now) + took * self.share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One percent, and savings of a second.
    fn budget(now: Instant) -> Budget {
        Budget::new(100, SECOND, now)
    }

    #[test]
    fn the_savings_can_be_spent_at_once() {
        let now = Instant::now();
        let mut budget = budget(now);
        for _ in 0..10 {
            assert_eq!(budget.open_at(now), now);
            budget.spend(now, SECOND / 10);
        }
        budget.spend(now, SECOND / 10);
        assert_eq!(budget.open_at(now), now + 10 * SECOND);
    }

    #[test]
    fn without_savings_each_piece_of_work_waits_until_the_last_one_is_paid_for() {
        let now = Instant::now();
        let mut budget = Budget::new(100, Duration::ZERO, now);
        budget.spend(now, SECOND);
        assert_eq!(budget.open_at(now), now + 100 * SECOND);
        assert_eq!(budget.open_at(now + 99 * SECOND), now + 100 * SECOND);
        assert_eq!(budget.open_at(now + 101 * SECOND), now + 101 * SECOND);
    }

    #[test]
    fn idle_time_saves_no_more_than_the_limit() {
        let start = Instant::now();
        let mut budget = budget(start);
        let much_later = start + 1_000_000 * SECOND;
        budget.spend(much_later, 2 * SECOND);
        assert_eq!(budget.open_at(much_later), much_later + 100 * SECOND);
    }

    #[test]
    fn in_the_long_run_work_takes_its_share_and_the_savings() {
        let start = Instant::now();
        let (mut budget, mut now, mut worked) = (budget(start), start, Duration::ZERO);
        while now < start + 10_000 * SECOND {
            now = budget.open_at(now) + SECOND / 50;
            budget.spend(now, SECOND / 50);
            worked += SECOND / 50;
        }
        assert!((100 * SECOND..102 * SECOND).contains(&worked), "{worked:?}");
    }
}
