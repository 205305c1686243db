//! Sockets that change their family without a transition.
//!
//! `IPV6_ADDRFORM` turns an AF_INET6 socket that talks IPv4 into an AF_INET socket, only in ESTABLISHED and
//! never back (`do_ipv6_setsockopt`, net/ipv6/ipv6_sockglue.c). Any user may do this, as often as they like.
//! The ledger counts such a socket in as IPv6 and out as IPv4: each change makes ESTABLISHED one too high in
//! IPv6 and one too low in IPv4. The sum of both families stays right.

use crate::states::{Family, PerState, State};

/// The gauge that lacks a socket which changed its family, and the gauge that still has it.
const ENTERED: (Family, State) = (Family::Ipv4, State::Established);
const LEFT: (Family, State) = (Family::Ipv6, State::Established);

/// The gauges for the `counted` sockets of which `changed` have changed their family.
///
/// No gauge is below zero: what one family lacks in a state is taken from the other family. The sum of both
/// families is that of `counted`, or 0 if that is below zero.
#[must_use]
pub(super) fn gauges(counted: &PerState<i64>, changed: i64) -> PerState<u64> {
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

/// Whether changes of family explain that this gauge of `counted` is below zero. sockstat shows `changed`
/// changes. They explain it only if the sum of both families is not below zero.
#[must_use]
pub(super) fn explains(
    changed: i64,
    family: Family,
    state: State,
    counted: &PerState<i64>,
) -> bool {
    changed > 0 && (family, state) == ENTERED && counted[ENTERED].saturating_add(counted[LEFT]) >= 0
}

/// Splits a drift (ledger minus snapshot) into the number of changes of family and the rest of the drift.
/// There were at most as many changes as sockstat shows in `seen`; `None` if sockstat cannot tell.
#[must_use]
pub(super) fn split(drift: &PerState<i64>, seen: Option<i64>) -> (i64, PerState<i64>) {
    let changed =
        drift[LEFT].min(drift[ENTERED].saturating_neg()).min(seen.unwrap_or(i64::MAX)).max(0);
    let rest = PerState::from_fn(|family, state| {
        drift[(family, state)] - as_drift(changed)[(family, state)]
    });
    (changed, rest)
}

/// The drift that `changed` changes of family cause.
#[must_use]
pub(super) fn as_drift(changed: i64) -> PerState<i64> {
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
    fn gauges_keep_the_sum_of_both_families_when_one_is_below_zero() {
        for (counted, shown) in [
            ((3, 4), (3, 4)),
            ((-300, 325), (0, 25)),
            ((325, -300), (25, 0)),
            ((-7, 7), (0, 0)),
            ((-7, 3), (0, 0)),
            ((-7, -3), (0, 0)),
            ((i64::MIN, i64::MIN), (0, 0)),
        ] {
            let gauges = gauges(&established(counted.0, counted.1), 0);
            let shown_gauges = (gauges[ENTERED], gauges[LEFT]);
            assert_eq!(shown_gauges, shown, "{counted:?}");
        }
    }

    #[test]
    fn each_gauge_is_right_if_the_number_of_changes_is_known() {
        for (counted, changed, shown) in [
            ((-300, 325), 310, (10, 15)),
            ((50, 325), 300, (350, 25)),
            ((5, 5), 9, (10, 0)),
            ((5, 5), -9, (5, 5)),
        ] {
            let gauges = gauges(&established(counted.0, counted.1), changed);
            assert_eq!((gauges[ENTERED], gauges[LEFT]), shown, "{counted:?}, {changed} changed");
        }
    }

    #[test]
    fn a_drift_splits_into_changes_of_family_and_the_rest() {
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
    fn changes_of_family_explain_only_established_ipv4_below_zero() {
        let counted = established(-3, 3);
        assert!(explains(3, Family::Ipv4, State::Established, &counted));
        assert!(
            !explains(0, Family::Ipv4, State::Established, &counted),
            "sockstat shows no change"
        );
        assert!(!explains(3, Family::Ipv6, State::Established, &counted));
        assert!(!explains(3, Family::Ipv4, State::CloseWait, &counted));
        assert!(!explains(3, Family::Ipv4, State::Established, &established(-3, 2)));
    }
}
