//! The sockstat check: the sum of some gauges against one of the kernel's own counts.
//!
//! sockstat's `inuse` counts hashed full sockets, and its `tw` mini-sockets. In calm each equals the sum of
//! its gauges. During a transition it may differ, because the event comes before the socket is hashed or
//! unhashed. So a difference counts only if the counters did not change while sockstat was read, and if a
//! second sample shows it too.
//!
//! A gauge below zero fails the check too: a transition was lost that does not change the sum.

/// One sample of one count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Whether such objects are counted, sockstat could be read, and the counters did not change meanwhile.
    pub(super) still: bool,
    /// Sum of the gauges.
    pub(super) sum: i64,
    /// The kernel's count.
    pub(super) sockstat: u64,
    /// Whether a gauge is below zero.
    pub(super) below_zero: bool,
}

impl Reading {
    /// Ledger minus sockstat; `None` if the reading is not still.
    pub(super) fn difference(&self) -> Option<i64> {
        self.still.then(|| self.sum - self.sockstat.cast_signed())
    }
}

/// Ledger minus sockstat in such objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) found: i64,
    /// The part of it that snapshots have shown to be right.
    pub(super) tolerated: i64,
}

impl Difference {
    /// One of which nothing is tolerated.
    #[cfg(test)]
    pub(super) fn untolerated(found: i64) -> Self {
        Self { found, tolerated: 0 }
    }

    /// What is wrong, if the tolerated part is right.
    pub(super) fn beyond(self) -> i64 {
        self.found - self.tolerated
    }

    /// Whether sockstat is evidence for a snapshot by which the ledger is too high by `sum`: it differs from the ledger by as
    /// much beyond what is tolerated, or it is equal to the snapshot. In the second case nothing is to be tolerated any
    /// more; a difference that came from a processor that stopped during a transition is never right again.
    pub(super) fn confirms(self, sum: i64) -> bool {
        [self.beyond(), self.found].contains(&sum)
    }
}

/// The result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Ledger and sockstat agree.
    Agrees,
    /// Sockets change state: the check is not conclusive.
    Moving,
    /// The sums differ, and did not differ like this at the last check: check again after some milliseconds.
    Suspect,
    /// The sums differ as at the last check: the check fails.
    Mismatch,
}

/// What earlier checks of one count have shown.
#[derive(Clone, Debug, Default)]
pub(super) struct SockstatCheck {
    /// The difference at the last check that did not agree, and whether a gauge was below zero.
    suspected: Option<(i64, bool)>,
    /// The difference at which one snapshot has agreed with the ledger.
    tolerable: Option<i64>,
    tolerated: i64,
}

impl SockstatCheck {
    /// Checks one reading. Two readings that confirm each other are some milliseconds apart.
    pub(super) fn check(&mut self, reading: &Reading) -> Finding {
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

    /// Whether the reading is no reason for a check. This is so while sockets change state.
    pub(super) fn agrees(&self, reading: &Reading) -> bool {
        reading
            .difference()
            .is_none_or(|difference| difference == self.tolerated && !reading.below_zero)
    }

    /// Ledger minus sockstat, and the difference at which the check agrees; `None` if the reading is not still.
    pub(super) fn difference(&self, reading: &Reading) -> Option<Difference> {
        let tolerated = self.tolerated;
        reading.difference().map(|found| Difference { found, tolerated })
    }

    /// Notes that a snapshot agreed with the ledger when sockstat gave `reading`.
    ///
    /// If the last check found the same difference, then the kernel counts a socket that it does not list,
    /// or lists one that it does not count. After two such snapshots this difference is tolerated, until
    /// ledger and sockstat are equal again. One snapshot is not enough: it may have skipped the row that
    /// the ledger lacks.
    pub(super) fn snapshot_agreed(&mut self, reading: &Reading) {
        let Some(difference) = reading.difference() else { return };
        if difference == 0 {
            *self = Self::default();
        } else if self.suspected.is_some_and(|(suspected, _)| suspected == difference) {
            if self.tolerable == Some(difference) {
                *self = Self { tolerated: difference, ..Self::default() };
            } else {
                self.tolerable = Some(difference);
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
    fn a_difference_in_two_checks_in_a_row_is_a_mismatch() {
        let mut check = SockstatCheck::default();
        assert_eq!(check.check(&reading(5, 5)), Finding::Agrees);
        assert_eq!(check.check(&reading(5, 4)), Finding::Suspect);
        assert_eq!(check.check(&reading(5, 4)), Finding::Mismatch);
    }

    #[test]
    fn a_difference_that_ends_or_changes_is_no_mismatch() {
        let mut check = SockstatCheck::default();
        assert_eq!(check.check(&reading(5, 4)), Finding::Suspect);
        assert_eq!(check.check(&reading(5, 5)), Finding::Agrees);
        assert_eq!(check.check(&reading(6, 5)), Finding::Suspect);
        assert_eq!(check.check(&reading(8, 5)), Finding::Suspect);
    }

    #[test]
    fn a_gauge_below_zero_is_a_mismatch_even_if_the_sum_is_right() {
        let mut check = SockstatCheck::default();
        let below = Reading { below_zero: true, ..reading(5, 5) };
        assert_eq!(check.check(&below), Finding::Suspect);
        assert_eq!(check.check(&below), Finding::Mismatch);
        assert_eq!(check.check(&Reading { still: false, ..below }), Finding::Moving);
        assert_eq!(check.check(&reading(5, 5)), Finding::Agrees);
    }

    #[test]
    fn churn_is_not_conclusive_and_resets_nothing() {
        let mut check = SockstatCheck::default();
        let moving = Reading { still: false, ..reading(9, 1) };
        assert_eq!(check.check(&reading(5, 4)), Finding::Suspect);
        assert_eq!(check.check(&moving), Finding::Moving);
        assert_eq!(check.check(&reading(7, 6)), Finding::Mismatch);
    }

    #[test]
    fn only_the_difference_at_which_two_snapshots_agreed_is_tolerated() {
        let mut check = SockstatCheck::default();
        assert_eq!(check.check(&reading(5, 4)), Finding::Suspect);
        check.snapshot_agreed(&reading(5, 4));
        assert_eq!(check.check(&reading(5, 4)), Finding::Mismatch, "one snapshot is not enough");
        check.snapshot_agreed(&reading(5, 4));
        assert_eq!(check.check(&reading(15, 14)), Finding::Agrees);
        assert_eq!(check.check(&reading(15, 15)), Finding::Suspect);
        assert_eq!(check.check(&reading(15, 15)), Finding::Mismatch);
    }

    #[test]
    fn only_a_difference_from_before_the_snapshot_is_tolerated() {
        let mut check = SockstatCheck::default();
        assert_eq!(check.check(&reading(5, 4)), Finding::Suspect);
        check.snapshot_agreed(&reading(6, 4));
        check.snapshot_agreed(&reading(6, 4));
        assert_eq!(check.check(&reading(5, 4)), Finding::Mismatch);
    }

    #[test]
    fn a_difference_is_tolerated_until_ledger_and_sockstat_are_equal() {
        let mut check = SockstatCheck { tolerated: 1, ..SockstatCheck::default() };
        check.snapshot_agreed(&reading(4, 4));
        assert_eq!(check.check(&reading(4, 4)), Finding::Agrees);
    }
}
