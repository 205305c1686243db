//! The kernel's own counts, and what the ledger says of the same: a wire for each.

use crate::{
    ledger::{
        Ledger, family,
        sockstat_check::{Finding, Reading, SockstatCheck},
    },
    states::{Family, Object, PerFamily},
    transitions::Transitions,
};

/// The kernel's own counts, between two looks at the counters.
#[derive(Clone, Debug)]
pub struct SockstatSample {
    /// The first look.
    pub before: Transitions,
    /// sockstat `inuse`, full sockets; `None` where it cannot be read.
    pub inuse: Option<PerFamily<u64>>,
    /// sockstat `tw`, mini-sockets of both families; likewise.
    pub tw: Option<u64>,
    /// The second look.
    pub after: Transitions,
}

/// What the wires judge.
#[derive(Clone, Copy, Debug)]
pub struct Readings {
    /// Full sockets. Requests, of which sockstat says nothing, may be below zero here.
    pub full: Reading,
    /// Full sockets of IPv4 alone: below sockstat by those that have changed to it. (Of IPv6 sockstat
    /// leaves some out: the subflows of MPTCP before 6.18.)
    pub ipv4: Reading,
    /// Mini-sockets; never still where they are not counted.
    pub minis: Reading,
}

/// A wire for each of the kernel's counts.
#[derive(Clone, Debug, Default)]
pub struct SockstatChecks {
    full: SockstatCheck,
    /// Whether sockets had changed their family at the last look that could tell.
    families_suspected: bool,
    minis: SockstatCheck,
}

