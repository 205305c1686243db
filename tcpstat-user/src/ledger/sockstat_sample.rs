//! Ledger and sockstat in one sample, and the sockstat checks of a namespace: of full sockets, of
//! mini-sockets, and of families.

use super::{
    Ledger, family,
    sockstat_check::{Difference, Finding, Reading, SockstatCheck},
};
use crate::{
    snapshot::Tally,
    states::{Family, Object, PerFamily, State},
    transitions::Transitions,
};

/// sockstat, read between two readings of the counters.
#[derive(Clone, Debug)]
pub(crate) struct SockstatSample {
    /// The counters before sockstat was read.
    pub(crate) before: Transitions,
    /// sockstat `inuse`: full sockets. `None` if it cannot be read.
    pub(crate) inuse: Option<PerFamily<u64>>,
    /// sockstat `tw`: mini-sockets of both families. `None` if it cannot be read.
    pub(crate) tw: Option<u64>,
    /// The counters after sockstat was read.
    pub(crate) after: Transitions,
}

/// One sample, as the checks compare it with a ledger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readings {
    /// Full sockets. `below_zero` includes requests, which sockstat does not count.
    full: Reading,
    /// Full sockets of IPv4 alone: the ledger is below sockstat by the sockets that changed to IPv4. (IPv6
    /// would not do: before 6.18 sockstat leaves out subflows of MPTCP.)
    ipv4: Reading,
    /// Mini-sockets; never still if they are not counted.
    minis: Reading,
}

/// The state of all sockstat checks of a namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct SockstatChecks {
    full: SockstatCheck,
    minis: SockstatCheck,
    /// Whether sockets had changed their family at the last conclusive check.
    families_suspected: bool,
}

impl SockstatSample {
    /// Whether `tally`, which was listed since the counters were `before`, has all full sockets of the namespace and no
    /// mini-socket is there, and none has changed its state meanwhile. Requests are not compared.
    pub(crate) fn shows_all(&self, before: &Transitions, tally: &Tally) -> bool {
        let full = |family| State::ALL.into_iter().map(|state| tally.full[(family, state)]).sum();
        *before == self.before
            && self.before == self.after
            && self.inuse == Some(PerFamily(Family::ALL.map(full)))
            && self.tw == Some(tally.minis())
    }

    /// The sample, compared with `ledger`.
    pub(crate) fn readings(&self, ledger: &Ledger) -> Readings {
        let gauges = ledger.counted(&self.after);
        let reading = |object, sum, sockstat: Option<u64>| Reading {
            still: ledger.counts(object)
                && sockstat.is_some()
                && self.after.still(object, &self.before),
            sum,
            sockstat: sockstat.unwrap_or(0),
            below_zero: false,
        };
        let full = gauges.of(Object::Full).sum();
        let full = reading(Object::Full, full, self.inuse.map(|inuse| inuse.total()));
        let ipv4 = gauges
            .iter()
            .filter(|&(family, state, _)| {
                family == Family::Ipv4 && Object::in_state(state) == Object::Full
            })
            .map(|(.., count)| count)
            .sum();
        let ipv4 = reading(Object::Full, ipv4, self.inuse.map(|inuse| inuse[Family::Ipv4]));
        let minis = reading(Object::Mini, gauges.of(Object::Mini).sum(), self.tw);
        let changed = -ipv4.difference().unwrap_or(0);
        let below_zero = |objects: &[Object]| {
            gauges.iter().any(|(family, state, count)| {
                count < 0
                    && objects.contains(&Object::in_state(state))
                    && !family::explains(changed, family, state, &gauges)
            })
        };
        Readings {
            full: Reading { below_zero: below_zero(&[Object::Full, Object::Request]), ..full },
            ipv4,
            minis: Reading { below_zero: below_zero(&[Object::Mini]), ..minis },
        }
    }
}

impl SockstatChecks {
    /// Checks full sockets and mini-sockets. Gives the worse finding; if neither is bad, that on full
    /// sockets.
    pub(super) fn check(&mut self, readings: &Readings) -> Finding {
        let findings = [self.full.check(&readings.full), self.minis.check(&readings.minis)];
        [Finding::Mismatch, Finding::Suspect]
            .into_iter()
            .find(|worse| findings.contains(worse))
            .unwrap_or(findings[0])
    }

