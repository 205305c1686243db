//! Times of the corpus in milliseconds, and a sequence of numbers that is the same in every run.

pub(super) const SECOND: u64 = 1000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;

/// A range of times; `to` is not in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

pub(super) const fn span(from: u64, to: u64) -> Span {
    Span { from, to }
}

/// Pseudo-random numbers (xorshift).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number from `span.from` to `span.to`, the latter only if both are equal.
    pub(super) fn within(&mut self, span: Span) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let width = span.to.saturating_sub(span.from).max(1);
        span.from + (self.0 >> 11) % width
    }

    /// The time to the next arrival: `mean` on average, up to twice that.
    pub(super) fn pause(&mut self, mean: u64) -> u64 {
        self.within(span(0, 2 * mean)) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_within_their_span_and_the_same_for_a_seed() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(move |_| random.within(span(10, 20))).collect::<Vec<_>>()
        };
        assert!(numbers(0).iter().all(|number| (10..20).contains(number)));
        assert_eq!(numbers(0), numbers(0));
        assert_ne!(numbers(0), numbers(1));
        assert_eq!(Random::new(0).within(span(7, 7)), 7);
    }
}
