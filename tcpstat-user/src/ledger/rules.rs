//! What a transition does to the number of sockets in each state.

use crate::{
    states::{PerState, State},
    transitions::Transitions,
};

/// The state that a transition takes a socket from and the state that it brings one to, where there
/// is one.
///
/// CLOSE is no place: what leaves it is born, what enters it is gone from every table. LISTEN →
/// SYN_RECV is a birth too: an accepted child is cloned from its listener (`inet_csk_clone_lock`),
/// whose state it carries as its old one; the listener stays. A transition to the same state
/// (`tcp_close_state` makes 4→4) is no move. Mini-sockets and requests come from CLOSE and go to it.
#[must_use]
pub fn effect(old: State, new: State) -> (Option<State>, Option<State>) {
    if old == new {
        return (None, None);
    }
    let birth = old == State::Close || (old == State::Listen && new == State::SynRecv);
    ((!birth).then_some(old), (new != State::Close).then_some(new))
}

/// The change of every gauge by these transitions.
#[must_use]
pub fn net_change(transitions: &Transitions) -> PerState<i64> {
    let mut change = PerState::<i64>::default();
    for (family, old, new, count) in transitions.seen() {
        let (from, to) = effect(old, new);
        // Counts wrap as the kernel's do, and so do their differences.
        let count = count.cast_signed();
        if let Some(from) = from {
            change[(family, from)] = change[(family, from)].wrapping_sub(count);
        }
        if let Some(to) = to {
            change[(family, to)] = change[(family, to)].wrapping_add(count);
        }
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::Family;
    use State::{
        Close, CloseWait, Closing, Established, FinWait1, FinWait2, FinWait2Mini, LastAck, Listen,
        NewSynRecv, SynRecv, SynSent, TimeWait,
    };

    #[test]
    fn every_rule_of_the_table_holds() {
        let table = [
            // A socket is born in the state that it enters.
            (Close, SynSent, None, Some(SynSent)),
            (Close, Listen, None, Some(Listen)),
            (Close, SynRecv, None, Some(SynRecv)),
            // An accepted child does not take its listener away.
            (Listen, SynRecv, None, Some(SynRecv)),
            (Listen, Close, Some(Listen), None),
            // Death.
            (Established, Close, Some(Established), None),
            (SynSent, Close, Some(SynSent), None),
            (SynRecv, Close, Some(SynRecv), None),
            (FinWait1, Close, Some(FinWait1), None),
            (FinWait2, Close, Some(FinWait2), None),
            (CloseWait, Close, Some(CloseWait), None),
            (LastAck, Close, Some(LastAck), None),
            (Closing, Close, Some(Closing), None),
            // No move.
            (FinWait1, FinWait1, None, None),
            (Close, Close, None, None),
            // Moves.
            (SynSent, Established, Some(SynSent), Some(Established)),
            (SynRecv, Established, Some(SynRecv), Some(Established)),
            (Established, FinWait1, Some(Established), Some(FinWait1)),
            (FinWait1, Closing, Some(FinWait1), Some(Closing)),
            (CloseWait, LastAck, Some(CloseWait), Some(LastAck)),
            // Mini-sockets and requests.
            (Close, TimeWait, None, Some(TimeWait)),
            (Close, FinWait2Mini, None, Some(FinWait2Mini)),
            (FinWait2Mini, TimeWait, Some(FinWait2Mini), Some(TimeWait)),
            (TimeWait, Close, Some(TimeWait), None),
            (FinWait2Mini, Close, Some(FinWait2Mini), None),
            (Close, NewSynRecv, None, Some(NewSynRecv)),
            (NewSynRecv, Close, Some(NewSynRecv), None),
        ];
        for (old, new, from, to) in table {
            assert_eq!(effect(old, new), (from, to), "{old:?} → {new:?}");
        }
    }

    #[test]
    fn a_connection_and_its_end_leave_nothing_but_the_listener() {
        let mut seen = Transitions::default();
        for (old, new) in [
            (Close, Listen),
            (Close, SynSent),
            (SynSent, Established),
            (Close, NewSynRecv),
            (NewSynRecv, Close),
            (Listen, SynRecv),
            (SynRecv, Established),
            (Established, FinWait1),
            (FinWait1, FinWait2),
            (Close, FinWait2Mini),
            (FinWait2, Close),
            (FinWait2Mini, TimeWait),
            (TimeWait, Close),
            (Established, CloseWait),
            (CloseWait, LastAck),
            (LastAck, Close),
        ] {
            seen.add(Family::Ipv4, old, new, 1);
        }
        let expected =
            PerState::from_fn(|family, state| i64::from(family == Family::Ipv4 && state == Listen));
        assert_eq!(net_change(&seen), expected);
    }

    #[test]
    fn counts_near_the_end_of_their_range_still_differ_by_what_came_between() {
        let mut seen = Transitions::default();
        seen.add(Family::Ipv6, Close, SynSent, u64::MAX - 1);
        let before = net_change(&seen);
        seen.add(Family::Ipv6, Close, SynSent, 5);
        let change = net_change(&seen)[(Family::Ipv6, SynSent)]
            .wrapping_sub(before[(Family::Ipv6, SynSent)]);
        assert_eq!(change, 5);
    }
}