    /// Checks IPv4 alone, for changes of family. Their number may differ between two checks that both find
    /// some, because sockets may go on changing.
    pub(super) fn check_families(&mut self, readings: &Readings) -> Finding {
        let Some(changed) = self.changed_family(readings) else { return Finding::Moving };
        match (changed, std::mem::replace(&mut self.families_suspected, changed > 0)) {
            (..=0, _) => Finding::Agrees,
            (_, false) => Finding::Suspect,
            (_, true) => Finding::Mismatch,
        }
    }

    /// Whether the readings are no reason for a check. This is so while sockets change state.
    pub(crate) fn agrees(&self, readings: &Readings) -> bool {
        self.full.agrees(&readings.full) && self.minis.agrees(&readings.minis)
    }

    /// Notes that a snapshot agreed with the ledger: see [`SockstatCheck::snapshot_agreed`].
    pub(super) fn snapshot_agreed(&mut self, readings: &Readings) {
        self.full.snapshot_agreed(&readings.full);
        self.minis.snapshot_agreed(&readings.minis);
    }

    /// Ledger minus sockstat in such objects. `None` while they change state, and if sockstat or the ledger does not
    /// count them.
    pub(super) fn difference(&self, object: Object, readings: &Readings) -> Option<Difference> {
        let (check, reading) = match object {
            Object::Full => (&self.full, &readings.full),
            Object::Mini => (&self.minis, &readings.minis),
            Object::Request => return None,
        };
        check.difference(reading)
    }

