//! The rate limit of all requests: a bucket of tokens.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::web::config::RateLimit;

/// Each request takes a token; one comes back per interval.
#[derive(Debug)]
pub(in crate::web) struct Limiter {
    limit: RateLimit,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    /// When the tokens were counted.
    at: Instant,
}

impl Limiter {
    /// With a full bucket.
    pub(in crate::web) fn new(limit: RateLimit) -> Self {
        let bucket = Bucket { tokens: f64::from(limit.burst), at: Instant::now() };
        Self { limit, bucket: Mutex::new(bucket) }
    }

    pub(in crate::web) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes a token. If none is left, the time until the next one.
    pub(super) fn take(&self) -> Option<Duration> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Option<Duration> {
        let RateLimit { interval, burst } = self.limit;
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(bucket.at);
        let returned = elapsed.as_secs_f64() / interval.as_secs_f64();
        bucket.tokens = f64::min(bucket.tokens + returned, f64::from(burst));
        bucket.at = bucket.at.max(now);
        if bucket.tokens < 1.0 {
            return Some(interval.mul_f64(1.0 - bucket.tokens));
        }
        bucket.tokens -= 1.0;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_answered_and_then_one_request_per_interval() {
        let interval = Duration::from_secs(2);
        let limiter = Limiter::new(RateLimit { interval, burst: 3 });
        let start = Instant::now();
        let at = |seconds| limiter.take_at(start + Duration::from_secs(seconds)).is_none();
        assert_eq!([0, 0, 0, 0].map(at), [true, true, true, false]);
        assert_eq!([1, 2, 2, 3, 4].map(at), [false, true, false, false, true]);
        // After a pause there are at most as many as the burst.
        assert_eq!([60, 60, 60, 60].map(at), [true, true, true, false]);
        // The clock never goes back, and an earlier time returns no token.
        assert!(!at(59));
    }

    #[test]
    fn the_time_until_the_next_token_is_given() {
        let limiter = Limiter::new(RateLimit { interval: Duration::from_secs(8), burst: 1 });
        let start = Instant::now() + Duration::from_secs(1);
        assert_eq!(limiter.take_at(start), None);
        assert_eq!(limiter.take_at(start + Duration::from_secs(2)), Some(Duration::from_secs(6)));
    }
}
