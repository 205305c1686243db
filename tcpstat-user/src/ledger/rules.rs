//! How a transition changes the number of sockets in each state.

use crate::{
    states::{PerState, State},
    transitions::Transitions,
};

/// The gauge that a transition decreases, and the gauge that it increases.
///
/// CLOSE has no gauge: a socket that leaves it is born, and a socket that enters it has left every table.
/// LISTEN → SYN_RECV is a birth too: an accepted child is a clone of its listener (`inet_csk_clone_lock`),
/// so its old state is LISTEN, but the listener remains. A transition to the same state (`tcp_close_state`
/// makes 4→4) changes nothing. Mini-sockets and requests come from CLOSE and end in it.
pub(crate) fn effect(old: State, new: State) -> (Option<State>, Option<State>) {
    if old == new {
        return (None, None);
    }
    let birth = old == State::Close || (old == State::Listen && new == State::SynRecv);
    ((!birth).then_some(old), (new != State::Close).then_some(new))
}

/// Whether a transition creates a socket.
pub(super) fn is_birth(old: State, new: State) -> bool {
    old != new && effect(old, new).0.is_none()
}

/// The change of every gauge by `transitions`.
pub(super) fn net_change(transitions: &Transitions) -> PerState<i64> {
    let mut change = PerState::<i64>::default();
    for (family, old, new, count) in transitions.seen() {
        let (from, to) = effect(old, new);
        // The kernel's counters wrap, so the differences wrap too.
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
    fn each_transition_changes_the_gauges_by_its_rule() {
        let table = [
            // A socket is born in the state that it enters.
            (Close, SynSent, None, Some(SynSent)),
            (Close, Listen, None, Some(Listen)),
            (Close, SynRecv, None, Some(SynRecv)),
            // An accepted child does not decrease LISTEN.
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
            // No change of state.
            (FinWait1, FinWait1, None, None),
            (Close, Close, None, None),
            // A change of state.
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
    fn after_a_connection_ends_only_the_listener_remains() {
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
    fn counts_that_wrap_still_give_the_right_change() {
        let mut seen = Transitions::default();
        seen.add(Family::Ipv6, Close, SynSent, u64::MAX - 1);
        let before = net_change(&seen);
        seen.add(Family::Ipv6, Close, SynSent, 5);
        let change = net_change(&seen)[(Family::Ipv6, SynSent)]
            .wrapping_sub(before[(Family::Ipv6, SynSent)]);
        assert_eq!(change, 5);
    }
}