    /// Sockets that have changed to IPv4 since the ledger was right, according to sockstat. `None` while
    /// sockets change state, if sockstat cannot be read, and if the sum of both families is wrong too.
    pub(crate) fn changed_family(&self, readings: &Readings) -> Option<i64> {
        let sums_agree = self.difference(Object::Full, readings)?.beyond() == 0;
        readings.ipv4.difference().filter(|_| sums_agree).map(|difference| -difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::{Family, Hooks, PerState, State};

    fn ledger(hooks: Hooks) -> Ledger {
        let mut sockets = PerState::default();
        sockets[(Family::Ipv4, State::Established)] = 2;
        sockets[(Family::Ipv6, State::TimeWait)] = 3;
        sockets[(Family::Ipv6, State::FinWait2Mini)] = 1;
        Ledger::seeded(hooks, &Transitions::default(), &sockets)
    }

    /// Readings between which mini-sockets and full sockets made that many transitions.
    fn readings(hooks: Hooks, tw: u64, transitions: [u64; 2]) -> Readings {
        let before = Transitions::default();
        let mut after = before.clone();
        after.add(Family::Ipv6, State::FinWait2Mini, State::TimeWait, transitions[0]);
        after.add(Family::Ipv4, State::Established, State::CloseWait, transitions[1]);
        SockstatSample { before, inuse: Some(PerFamily([2, 0])), tw: Some(tw), after }
            .readings(&ledger(hooks))
    }

    const TIMEWAIT: Hooks = Hooks { timewait: true, requests: false };
    const STILL: [u64; 2] = [0, 0];

    #[test]
    fn mini_sockets_that_differ_from_tw_are_a_mismatch() {
        let mut checks = SockstatChecks::default();
        assert_eq!(checks.check(&readings(TIMEWAIT, 4, STILL)), Finding::Agrees);
        let differing = readings(TIMEWAIT, 5, STILL);
        assert!(!checks.agrees(&differing));
        assert_eq!(checks.difference(Object::Mini, &differing), Some(Difference::untolerated(-1)));
        assert_eq!(checks.difference(Object::Full, &differing), Some(Difference::untolerated(0)));
        assert_eq!(checks.check(&differing), Finding::Suspect);
        assert_eq!(checks.check(&differing), Finding::Mismatch);
    }

    #[test]
    fn mini_sockets_that_are_not_counted_are_no_mismatch() {
        let mut checks = SockstatChecks::default();
        let differing = readings(Hooks::default(), 5, STILL);
        assert!(checks.agrees(&differing));
        assert_eq!(checks.check(&differing), Finding::Agrees);
        assert_eq!(checks.difference(Object::Mini, &differing), None);
    }

    #[test]
    fn full_sockets_are_checked_while_mini_sockets_change_and_the_reverse() {
        let mut checks = SockstatChecks::default();
        assert_eq!(checks.check(&readings(TIMEWAIT, 5, [1, 0])), Finding::Agrees);
        assert_eq!(checks.check(&readings(TIMEWAIT, 4, [0, 1])), Finding::Moving);
        assert_eq!(checks.check(&readings(TIMEWAIT, 5, [0, 1])), Finding::Suspect);
    }

    #[test]
    fn requests_below_zero_are_a_reason_for_a_check() {
        let mut sample = SockstatSample {
            before: Transitions::default(),
            inuse: Some(PerFamily([2, 0])),
            tw: Some(4),
            after: Transitions::default(),
        };
        let hooks = Hooks { timewait: true, requests: true };
        assert!(SockstatChecks::default().agrees(&sample.readings(&ledger(hooks))));
        for counters in [&mut sample.before, &mut sample.after] {
            counters.add(Family::Ipv4, State::NewSynRecv, State::Close, 1);
        }
        assert!(!SockstatChecks::default().agrees(&sample.readings(&ledger(hooks))));
    }

    #[test]
    fn a_tally_has_all_sockets_at_one_moment_only_if_sockstat_counts_as_many_and_nothing_has_moved()
    {
        let mut tally = Tally::default();
        for (family, state) in [
            (Family::Ipv4, State::Established),
            (Family::Ipv4, State::CloseWait),
            (Family::Ipv6, State::Listen),
        ] {
            tally.add_full(family, state, 0, 0);
        }
        let before = Transitions::default();
        let whole = SockstatSample {
            before: before.clone(),
            inuse: Some(PerFamily([2, 1])),
            tw: Some(0),
            after: before.clone(),
        };
        assert!(whole.shows_all(&before, &tally));
        let mut moved = before.clone();
        moved.add(Family::Ipv4, State::Established, State::CloseWait, 1);
        for (sample, why) in [
            (SockstatSample { inuse: Some(PerFamily([3, 1])), ..whole.clone() }, "an orphan"),
            (SockstatSample { inuse: Some(PerFamily([3, 0])), ..whole.clone() }, "a family"),
            (SockstatSample { inuse: None, ..whole.clone() }, "no sockstat"),
            (SockstatSample { tw: Some(1), ..whole.clone() }, "TIME_WAIT"),
            (SockstatSample { tw: None, ..whole.clone() }, "no number of mini-sockets"),
            (SockstatSample { after: moved.clone(), ..whole.clone() }, "a transition after"),
            (
                SockstatSample { before: moved.clone(), after: moved, ..whole },
                "a transition during the walk",
            ),
        ] {
            assert!(!sample.shows_all(&before, &tally), "{why}");
        }
    }

    /// A sample after `sockets` have changed their family, of which `ended` have closed since.
    fn changed(sockets: u64, ended: u64) -> SockstatSample {
        let mut after = Transitions::default();
        after.add(Family::Ipv6, State::Close, State::Established, sockets);
        after.add(Family::Ipv4, State::Established, State::Close, ended);
        let inuse = PerFamily([2 + sockets - ended, 0]);
        SockstatSample { before: after.clone(), inuse: Some(inuse), tw: Some(4), after }
    }

    #[test]
    fn changes_of_family_are_found_and_are_no_mismatch_of_the_sums() {
        for ended in [0, 3, 300] {
            let mut checks = SockstatChecks::default();
            let readings = changed(300, ended).readings(&ledger(Hooks::default()));
            assert_eq!(checks.check(&readings), Finding::Agrees, "{ended} ended");
            assert!(checks.agrees(&readings), "{ended} ended");
            assert_eq!(checks.changed_family(&readings), Some(300));
            assert_eq!(checks.check_families(&readings), Finding::Suspect);
            // More sockets change before the next check.
            let more = changed(301, ended).readings(&ledger(Hooks::default()));
            assert_eq!(checks.check_families(&more), Finding::Mismatch);
            let none = changed(0, 0).readings(&ledger(Hooks::default()));
            assert_eq!(checks.check_families(&none), Finding::Agrees);
        }
    }

    #[test]
    fn gauges_below_zero_without_a_change_of_family_are_a_reason_for_a_check() {
        let mut sample = changed(0, 0);
        for counters in [&mut sample.before, &mut sample.after] {
            counters.add(Family::Ipv4, State::Established, State::CloseWait, 3);
        }
        let readings = sample.readings(&ledger(Hooks::default()));
        assert!(!SockstatChecks::default().agrees(&readings), "{readings:?}");
    }
}
