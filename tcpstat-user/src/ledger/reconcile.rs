//! When a difference between ledger and snapshot is certain enough to be corrected.

use crate::states::{Object, PerState};

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
    suspected: Option<PerState<i64>>,
    /// Exact snapshots in a row that gave it.
    times: u32,
}

/// Exact snapshots in a row that must give the same drift while sockets move. One that skips or
/// doubles a row errs otherwise the next time.
const TIMES: u32 = 3;
/// The same in calm, where only what is not counted can make a listing skip a row.
const TIMES_IN_CALM: u32 = 2;

/// A snapshot's evidence.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// The event log was complete and left no doubt about any row. A listing may still have skipped
    /// or doubled a row that nothing else tells of.
    pub exact: bool,
    /// No transition was counted from the beginning of the listing to the look at sockstat.
    pub calm: bool,
    /// By how much the ledger is above sockstat in full sockets, looked at after the snapshot; `None`
    /// while they move.
    pub difference: Option<i64>,
    /// The same in mini-sockets; `None` also where they are not counted.
    pub minis_difference: Option<i64>,
}

impl Reconciler {
    /// Judges the `drift` against one snapshot.
    ///
    /// A drift is certain when it is told often enough in a row and sockstat does not gainsay it: a
    /// drift that changes the sum of full or of mini-sockets needs sockstat's word for it. Of requests
    /// sockstat says nothing.
    pub fn judge(&mut self, drift: &PerState<i64>, evidence: Evidence) -> Verdict {
        if !evidence.exact {
            return Verdict::Undecided;
        }
        if drift.iter().all(|(.., drift)| drift == 0) {
            *self = Self::default();
            return Verdict::Agrees;
        }
        if self.suspected.as_ref() == Some(drift) {
            self.times += 1;
        } else {
            *self = Self { suspected: Some(*drift), times: 1 };
        }
        let confirmed =
            [(Object::Full, evidence.difference), (Object::Mini, evidence.minis_difference)]
                .into_iter()
                .all(|(object, difference)| {
                    let of_object =
                        drift.iter().filter(|&(_, state, _)| Object::in_state(state) == object);
                    let sum: i64 = of_object.map(|(.., drift)| drift).sum();
                    difference.map_or(sum == 0, |difference| difference == sum)
                });
        let times = if evidence.calm { TIMES_IN_CALM } else { TIMES };
        if !confirmed || self.times < times {
            return Verdict::Undecided;
        }
        *self = Self::default();
        Verdict::Correct
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::{Family, State};
    use State::{CloseWait, Established, NewSynRecv, TimeWait};
    use Verdict::{Agrees, Correct, Undecided};

    fn drift(established: i64, close_wait: i64) -> PerState<i64> {
        let mut drift = PerState::default();
        drift[(Family::Ipv4, Established)] = established;
        drift[(Family::Ipv4, CloseWait)] = close_wait;
        drift
    }

    fn evidence(difference: Option<i64>, calm: bool) -> Evidence {
        Evidence { exact: true, calm, difference, minis_difference: None }
    }

    /// The verdict on one drift in `state`, told twice in calm while full sockets agree.
    fn told_twice(state: State, minis_difference: Option<i64>) -> Verdict {
        let mut drift = PerState::default();
        drift[(Family::Ipv6, state)] = 1;
        let evidence = Evidence { minis_difference, ..evidence(Some(0), true) };
        let mut reconciler = Reconciler::default();
        assert_eq!(reconciler.judge(&drift, evidence), Undecided);
        reconciler.judge(&drift, evidence)
    }

    /// The verdicts on a row of drifts, all exact, while sockets moved.
    fn verdicts<const N: usize>(judged: [((i64, i64), Option<i64>); N]) -> [Verdict; N] {
        let mut reconciler = Reconciler::default();
        judged.map(|((established, close_wait), difference)| {
            reconciler.judge(&drift(established, close_wait), evidence(difference, false))
        })
    }

    #[test]
    fn no_drift_agrees() {
        assert_eq!(verdicts([((0, 0), Some(0)), ((0, 0), None)]), [Agrees, Agrees]);
    }

    #[test]
    fn a_drift_that_sockstat_confirms_in_calm_is_corrected_when_it_is_seen_twice() {
        let mut reconciler = Reconciler::default();
        assert_eq!(reconciler.judge(&drift(1, 0), evidence(Some(1), true)), Undecided);
        assert_eq!(reconciler.judge(&drift(1, 0), evidence(Some(1), true)), Correct);
    }

    #[test]
    fn a_drift_that_sockstat_confirms_while_sockets_move_must_be_seen_three_times() {
        let seen = ((1, 0), Some(1));
        assert_eq!(verdicts([seen, seen, seen]), [Undecided, Undecided, Correct]);
        assert_eq!(verdicts([seen, seen, ((0, 1), Some(1)), seen]), [Undecided; 4]);
    }

    #[test]
    fn a_row_that_the_listing_skipped_is_never_corrected() {
        let (told, moving) = (((1, 0), Some(0)), ((1, 0), None));
        assert_eq!(verdicts([told, told, moving, moving, told]), [Undecided; 5]);
        let mut reconciler = Reconciler::default();
        for _ in 0..4 {
            assert_eq!(reconciler.judge(&drift(1, 0), evidence(Some(0), true)), Undecided);
        }
    }

    #[test]
    fn a_drift_that_leaves_the_sum_is_corrected_as_soon_as_one_that_does_not() {
        let mut reconciler = Reconciler::default();
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(Some(0), true)), Undecided);
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(Some(0), true)), Correct);
        let moving = ((1, -1), None);
        assert_eq!(verdicts([moving, moving, moving]), [Undecided, Undecided, Correct]);
        let agreed_between = [moving, moving, ((0, 0), None), moving];
        assert_eq!(verdicts(agreed_between), [Undecided, Undecided, Agrees, Undecided]);
    }

    #[test]
    fn a_drift_of_mini_sockets_needs_the_word_of_tw() {
        assert_eq!(told_twice(TimeWait, Some(1)), Correct);
        assert_eq!(told_twice(TimeWait, Some(0)), Undecided);
        assert_eq!(told_twice(TimeWait, None), Undecided);
    }

    #[test]
    fn a_drift_of_requests_has_no_witness_but_the_next_snapshot() {
        assert_eq!(told_twice(NewSynRecv, Some(0)), Correct);
        assert_eq!(told_twice(NewSynRecv, None), Correct);
    }

    #[test]
    fn a_snapshot_that_is_not_exact_decides_nothing_and_forgets_nothing() {
        let mut reconciler = Reconciler::default();
        let inexact = Evidence { exact: false, ..evidence(Some(0), true) };
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(None, false)), Undecided);
        assert_eq!(reconciler.judge(&drift(0, 0), inexact), Undecided);
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(None, false)), Undecided);
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(None, false)), Correct);
    }
}
