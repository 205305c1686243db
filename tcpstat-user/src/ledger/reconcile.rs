//! Decides which difference between ledger and snapshot is certain enough to be corrected.

use crate::{
    ledger::{family, sockstat_check::Difference},
    states::{Object, PerState},
};

/// What one or more snapshots show about the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on the stack")]
pub(crate) enum Verdict {
    /// Ledger and snapshot are equal.
    Agrees,
    /// The ledger is certainly wrong, by this drift.
    Correct(Correction),
    /// Ledger and snapshot differ, but the snapshot may be wrong: another snapshot is needed.
    Undecided,
}

impl Verdict {
    /// Whether another snapshot would add nothing.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Agrees | Self::Correct(Correction { whole: true, .. }))
    }

    /// This verdict, combined with the verdict on the next snapshot.
    pub(super) fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Correct(first), Self::Correct(next)) => {
                let drift = plus(&first.drift, &next.drift);
                Self::Correct(Correction { drift, ..next })
            }
            (Self::Correct(first), Self::Agrees) => {
                Self::Correct(Correction { whole: true, sums: true, ..first })
            }
            (first @ Self::Correct(_), Self::Undecided) => first,
            (_, next) => next,
        }
    }
}

fn plus(one: &PerState<i64>, other: &PerState<i64>) -> PerState<i64> {
    PerState::from_fn(|family, state| one[(family, state)] + other[(family, state)])
}

/// The drift that is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Correction {
    /// What to remove from the ledger.
    pub(crate) drift: PerState<i64>,
    /// Whether this is the whole drift, and it did not change meanwhile: the ledger then equals the snapshot.
    pub(crate) whole: bool,
    /// Whether the sums of both families are right then: only changes of family can be left.
    pub(crate) sums: bool,
}

/// What earlier snapshots have shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Reconciler {
    /// The drift without changes of family, and the number of exact snapshots in a row that showed it.
    suspected: Option<(PerState<i64>, u32)>,
    /// The smallest number of changes of family, and the number of exact snapshots in a row that showed any.
    changed: Option<(i64, u32)>,
}

/// Exact snapshots in a row that must show the same drift while sockets change state. A snapshot that skips
/// or doubles a row makes a different error the next time.
const CONFIRMATIONS: u32 = 3;
/// As [`CONFIRMATIONS`], in calm, when only objects that are not counted can make a snapshot skip a row.
const CONFIRMATIONS_IN_CALM: u32 = 2;

/// What is known about one snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// Whether the event log was complete and the rewind had no doubts. Even then the snapshot may have
    /// skipped or doubled a row.
    pub(super) exact: bool,
    /// Whether no transition was counted between the cut and the sockstat sample after the snapshot.
    pub(super) calm: bool,
    /// Ledger minus sockstat in full sockets, after the snapshot; `None` while they change state.
    pub(super) difference: Option<Difference>,
    /// Ledger minus sockstat in mini-sockets; also `None` if they are not counted.
    pub(super) minis_difference: Option<Difference>,
    /// Changes of family to IPv4 according to sockstat, after the snapshot; `None` while sockets change
    /// state.
    pub(super) changed_family: Option<i64>,
}

impl Reconciler {
    /// Judges `drift`, the difference between the ledger and one snapshot.
    ///
    /// A drift is certain when enough snapshots in a row show it and sockstat does not contradict it: a
    /// drift that changes the sum of full sockets or of mini-sockets needs the same difference in sockstat.
    /// sockstat does not count requests.
    ///
    /// Sockets may change their family without end, so this part of the drift grows from snapshot to
    /// snapshot. The smallest number that all of them showed is certain.
    pub(super) fn judge(&mut self, drift: &PerState<i64>, evidence: Evidence) -> Verdict {
        if !evidence.exact {
            return Verdict::Undecided;
        }
        let (changed, rest) = family::split(drift, evidence.changed_family);
        let rest = self.judge_rest(&rest, &evidence);
        let Changes { certain, steady } = self.judge_changes(changed, &evidence);
        let sums = rest.is_some();
        let certain = plus(&rest.unwrap_or_default(), &family::as_drift(certain));
        let whole = certain == *drift;
        if certain != PerState::default() {
            Verdict::Correct(Correction { drift: certain, whole: whole && steady, sums })
        } else if whole {
            Verdict::Agrees
        } else {
            Verdict::Undecided
        }
    }

    /// The drift without changes of family, if it is certain.
    fn judge_rest(&mut self, drift: &PerState<i64>, evidence: &Evidence) -> Option<PerState<i64>> {
        if *drift == PerState::default() {
            self.suspected = None;
            return Some(*drift);
        }
        let times = match self.suspected {
            Some((suspected, times)) if suspected == *drift => times + 1,
            _ => 1,
        };
        self.suspected = Some((*drift, times));
        if times < evidence.confirmations() || !evidence.confirms(drift) {
            return None;
        }
        self.suspected = None;
        Some(*drift)
    }

