//! Rows by socket address: nothing to doubt.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{AtCut, Moved, Rewind};
use crate::{
    ledger::rules::effect,
    snapshot::{Identity, Row},
    states::{Family, Object, PerState, State},
    transitions::Event,
};

/// See [`Rewind`].
#[derive(Debug, Default)]
pub struct ByAddress {
    /// What moved, by socket address. An address may be used again, even by the other family.
    moved: HashMap<u64, Moved, FixedState>,
    /// Rows by family and state, each socket once.
    rows: PerState<u64>,
    shown: Addresses,
}

impl Rewind for ByAddress {
    fn event(&mut self, event: &Event) {
        let birth = effect(event.old, event.new).0.is_none() && event.old != event.new;
        let at_cut = (!birth).then_some(event.old);
        self.moved.entry(event.skaddr).or_insert((event.tuple.family, at_cut));
    }

    fn row(&mut self, row: &Row) -> bool {
        let Identity::Address(skaddr) = row.identity else { return true };
        let state = row.kind.state();
        if state == State::Close {
            return true;
        }
        let first = self.shown.insert(skaddr, row.family, state);
        self.rows[(row.family, state)] += u64::from(first);
        first
    }

    fn with_rows_of(self, other: Self) -> Self {
        Self { moved: self.moved, ..other }
    }

    fn at_cut(&self) -> AtCut {
        let mut sockets = self.rows;
        for (&skaddr, &(family, at_cut)) in &self.moved {
            for shown in self.shown.of(skaddr) {
                sockets[shown] -= 1;
            }
            if let Some(state) = at_cut {
                sockets[(family, state)] += 1;
            }
        }
        AtCut { sockets, doubts: 0 }
    }
}

/// A set of (address, family, state), small where neighbours share a state: one bit for so many bytes
/// of a slab.
#[derive(Debug, Default)]
struct Addresses {
    /// By block of 64 bits, family and state.
    blocks: HashMap<u64, u64, FixedState>,
}

impl Addresses {
    /// Whether it was not there before.
    fn insert(&mut self, skaddr: u64, family: Family, state: State) -> bool {
        let (block, bit) = place(skaddr, family, state);
        let bits = self.blocks.entry(block).or_default();
        let before = *bits;
        *bits |= bit;
        *bits != before
    }

    /// Every family and state that the address was inserted with.
    fn of(&self, skaddr: u64) -> impl Iterator<Item = (Family, State)> {
        Family::ALL.into_iter().flat_map(|family| State::EVERY.map(|state| (family, state))).filter(
            move |&(family, state)| {
                let (block, bit) = place(skaddr, family, state);
                self.blocks.get(&block).is_some_and(|bits| bits & bit != 0)
            },
        )
    }
}

/// Of a slab of such objects one bit stands for so many bytes. Exact because a `struct tcp_sock`, or a
/// `struct tcp_timewait_sock` or `tcp_request_sock`, is larger than that.
const fn bit_bytes(state: State) -> u64 {
    match Object::in_state(state) {
        Object::Full => 1 << 10,
        Object::Mini | Object::Request => 1 << 7,
    }
}

/// The number of the block, with family and state in the bits that are free above it, and its bit.
fn place(skaddr: u64, family: Family, state: State) -> (u64, u64) {
    let number = skaddr / bit_bytes(state);
    let above = ((family as u64) << 4) | u64::from(state.number());
    ((number / 64) | (above << 56), 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Kind;

    /// Between two `struct tcp_sock` of a slab.
    const STRIDE: u64 = 2304;
    /// Between two `struct tcp_timewait_sock` at the least.
    const MINI_STRIDE: u64 = 248;

    fn row(skaddr: u64, state: State) -> Row {
        let identity = Identity::Address(skaddr);
        let kind = Kind::in_state(state);
        Row { family: Family::Ipv4, identity, kind, receive_queue: 0, send_queue: 0 }
    }

    #[test]
    fn neighbours_in_a_slab_count_each_and_a_row_shown_twice_counts_once() {
        for (state, stride) in [
            (State::Established, STRIDE),
            (State::TimeWait, MINI_STRIDE),
            (State::NewSynRecv, MINI_STRIDE),
        ] {
            let mut rewind = ByAddress::default();
            let skaddrs = || (0..500_u64).map(|number| 0xffff_8881_0000_0000 + number * stride);
            for skaddr in skaddrs() {
                assert!(rewind.row(&row(skaddr, state)));
            }
            for skaddr in skaddrs() {
                assert!(!rewind.row(&row(skaddr, state)));
            }
            assert_eq!(rewind.at_cut().sockets[(Family::Ipv4, state)], 500);
        }
    }

    #[test]
    fn a_million_rows_take_two_megabytes_at_most() {
        let mut rewind = ByAddress::default();
        for number in 0..1_000_000 {
            rewind.row(&row(0xffff_8881_0000_0000 + number * STRIDE, State::Established));
        }
        // hashbrown keeps one byte of control for each entry.
        let bytes = rewind.shown.blocks.capacity() * (size_of::<(u64, u64)>() + 1);
        assert!(bytes < 2 << 20, "{bytes} bytes");
        assert_eq!(rewind.at_cut().sockets[(Family::Ipv4, State::Established)], 1_000_000);
    }
}
