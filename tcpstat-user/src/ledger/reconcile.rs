//! When a difference between ledger and snapshot is certain enough to be corrected.

use crate::{
    ledger::family,
    states::{Object, PerState},
};

/// What a snapshot says of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on the stack")]
pub enum Verdict {
    /// They are one.
    Agrees,
    /// The ledger is wrong by this much, certainly.
    Correct(Correction),
    /// They differ, but the snapshot may be what is wrong: take another one.
    Undecided,
}

impl Verdict {
    /// Whether another snapshot would say nothing more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Agrees | Self::Correct(Correction { whole: true, .. }))
    }

    /// What this verdict and the one on the next snapshot come to.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
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

/// What is certainly wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// To be taken out of the ledger.
    pub drift: PerState<i64>,
    /// Whether nothing is left, and nothing came while it was found out: the ledger is what the
    /// snapshot says then.
    pub whole: bool,
    /// Whether the sums over both families are: nothing is left but changes of family.
    pub sums: bool,
}

/// What is remembered between two snapshots.
#[derive(Clone, Debug, Default)]
pub struct Reconciler {
    /// The drift but for changes of family, and the exact snapshots in a row that gave it.
    suspected: Option<(PerState<i64>, u32)>,
    /// Changes of family that each of so many exact snapshots in a row gave at least.
    changed: Option<(i64, u32)>,
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
    /// How many sockets have changed to IPv4 by sockstat, looked at after the snapshot; `None` while they
    /// move.
    pub changed_family: Option<i64>,
}

impl Reconciler {
    /// Judges the `drift` against one snapshot.
    ///
    /// A drift is certain when it is told often enough in a row and sockstat does not contradict it: a
    /// drift that changes the sum of full or of mini-sockets needs sockstat's word for it. Of requests
    /// sockstat says nothing.
    ///
    /// Sockets that change their family may go on doing so, and the drift that they make grows from
    /// one snapshot to the next. What all of them have told is certain: so many changes there were.
    pub fn judge(&mut self, drift: &PerState<i64>, evidence: Evidence) -> Verdict {
        if !evidence.exact {
            return Verdict::Undecided;
        }
        let (changed, rest) = family::split(drift, evidence.changed_family);
        let rest = self.rest(&rest, &evidence);
        let Changes { certain, steady } = self.changes(changed, &evidence);
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

    /// The drift but for changes of family, where it is certain.
    fn rest(&mut self, drift: &PerState<i64>, evidence: &Evidence) -> Option<PerState<i64>> {
        if *drift == PerState::default() {
            self.suspected = None;
            return Some(*drift);
        }
        let times = match self.suspected {
            Some((suspected, times)) if suspected == *drift => times + 1,
            _ => 1,
        };
        self.suspected = Some((*drift, times));
        let confirmed =
            [(Object::Full, evidence.difference), (Object::Mini, evidence.minis_difference)]
                .into_iter()
                .all(|(object, difference)| {
                    let sum: i64 = drift.of(object).sum();
                    difference.map_or(sum == 0, |difference| difference == sum)
                });
        if !confirmed || times < evidence.times() {
            return None;
        }
        self.suspected = None;
        Some(*drift)
    }

    fn changes(&mut self, changed: i64, evidence: &Evidence) -> Changes {
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
        let enough = if confirmed { TIMES_IN_CALM } else { evidence.times() };
        if times < enough {
            return Changes { certain: 0, steady: false };
        }
        self.changed = None;
        Changes { certain: if confirmed { changed } else { least }, steady: least == changed }
    }
}

/// Sockets that changed their family.
struct Changes {
    /// So many did, certainly.
    certain: i64,
    /// Every snapshot told as many.
    steady: bool,
}

impl Evidence {
    /// Exact snapshots in a row that must tell the same.
    fn times(&self) -> u32 {
        if self.calm { TIMES_IN_CALM } else { TIMES }
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
        Evidence { exact: true, calm, difference, minis_difference: None, changed_family: None }
    }

