//! The gauges of scopes of one kind, so that their sum is that of the namespace.

use crate::states::{Family, PerState, State};

/// Sockets by state of both families, in the places of IPv4.
#[must_use]
pub(crate) fn without_family(sockets: &PerState<u64>) -> PerState<u64> {
    PerState::from_fn(|family, state| match family {
        Family::Ipv4 => Family::ALL.iter().map(|&family| sockets[(family, state)]).sum(),
        Family::Ipv6 => 0,
    })
}

/// The sockets of `total` that are in none of `scopes`. All numbers are in the places of IPv4.
///
/// Total and scopes are not read at one moment, and an event can be lost, so a sum can be above the total. Then the
/// largest scopes are made smaller, because no rest is below zero.
#[must_use]
pub(crate) fn rest(total: &PerState<u64>, scopes: &mut [PerState<u64>]) -> PerState<u64> {
    let mut rest = PerState::default();
    for state in State::ALL {
        let place = (Family::Ipv4, state);
        let sum: u64 = scopes.iter().map(|scope| scope[place]).sum();
        let mut excess = sum.saturating_sub(total[place]);
        while excess > 0 {
            let Some(largest) = scopes.iter_mut().max_by_key(|scope| scope[place]) else { break };
            let less = excess.min(largest[place]);
            largest[place] -= less;
            excess -= less;
        }
        rest[place] = total[place].saturating_sub(sum);
    }
    rest
}

/// `one` minus `other`, at least zero.
#[must_use]
pub(crate) fn difference(one: &PerState<u64>, other: &PerState<u64>) -> PerState<u64> {
    PerState::from_fn(|family, state| one[(family, state)].saturating_sub(other[(family, state)]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn established(count: u64) -> PerState<u64> {
        let mut sockets = PerState::default();
        sockets[(Family::Ipv4, State::Established)] = count;
        sockets
    }

    proptest! {
        #[test]
        fn the_sum_of_the_scopes_and_the_rest_is_the_total(
            total in 0..50_u64,
            counts in prop::collection::vec(0..20_u64, 0..6),
        ) {
            let mut scopes: Vec<_> = counts.iter().map(|&count| established(count)).collect();
            let rest = rest(&established(total), &mut scopes);
            let place = (Family::Ipv4, State::Established);
            let sum: u64 = scopes.iter().map(|scope| scope[place]).sum();
            prop_assert_eq!(sum + rest[place], total);
            for (scope, &count) in scopes.iter().zip(&counts) {
                prop_assert!(scope[place] <= count);
            }
            if counts.iter().sum::<u64>() <= total {
                let kept: Vec<_> = scopes.iter().map(|scope| scope[place]).collect();
                prop_assert_eq!(kept, counts);
            }
        }
    }
}
