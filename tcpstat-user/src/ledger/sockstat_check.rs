//! The check: the sum of the gauges against the kernel's own count.
//!
//! sockstat's `inuse` counts hashed full sockets, its `tw` mini-sockets. At rest each equals the sum
//! of its gauges; under way it may not, for a transition is told before the socket is hashed or
//! unhashed. So a difference counts only where no transition happened between two looks at the
//! counters, and where it is seen again.
//!
//! A gauge below zero mismatches it as well: then a move was lost that left the sum as it is.

/// One look at one of the kernel's counts: the counters, sockstat, the counters again.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Whether no transition of such objects was counted between the two looks at the counters.
    pub still: bool,
    /// Sum of their gauges, both families.
    pub sum: i64,
    /// How many there are by sockstat, both families.
    pub sockstat: u64,
    /// Whether a gauge is below zero.
    pub below_zero: bool,
}

impl Reading {
    /// By how much the ledger is above sockstat; `None` while sockets move.
    #[must_use]
    pub fn difference(&self) -> Option<i64> {
        self.still.then(|| self.sum - self.sockstat.cast_signed())
    }
}

/// What a look says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The two are one.
    Agrees,
    /// Sockets move: nothing can be said.
    Moving,
    /// They differ, for the first time in this way: look again in some milliseconds.
    Suspect,
    /// They differ as they did at the last look.
    Mismatch,
}

/// The check's memory.
#[derive(Clone, Debug, Default)]
pub struct SockstatCheck {
    /// The difference, and whether a gauge was below zero.
    suspected: Option<(i64, bool)>,
    /// What one snapshot has excused.
    pleaded: Option<i64>,
    excused: i64,
}

impl SockstatCheck {
    /// Judges one reading. Two that are to confirm one another lie some milliseconds apart.
    pub fn check(&mut self, reading: &Reading) -> Finding {
        let Some(difference) = reading.difference() else { return Finding::Moving };
        if self.agrees(reading) {
            self.suspected = None;
            return Finding::Agrees;
        }
        let seen = Some((difference, reading.below_zero));
        if self.suspected == seen {
            return Finding::Mismatch;
        }
        self.suspected = seen;
        Finding::Suspect
    }

    /// Whether nothing in the reading gives cause to look again. So while sockets move.
    #[must_use]
    pub fn agrees(&self, reading: &Reading) -> bool {
        reading
            .difference()
            .is_none_or(|difference| difference == self.excused && !reading.below_zero)
    }

    /// The difference that mismatches no more; 0 unless one was excused.
    #[must_use]
    pub fn excused(&self) -> i64 {
        self.excused
    }

    /// A snapshot agreed with the ledger. If the last look did not, and `reading` differs as it did,
    /// the kernel counts something that it does not list, or the other way round. When two snapshots
    /// say so (one may have skipped just the row that the ledger lacks), that difference mismatches no
    /// more, until ledger and kernel are seen to be one.
    pub fn excuse(&mut self, reading: &Reading) {
        let Some(difference) = reading.difference() else { return };
        if difference == 0 {
            *self = Self::default();
        } else if self.suspected.is_some_and(|(suspected, _)| suspected == difference) {
            if self.pleaded == Some(difference) {
                *self = Self { excused: difference, ..Self::default() };
            } else {
                self.pleaded = Some(difference);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(sum: i64, sockstat: u64) -> Reading {
        Reading { still: true, sum, sockstat, below_zero: false }
    }

    #[test]
    fn a_difference_trips_when_it_is_seen_twice() {
        let mut check = SockstatCheck::default();
        assert_eq!(check.check(&reading(5, 5)), Finding::Agrees);
        assert_eq!(check.check(&reading(5, 4)), Finding::Suspect);
        assert_eq!(check.check(&reading(5, 4)), Finding::Mismatch);
    }

    #[test]
    fn a_difference_that_passes_or_changes_does_not_trip() {
        let mut check = SockstatCheck::default();
        assert_eq!(check.check(&reading(5, 4)), Finding::Suspect);
        assert_eq!(check.check(&reading(5, 5)), Finding::Agrees);
        assert_eq!(check.check(&reading(6, 5)), Finding::Suspect);
        assert_eq!(check.check(&reading(8, 5)), Finding::Suspect);
    }

    #[test]
    fn a_gauge_below_zero_trips_though_the_sum_is_right() {
        let mut check = SockstatCheck::default();
        let below = Reading { below_zero: true, ..reading(5, 5) };
        assert_eq!(check.check(&below), Finding::Suspect);
        assert_eq!(check.check(&below), Finding::Mismatch);
        assert_eq!(check.check(&Reading { still: false, ..below }), Finding::Moving);
        assert_eq!(check.check(&reading(5, 5)), Finding::Agrees);
    }

    #[test]
    fn churn_says_nothing_and_forgets_nothing() {
        let mut check = SockstatCheck::default();
        let moving = Reading { still: false, ..reading(9, 1) };
        assert_eq!(check.check(&reading(5, 4)), Finding::Suspect);
        assert_eq!(check.check(&moving), Finding::Moving);
        assert_eq!(check.check(&reading(7, 6)), Finding::Mismatch);
    }

    #[test]
    fn a_difference_that_two_snapshots_excuse_is_quiet_and_any_other_is_not() {
        let mut check = SockstatCheck::default();
        assert_eq!(check.check(&reading(5, 4)), Finding::Suspect);
        check.excuse(&reading(5, 4));
        assert_eq!(check.check(&reading(5, 4)), Finding::Mismatch, "one may have erred");
        check.excuse(&reading(5, 4));
        assert_eq!(check.check(&reading(15, 14)), Finding::Agrees);
        assert_eq!(check.check(&reading(15, 15)), Finding::Suspect);
        assert_eq!(check.check(&reading(15, 15)), Finding::Mismatch);
    }

    #[test]
    fn only_the_difference_that_was_seen_before_the_snapshot_is_excused() {
        let mut check = SockstatCheck::default();
        assert_eq!(check.check(&reading(5, 4)), Finding::Suspect);
        check.excuse(&reading(6, 4));
        check.excuse(&reading(6, 4));
        assert_eq!(check.check(&reading(5, 4)), Finding::Mismatch);
    }

    #[test]
    fn an_excuse_ends_when_ledger_and_kernel_are_one() {
        let mut check = SockstatCheck { excused: 1, ..SockstatCheck::default() };
        check.excuse(&reading(4, 4));
        assert_eq!(check.check(&reading(4, 4)), Finding::Agrees);
    }
}
