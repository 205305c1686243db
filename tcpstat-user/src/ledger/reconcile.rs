//! When a difference between ledger and snapshot is certain enough to be corrected.

use crate::{ledger::tripwire::Reading, states::PerState};

/// What a snapshot says of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are one.
    Agrees,
    /// The ledger is wrong by the drift, certainly.
    Correct,
    /// They differ, but the snapshot may be what is wrong: take another one.
    Undecided,
}

/// What is remembered between two snapshots.
#[derive(Clone, Debug, Default)]
pub struct Reconciler {
    previous: Option<PerState<i64>>,
}

impl Reconciler {
    /// Judges the `drift` against one snapshot.
    ///
    /// `exact`: the event log was complete and left no doubt about any row. A listing may still have
    /// skipped or doubled a row that nothing else tells of. So a drift is certain when the sum of the
    /// gauges without it is what sockstat says (`reading`, taken after the snapshot, of the ledger as
    /// it is), or when two exact snapshots give the same.
    pub fn judge(&mut self, drift: &PerState<i64>, exact: bool, reading: &Reading) -> Verdict {
        if !exact {
            return Verdict::Undecided;
        }
        if drift.iter().all(|(.., drift)| drift == 0) {
            self.previous = None;
            return Verdict::Agrees;
        }
        let sum: i64 = drift.iter().map(|(.., drift)| drift).sum();
        let proven = sum != 0 && reading.difference() == Some(sum);
        if proven || self.previous.as_ref() == Some(drift) {
            self.previous = None;
            return Verdict::Correct;
        }
        self.previous = Some(*drift);
        Verdict::Undecided
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::{Family, State};

    const AGREEING: Reading = Reading { still: true, sum: 10, inuse: 10 };

    fn drift(established: i64, close_wait: i64) -> PerState<i64> {
        let mut drift = PerState::default();
        drift[(Family::Ipv4, State::Established)] = established;
        drift[(Family::Ipv4, State::CloseWait)] = close_wait;
        drift
    }

    #[test]
    fn no_drift_agrees() {
        assert_eq!(Reconciler::default().judge(&drift(0, 0), true, &AGREEING), Verdict::Agrees);
    }

    #[test]
    fn a_drift_that_sockstat_confirms_is_corrected_at_once() {
        let above = Reading { still: true, sum: 11, inuse: 10 };
        assert_eq!(Reconciler::default().judge(&drift(1, 0), true, &above), Verdict::Correct);
    }

    #[test]
    fn a_row_that_the_listing_skipped_is_not_corrected() {
        let mut reconciler = Reconciler::default();
        assert_eq!(reconciler.judge(&drift(1, 0), true, &AGREEING), Verdict::Undecided);
        assert_eq!(reconciler.judge(&drift(0, 0), true, &AGREEING), Verdict::Agrees);
        assert_eq!(reconciler.judge(&drift(1, 0), true, &AGREEING), Verdict::Undecided);
    }

    #[test]
    fn the_same_drift_twice_is_corrected_though_the_sum_agrees() {
        let mut reconciler = Reconciler::default();
        assert_eq!(reconciler.judge(&drift(1, -1), true, &AGREEING), Verdict::Undecided);
        assert_eq!(reconciler.judge(&drift(1, -1), true, &AGREEING), Verdict::Correct);
    }

    #[test]
    fn a_snapshot_that_is_not_exact_decides_nothing() {
        let mut reconciler = Reconciler::default();
        assert_eq!(reconciler.judge(&drift(1, 0), false, &AGREEING), Verdict::Undecided);
        assert_eq!(reconciler.judge(&drift(1, 0), true, &AGREEING), Verdict::Undecided);
        assert_eq!(reconciler.judge(&drift(0, 0), false, &AGREEING), Verdict::Undecided);
    }
}
