//! Sockets that change their family, of which no transition tells.
//!
//! `IPV6_ADDRFORM` turns an AF_INET6 socket that talks IPv4 into an AF_INET one, in ESTABLISHED alone
//! and never back (`do_ipv6_setsockopt`, net/ipv6/ipv6_sockglue.c). Any user may do it, as often as he
//! likes. The ledger has counted such a socket in as IPv6 and counts it out as IPv4: for each change
//! ESTABLISHED is one too high in IPv6 and one too low in IPv4. The sum over both families stays right.

use crate::states::{Family, PerState, State};

/// The gauge that a changed socket is missing from, and the one that has it still.
const ENTERED: (Family, State) = (Family::Ipv4, State::Established);
const LEFT: (Family, State) = (Family::Ipv6, State::Established);

/// The gauges of `counted` when `changed` sockets have changed their family since it was right, none of
/// them below zero: what one family lacks in a state is taken from the other, so that the sum over both
/// is that of `counted`, or 0 where that is below zero.
#[must_use]
pub fn settled(counted: &PerState<i64>, changed: i64) -> PerState<u64> {
    let wrong = as_drift(changed.max(0));
    let counted = PerState::from_fn(|family, state| {
        counted[(family, state)].saturating_sub(wrong[(family, state)])
    });
    PerState::from_fn(|family, state| {
        let own = counted[(family, state)];
        let other = counted[(family.other(), state)];
        own.max(0).saturating_add(other.min(0)).max(0).cast_unsigned()
    })
}

/// Whether a gauge below zero may be that of a family that sockets have changed to, `changed` of them
/// by sockstat: their sum over both families is not below zero.
#[must_use]
pub fn explains(changed: i64, family: Family, state: State, counted: &PerState<i64>) -> bool {
    changed > 0 && (family, state) == ENTERED && counted[ENTERED].saturating_add(counted[LEFT]) >= 0
}

/// Splits a drift (ledger − snapshot) into the number of sockets that have changed their family and
/// the drift that is left. sockstat has seen `seen` changes, where it can tell: there were no more.
#[must_use]
pub fn split(drift: &PerState<i64>, seen: Option<i64>) -> (i64, PerState<i64>) {
    let changed =
        drift[LEFT].min(drift[ENTERED].saturating_neg()).min(seen.unwrap_or(i64::MAX)).max(0);
    let rest = PerState::from_fn(|family, state| {
        drift[(family, state)] - as_drift(changed)[(family, state)]
    });
    (changed, rest)
}

/// The drift that so many changes of family make.
#[must_use]
pub fn as_drift(changed: i64) -> PerState<i64> {
    let mut drift = PerState::default();
    drift[LEFT] = changed;
    drift[ENTERED] = -changed;
    drift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn established(ipv4: i64, ipv6: i64) -> PerState<i64> {
        let mut counts = PerState::default();
        counts[ENTERED] = ipv4;
        counts[LEFT] = ipv6;
        counts
    }

    #[test]
    fn the_sum_of_the_gauges_is_that_of_the_counts_whichever_family_is_below_zero() {
        for (counted, shown) in [
            ((3, 4), (3, 4)),
            ((-300, 325), (0, 25)),
            ((325, -300), (25, 0)),
            ((-7, 7), (0, 0)),
            ((-7, 3), (0, 0)),
            ((-7, -3), (0, 0)),
            ((i64::MIN, i64::MIN), (0, 0)),
        ] {
            let gauges = settled(&established(counted.0, counted.1), 0);
            let shown_gauges = (gauges[ENTERED], gauges[LEFT]);
            assert_eq!(shown_gauges, shown, "{counted:?}");
        }
    }

    #[test]
    fn each_gauge_is_right_where_it_is_known_how_many_have_changed() {
        for (counted, changed, shown) in [
            ((-300, 325), 310, (10, 15)),
            ((50, 325), 300, (350, 25)),
            ((5, 5), 9, (10, 0)),
            ((5, 5), -9, (5, 5)),
        ] {
            let gauges = settled(&established(counted.0, counted.1), changed);
            assert_eq!((gauges[ENTERED], gauges[LEFT]), shown, "{counted:?}, {changed} changed");
        }
    }

    #[test]
    fn a_drift_is_split_into_changes_of_family_and_the_rest() {
        for (drift, changed, rest) in [
            ((-5, 5), 5, (0, 0)),
            ((-5, 7), 5, (0, 2)),
            ((-5, 3), 3, (-2, 0)),
            ((5, -5), 0, (5, -5)),
            ((2, 3), 0, (2, 3)),
            ((0, 0), 0, (0, 0)),
        ] {
            let (split_changed, split_rest) = split(&established(drift.0, drift.1), None);
            assert_eq!((split_changed, split_rest), (changed, established(rest.0, rest.1)));
        }
        assert_eq!(split(&established(-5, 5), Some(2)), (2, established(-3, 3)));
        assert_eq!(split(&established(-5, 5), Some(-2)), (0, established(-5, 5)));
    }

    #[test]
    fn changes_explain_ipv4_below_zero_in_established_and_nothing_else() {
        let counted = established(-3, 3);
        assert!(explains(3, Family::Ipv4, State::Established, &counted));
        assert!(!explains(0, Family::Ipv4, State::Established, &counted), "sockstat saw none");
        assert!(!explains(3, Family::Ipv6, State::Established, &counted));
        assert!(!explains(3, Family::Ipv4, State::CloseWait, &counted));
        assert!(!explains(3, Family::Ipv4, State::Established, &established(-3, 2)));
    }
}