    /// The whole drift is corrected.
    fn correct(drift: PerState<i64>) -> Verdict {
        Verdict::Correct(Correction { drift, whole: true, sums: true })
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
        assert_eq!(reconciler.judge(&drift(1, 0), evidence(Some(1), true)), correct(drift(1, 0)));
    }

    #[test]
    fn a_drift_that_sockstat_confirms_while_sockets_move_must_be_seen_three_times() {
        let seen = ((1, 0), Some(1));
        assert_eq!(verdicts([seen, seen, seen]), [Undecided, Undecided, correct(drift(1, 0))]);
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
    fn a_drift_of_mini_sockets_needs_the_word_of_tw() {
        assert!(matches!(told_twice(TimeWait, Some(1)), Verdict::Correct(_)));
        assert_eq!(told_twice(TimeWait, Some(0)), Undecided);
        assert_eq!(told_twice(TimeWait, None), Undecided);
    }

    #[test]
    fn a_drift_of_requests_has_no_witness_but_the_next_snapshot() {
        assert!(matches!(told_twice(NewSynRecv, Some(0)), Verdict::Correct(_)));
        assert!(matches!(told_twice(NewSynRecv, None), Verdict::Correct(_)));
    }

    #[test]
    fn a_snapshot_that_is_not_exact_decides_nothing_and_forgets_nothing() {
        let mut reconciler = Reconciler::default();
        let inexact = Evidence { exact: false, ..evidence(Some(0), true) };
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(None, false)), Undecided);
        assert_eq!(reconciler.judge(&drift(0, 0), inexact), Undecided);
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(None, false)), Undecided);
        assert_eq!(reconciler.judge(&drift(1, -1), evidence(None, false)), correct(drift(1, -1)));
    }

    /// So many sockets have changed their family.
    fn changed(sockets: i64) -> PerState<i64> {
        family::as_drift(sockets)
    }

    #[test]
    fn changes_of_family_that_go_on_are_corrected_by_what_every_snapshot_told() {
        let mut reconciler = Reconciler::default();
        let mut told = |sockets| reconciler.judge(&changed(sockets), evidence(None, false));
        assert_eq!([told(300), told(301)], [Undecided; 2]);
        let part = Correction { drift: changed(300), whole: false, sums: true };
        assert_eq!(told(303), Verdict::Correct(part));
        assert_eq!([told(5), told(5)], [Undecided; 2], "they are told three times anew");
        assert_eq!(told(5), correct(changed(5)));
    }

    #[test]
    fn a_steady_drift_beside_changes_of_family_is_corrected_too() {
        let mut reconciler = Reconciler::default();
        let mut told = |sockets: i64| {
            let mut drift = changed(sockets);
            drift[(Family::Ipv6, CloseWait)] = 2;
            reconciler.judge(&drift, evidence(Some(2), true))
        };
        assert_eq!(told(7), Undecided);
        let mut certain = changed(7);
        certain[(Family::Ipv6, CloseWait)] = 2;
        assert_eq!(
            told(9),
            Verdict::Correct(Correction { drift: certain, whole: false, sums: true })
        );
    }

    #[test]
    fn changes_of_family_are_those_that_sockstat_saw() {
        let mut reconciler = Reconciler::default();
        let told = |told| Evidence { changed_family: Some(told), ..evidence(Some(0), false) };
        // Lost transitions in both families may look like changes of family.
        assert_eq!([(); 2].map(|()| reconciler.judge(&changed(3), told(0))), [Undecided; 2]);
        assert_eq!(reconciler.judge(&changed(3), told(0)), correct(changed(3)));
        assert_eq!(reconciler.judge(&changed(3), told(3)), Undecided);
        assert_eq!(
            reconciler.judge(&changed(4), told(4)),
            Verdict::Correct(Correction { drift: changed(4), whole: false, sums: true })
        );
    }

    #[test]
    fn sockets_never_change_to_ipv6() {
        let mut reconciler = Reconciler::default();
        let backwards =
            [-1, -2, -3].map(|sockets| reconciler.judge(&changed(sockets), evidence(None, false)));
        assert_eq!(backwards, [Undecided; 3]);
    }
}