impl SockstatSample {
    /// What the wires judge of `ledger`.
    #[must_use]
    pub fn readings(&self, ledger: &Ledger) -> Readings {
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
    /// Judges both: the worse of the two looks. Where mini-sockets move, full ones decide.
    pub fn check(&mut self, readings: &Readings) -> Finding {
        let looks = [self.full.check(&readings.full), self.minis.check(&readings.minis)];
        [Finding::Mismatch, Finding::Suspect]
            .into_iter()
            .find(|worse| looks.contains(worse))
            .unwrap_or(looks[0])
    }

    /// Judges the families by themselves. Snapshots put them right, so this mismatches nothing. The difference
    /// may be another one at each look, as sockets go on changing.
    pub fn check_families(&mut self, readings: &Readings) -> Finding {
        let Some(changed) = self.changed_family(readings) else { return Finding::Moving };
        match (changed, std::mem::replace(&mut self.families_suspected, changed > 0)) {
            (..=0, _) => Finding::Agrees,
            (_, false) => Finding::Suspect,
            (_, true) => Finding::Mismatch,
        }
    }

    /// Whether nothing gives cause to look again. So while sockets move.
    #[must_use]
    pub fn agrees(&self, readings: &Readings) -> bool {
        self.full.agrees(&readings.full) && self.minis.agrees(&readings.minis)
    }

    /// A snapshot agreed with the ledger: see [`SockstatCheck::excuse`].
    pub fn excuse(&mut self, readings: &Readings) {
        self.full.excuse(&readings.full);
        self.minis.excuse(&readings.minis);
    }

    /// By how much the ledger is above sockstat in such objects, excuses left out; `None` while they
    /// move, and where sockstat or the ledger does not count them.
    #[must_use]
    pub fn difference(&self, object: Object, readings: &Readings) -> Option<i64> {
        let (wire, reading) = match object {
            Object::Full => (&self.full, &readings.full),
            Object::Mini => (&self.minis, &readings.minis),
            Object::Request => return None,
        };
        reading.difference().map(|difference| difference - wire.excused())
    }

    /// How many sockets have changed to IPv4 since the ledger was right, by sockstat. `None` while they
    /// move, where sockstat cannot be read, and where the sums are wrong too.
    #[must_use]
    pub fn changed_family(&self, readings: &Readings) -> Option<i64> {
        let sums_agree = self.difference(Object::Full, readings)? == 0;
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

    /// Two looks between which mini-sockets and full ones moved so often.
    fn readings(hooks: Hooks, tw: u64, moved: [u64; 2]) -> Readings {
        let before = Transitions::default();
        let mut after = before.clone();
        after.add(Family::Ipv6, State::FinWait2Mini, State::TimeWait, moved[0]);
        after.add(Family::Ipv4, State::Established, State::CloseWait, moved[1]);
        SockstatSample { before, inuse: Some(PerFamily([2, 0])), tw: Some(tw), after }
            .readings(&ledger(hooks))
    }

    const TIMEWAIT: Hooks = Hooks { timewait: true, requests: false };
    const STILL: [u64; 2] = [0, 0];

    #[test]
    fn mini_sockets_that_differ_from_tw_trip_a_wire_of_their_own() {
        let mut checks = SockstatChecks::default();
        assert_eq!(checks.check(&readings(TIMEWAIT, 4, STILL)), Finding::Agrees);
        let differing = readings(TIMEWAIT, 5, STILL);
        assert!(!checks.agrees(&differing));
        assert_eq!(checks.difference(Object::Mini, &differing), Some(-1));
        assert_eq!(checks.difference(Object::Full, &differing), Some(0));
        assert_eq!(checks.check(&differing), Finding::Suspect);
        assert_eq!(checks.check(&differing), Finding::Mismatch);
    }

    #[test]
    fn mini_sockets_that_are_not_counted_trip_none() {
        let mut checks = SockstatChecks::default();
        let differing = readings(Hooks::default(), 5, STILL);
        assert!(checks.agrees(&differing));
        assert_eq!(checks.check(&differing), Finding::Agrees);
        assert_eq!(checks.difference(Object::Mini, &differing), None);
    }

    #[test]
    fn full_sockets_are_judged_while_mini_sockets_move_and_the_other_way_round() {
        let mut checks = SockstatChecks::default();
        assert_eq!(checks.check(&readings(TIMEWAIT, 5, [1, 0])), Finding::Agrees);
        assert_eq!(checks.check(&readings(TIMEWAIT, 4, [0, 1])), Finding::Moving);
        assert_eq!(checks.check(&readings(TIMEWAIT, 5, [0, 1])), Finding::Suspect);
    }

    #[test]
    fn a_request_below_zero_gives_cause_to_look() {
        let mut witness_of_loss = SockstatSample {
            before: Transitions::default(),
            inuse: Some(PerFamily([2, 0])),
            tw: Some(4),
            after: Transitions::default(),
        };
        let hooks = Hooks { timewait: true, requests: true };
        assert!(SockstatChecks::default().agrees(&witness_of_loss.readings(&ledger(hooks))));
        for look in [&mut witness_of_loss.before, &mut witness_of_loss.after] {
            look.add(Family::Ipv4, State::NewSynRecv, State::Close, 1);
        }
        assert!(!SockstatChecks::default().agrees(&witness_of_loss.readings(&ledger(hooks))));
    }

    /// Sockets that have changed their family, some of which have ended since.
    fn changed(sockets: u64, ended: u64) -> SockstatSample {
        let mut after = Transitions::default();
        after.add(Family::Ipv6, State::Close, State::Established, sockets);
        after.add(Family::Ipv4, State::Established, State::Close, ended);
        let inuse = PerFamily([2 + sockets - ended, 0]);
        SockstatSample { before: after.clone(), inuse: Some(inuse), tw: Some(4), after }
    }

    #[test]
    fn changes_of_family_are_seen_and_trip_no_wire() {
        for ended in [0, 3, 300] {
            let mut checks = SockstatChecks::default();
            let readings = changed(300, ended).readings(&ledger(Hooks::default()));
            assert_eq!(checks.check(&readings), Finding::Agrees, "{ended} ended");
            assert!(checks.agrees(&readings), "{ended} ended");
            assert_eq!(checks.changed_family(&readings), Some(300));
            assert_eq!(checks.check_families(&readings), Finding::Suspect);
            // More have changed by the next look.
            let more = changed(301, ended).readings(&ledger(Hooks::default()));
            assert_eq!(checks.check_families(&more), Finding::Mismatch);
            let none = changed(0, 0).readings(&ledger(Hooks::default()));
            assert_eq!(checks.check_families(&none), Finding::Agrees);
        }
    }

    #[test]
    fn a_gauge_below_zero_that_no_change_of_family_explains_gives_cause_to_look() {
        let mut sample = changed(0, 0);
        for look in [&mut sample.before, &mut sample.after] {
            look.add(Family::Ipv4, State::Established, State::CloseWait, 3);
        }
        let readings = sample.readings(&ledger(Hooks::default()));
        assert!(!SockstatChecks::default().agrees(&readings), "{readings:?}");
    }
}
