//! The tripwire: the sum of the gauges against the kernel's own count.
//!
//! sockstat's `inuse` counts hashed full sockets, its `tw` mini-sockets. At rest each equals the sum
//! of its gauges; under way it may not, for a transition is told before the socket is hashed or
//! unhashed. So a difference counts only where no transition happened between two looks at the
//! counters, and where it is seen again.
//!
//! A gauge below zero trips it as well: then a move was lost that left the sum as it is.

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
pub enum Look {
    /// The two are one.
    Agrees,
    /// Sockets move: nothing can be said.
    Moving,
    /// They differ, for the first time in this way: look again in some milliseconds.
    Suspect,
    /// They differ as they did at the last look.
    Tripped,
}

/// The tripwire's memory.
#[derive(Clone, Debug, Default)]
pub struct Tripwire {
    /// The difference, and whether a gauge was below zero.
    suspected: Option<(i64, bool)>,
    /// What one snapshot has excused.
    pleaded: Option<i64>,
    excused: i64,
}

impl Tripwire {
    /// Judges one reading. Two that are to confirm one another lie some milliseconds apart.
    pub fn look(&mut self, reading: &Reading) -> Look {
        let Some(difference) = reading.difference() else { return Look::Moving };
        if self.agrees(reading) {
            self.suspected = None;
            return Look::Agrees;
        }
        let seen = Some((difference, reading.below_zero));
        if self.suspected == seen {
            return Look::Tripped;
        }
        self.suspected = seen;
        Look::Suspect
    }

    /// Whether nothing in the reading gives cause to look again. So while sockets move.
    #[must_use]
    pub fn agrees(&self, reading: &Reading) -> bool {
        reading
            .difference()
            .is_none_or(|difference| difference == self.excused && !reading.below_zero)
    }

    /// The difference that trips no more; 0 unless one was excused.
    #[must_use]
    pub fn excused(&self) -> i64 {
        self.excused
    }

    /// A snapshot agreed with the ledger. If the last look did not, and `reading` differs as it did,
    /// the kernel counts something that it does not list, or the other way round. When two snapshots
    /// say so (one may have skipped just the row that the ledger lacks), that difference trips no
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
        let mut tripwire = Tripwire::default();
        assert_eq!(tripwire.look(&reading(5, 5)), Look::Agrees);
        assert_eq!(tripwire.look(&reading(5, 4)), Look::Suspect);
        assert_eq!(tripwire.look(&reading(5, 4)), Look::Tripped);
    }

    #[test]
    fn a_difference_that_passes_or_changes_does_not_trip() {
        let mut tripwire = Tripwire::default();
        assert_eq!(tripwire.look(&reading(5, 4)), Look::Suspect);
        assert_eq!(tripwire.look(&reading(5, 5)), Look::Agrees);
        assert_eq!(tripwire.look(&reading(6, 5)), Look::Suspect);
        assert_eq!(tripwire.look(&reading(8, 5)), Look::Suspect);
    }

    #[test]
    fn a_gauge_below_zero_trips_though_the_sum_is_right() {
        let mut tripwire = Tripwire::default();
        let below = Reading { below_zero: true, ..reading(5, 5) };
        assert_eq!(tripwire.look(&below), Look::Suspect);
        assert_eq!(tripwire.look(&below), Look::Tripped);
        assert_eq!(tripwire.look(&Reading { still: false, ..below }), Look::Moving);
        assert_eq!(tripwire.look(&reading(5, 5)), Look::Agrees);
    }

    #[test]
    fn churn_says_nothing_and_forgets_nothing() {
        let mut tripwire = Tripwire::default();
        let moving = Reading { still: false, ..reading(9, 1) };
        assert_eq!(tripwire.look(&reading(5, 4)), Look::Suspect);
        assert_eq!(tripwire.look(&moving), Look::Moving);
        assert_eq!(tripwire.look(&reading(7, 6)), Look::Tripped);
    }

    #[test]
    fn a_difference_that_two_snapshots_excuse_is_quiet_and_any_other_is_not() {
        let mut tripwire = Tripwire::default();
        assert_eq!(tripwire.look(&reading(5, 4)), Look::Suspect);
        tripwire.excuse(&reading(5, 4));
        assert_eq!(tripwire.look(&reading(5, 4)), Look::Tripped, "one may have erred");
        tripwire.excuse(&reading(5, 4));
        assert_eq!(tripwire.look(&reading(15, 14)), Look::Agrees);
        assert_eq!(tripwire.look(&reading(15, 15)), Look::Suspect);
        assert_eq!(tripwire.look(&reading(15, 15)), Look::Tripped);
    }

    #[test]
    fn only_the_difference_that_was_seen_before_the_snapshot_is_excused() {
        let mut tripwire = Tripwire::default();
        assert_eq!(tripwire.look(&reading(5, 4)), Look::Suspect);
        tripwire.excuse(&reading(6, 4));
        tripwire.excuse(&reading(6, 4));
        assert_eq!(tripwire.look(&reading(5, 4)), Look::Tripped);
    }

    #[test]
    fn an_excuse_ends_when_ledger_and_kernel_are_one() {
        let mut tripwire = Tripwire { excused: 1, ..Tripwire::default() };
        tripwire.excuse(&reading(4, 4));
        assert_eq!(tripwire.look(&reading(4, 4)), Look::Agrees);
    }
}