    fn judge_changes(&mut self, changed: i64, evidence: &Evidence) -> Changes {
        if changed == 0 {
            self.changed = None;
            return Changes { certain: 0, steady: true };
        }
        let (least, times) = match self.changed {
            Some((least, times)) => (least.min(changed), times + 1),
            None => (changed, 1),
        };
        self.changed = Some((least, times));
        let confirmed = evidence.changed_family == Some(changed);
        let enough = if confirmed { CONFIRMATIONS_IN_CALM } else { evidence.confirmations() };
        if times < enough {
            return Changes { certain: 0, steady: false };
        }
        self.changed = None;
        Changes { certain: if confirmed { changed } else { least }, steady: least == changed }
    }
}

/// Sockets that changed their family.
struct Changes {
    /// The number that is certain.
    certain: i64,
    /// Whether every snapshot showed the same number.
    steady: bool,
}

impl Evidence {
    /// Exact snapshots in a row that must show the same.
    fn confirmations(&self) -> u32 {
        if self.calm { CONFIRMATIONS_IN_CALM } else { CONFIRMATIONS }
    }

    /// Whether sockstat differs from the ledger by the same sums; if it cannot tell, whether the drift leaves
    /// the sums as they are.
    fn confirms(&self, drift: &PerState<i64>) -> bool {
        [(Object::Full, self.difference), (Object::Mini, self.minis_difference)].into_iter().all(
            |(object, difference)| {
                let sum: i64 = drift.of(object).sum();
                difference.map_or(sum == 0, |difference| difference.confirms(sum))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::{Family, State};
    use State::{CloseWait, Established, NewSynRecv, TimeWait};
    use Verdict::{Agrees, Undecided};

    fn drift(established: i64, close_wait: i64) -> PerState<i64> {
        let mut drift = PerState::default();
        drift[(Family::Ipv4, Established)] = established;
        drift[(Family::Ipv4, CloseWait)] = close_wait;
        drift
    }

    fn evidence(difference: Option<i64>, calm: bool) -> Evidence {
        let difference = difference.map(Difference::untolerated);
        Evidence { exact: true, calm, difference, minis_difference: None, changed_family: None }
    }

    /// The verdict that corrects the whole drift.
    fn correct(drift: PerState<i64>) -> Verdict {
        Verdict::Correct(Correction { drift, whole: true, sums: true })
    }

    /// The verdict on a drift of one socket in `state` that two snapshots show in calm, while full sockets
    /// agree.
    fn shown_twice(state: State, minis_difference: Option<i64>) -> Verdict {
        let mut drift = PerState::default();
        drift[(Family::Ipv6, state)] = 1;
        let minis_difference = minis_difference.map(Difference::untolerated);
        let evidence = Evidence { minis_difference, ..evidence(Some(0), true) };
        let mut reconciler = Reconciler::default();
        assert_eq!(reconciler.judge(&drift, evidence), Undecided);
        reconciler.judge(&drift, evidence)
    }

    /// The verdicts on several exact snapshots in a row, while sockets change state.
    fn verdicts<const N: usize>(judged: [((i64, i64), Option<i64>); N]) -> [Verdict; N] {
        let mut reconciler = Reconciler::default();
        judged.map(|((established, close_wait), difference)| {
            reconciler.judge(&drift(established, close_wait), evidence(difference, false))
        })
    }

    #[test]
    fn a_snapshot_without_drift_agrees() {
        assert_eq!(verdicts([((0, 0), Some(0)), ((0, 0), None)]), [Agrees, Agrees]);
    }

    #[test]
    fn a_drift_that_sockstat_confirms_is_corrected_after_two_snapshots_in_calm() {
        let mut reconciler = Reconciler::default();
        assert_eq!(reconciler.judge(&drift(1, 0), evidence(Some(1), true)), Undecided);
        assert_eq!(reconciler.judge(&drift(1, 0), evidence(Some(1), true)), correct(drift(1, 0)));
    }

    #[test]
    fn a_drift_that_sockstat_confirms_is_corrected_after_three_snapshots_in_churn() {
        let seen = ((1, 0), Some(1));
        assert_eq!(verdicts([seen, seen, seen]), [Undecided, Undecided, correct(drift(1, 0))]);
        assert_eq!(verdicts([seen, seen, ((0, 1), Some(1)), seen]), [Undecided; 4]);
    }

    #[test]
    fn a_row_that_the_snapshot_skipped_is_never_corrected() {
        let (calm, moving) = (((1, 0), Some(0)), ((1, 0), None));
        assert_eq!(verdicts([calm, calm, moving, moving, calm]), [Undecided; 5]);
        let mut reconciler = Reconciler::default();
        for _ in 0..4 {
            assert_eq!(reconciler.judge(&drift(1, 0), evidence(Some(0), true)), Undecided);
        }
    }

    #[test]
    fn a_drift_that_keeps_the_sum_is_corrected_as_early_as_any_other() {
        let mut reconciler = Reconciler::default();
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(Some(0), true)), Undecided);
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(Some(0), true)), correct(drift(1, -1)));
        let moving = ((1, -1), None);
        assert_eq!(
            verdicts([moving, moving, moving]),
            [Undecided, Undecided, correct(drift(1, -1))]
        );
        let agreed_between = [moving, moving, ((0, 0), None), moving];
        assert_eq!(verdicts(agreed_between), [Undecided, Undecided, Agrees, Undecided]);
    }

    #[test]
    fn a_drift_after_which_ledger_and_sockstat_are_equal_is_corrected_whatever_is_tolerated() {
        let with = |found, tolerated| {
            let difference = Some(Difference { found, tolerated });
            let evidence = Evidence { difference, ..evidence(None, true) };
            let mut reconciler = Reconciler::default();
            [(); 2].map(|()| reconciler.judge(&drift(2, 0), evidence))
        };
        let corrected = [Undecided, correct(drift(2, 0))];
        assert_eq!(with(2, 2), corrected, "sockstat has what the snapshot has");
        assert_eq!(with(3, 1), corrected, "both show two too many, and one more was right before");
        assert_eq!(with(1, 2), [Undecided; 2]);
    }

    #[test]
    fn a_drift_of_mini_sockets_needs_the_same_difference_in_tw() {
        assert!(matches!(shown_twice(TimeWait, Some(1)), Verdict::Correct(_)));
        assert_eq!(shown_twice(TimeWait, Some(0)), Undecided);
        assert_eq!(shown_twice(TimeWait, None), Undecided);
    }

    #[test]
    fn a_drift_of_requests_needs_a_second_snapshot_only() {
        assert!(matches!(shown_twice(NewSynRecv, Some(0)), Verdict::Correct(_)));
        assert!(matches!(shown_twice(NewSynRecv, None), Verdict::Correct(_)));
    }

    #[test]
    fn an_inexact_snapshot_changes_nothing() {
        let mut reconciler = Reconciler::default();
        let inexact = Evidence { exact: false, ..evidence(Some(0), true) };
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(None, false)), Undecided);
        assert_eq!(reconciler.judge(&drift(0, 0), inexact), Undecided);
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(None, false)), Undecided);
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(None, false)), correct(drift(1, -1)));
    }

    /// The drift of that many changes of family.
    fn changed(sockets: i64) -> PerState<i64> {
        family::as_drift(sockets)
    }

    #[test]
    fn of_growing_changes_of_family_the_smallest_number_is_corrected() {
        let mut reconciler = Reconciler::default();
        let mut judge = |sockets| reconciler.judge(&changed(sockets), evidence(None, false));
        assert_eq!([judge(300), judge(301)], [Undecided; 2]);
        let part = Correction { drift: changed(300), whole: false, sums: true };
        assert_eq!(judge(303), Verdict::Correct(part));
        assert_eq!([judge(5), judge(5)], [Undecided; 2], "three more snapshots are needed");
        assert_eq!(judge(5), correct(changed(5)));
    }

    #[test]
    fn a_steady_drift_besides_changes_of_family_is_corrected_too() {
        let mut reconciler = Reconciler::default();
        let mut judge = |sockets: i64| {
            let mut drift = changed(sockets);
            drift[(Family::Ipv6, CloseWait)] = 2;
            reconciler.judge(&drift, evidence(Some(2), true))
        };
        assert_eq!(judge(7), Undecided);
        let mut certain = changed(7);
        certain[(Family::Ipv6, CloseWait)] = 2;
        assert_eq!(
            judge(9),
            Verdict::Correct(Correction { drift: certain, whole: false, sums: true })
        );
    }

    #[test]
    fn only_changes_of_family_in_sockstat_count_as_such() {
        let mut reconciler = Reconciler::default();
        let seen = |seen| Evidence { changed_family: Some(seen), ..evidence(Some(0), false) };
        // Lost transitions in both families may look like changes of family.
        assert_eq!([(); 2].map(|()| reconciler.judge(&changed(3), seen(0))), [Undecided; 2]);
        assert_eq!(reconciler.judge(&changed(3), seen(0)), correct(changed(3)));
        assert_eq!(reconciler.judge(&changed(3), seen(3)), Undecided);
        assert_eq!(
            reconciler.judge(&changed(4), seen(4)),
            Verdict::Correct(Correction { drift: changed(4), whole: false, sums: true })
        );
    }

    #[test]
    fn a_change_of_family_to_ipv6_is_impossible() {
        let mut reconciler = Reconciler::default();
        let backwards =
            [-1, -2, -3].map(|sockets| reconciler.judge(&changed(sockets), evidence(None, false)));
        assert_eq!(backwards, [Undecided; 3]);
    }
}
