//! Rows by socket address: nothing to doubt.

use std::collections::HashMap;

use super::{AtCut, Moved, Rewind};
use crate::{
    ledger::rules::effect,
    snapshot::{Identity, Kind, Row},
    states::{Family, PerState, State},
    transitions::Event,
};

/// See [`Rewind`].
#[derive(Debug, Default)]
pub struct ByAddress {
    /// What moved, by socket address. An address may be used again, even by the other family.
    moved: HashMap<u64, Moved>,
    /// Full rows by family and state, each socket once.
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
        let (Kind::Full(state), Identity::Address(skaddr)) = (row.kind, row.identity) else {
            return true;
        };
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

/// A set of (address, family, state), small where neighbours share a state: one bit a KiB of a slab.
///
/// Exact because a `struct tcp_sock` is larger than that.
#[derive(Debug, Default)]
struct Addresses {
    /// By block of 64 KiB, family and state.
    blocks: HashMap<u64, u64>,
}

/// Two addresses that differ by less could share a bit.
const BIT_BYTES: u64 = 1 << 10;
const BLOCK_BYTES: u64 = BIT_BYTES * 64;

impl Addresses {
    /// Whether it was not there before.
    fn insert(&mut self, skaddr: u64, family: Family, state: State) -> bool {
        let bits = self.blocks.entry(block(skaddr, family, state)).or_default();
        let before = *bits;
        *bits |= bit(skaddr);
        *bits != before
    }

    /// Every family and state that the address was inserted with.
    fn of(&self, skaddr: u64) -> impl Iterator<Item = (Family, State)> {
        Family::ALL.into_iter().flat_map(|family| State::ALL.map(|state| (family, state))).filter(
            move |&(family, state)| {
                let block = self.blocks.get(&block(skaddr, family, state));
                block.is_some_and(|bits| bits & bit(skaddr) != 0)
            },
        )
    }
}

/// The block's number with family and state in the bits that are free above it.
fn block(skaddr: u64, family: Family, state: State) -> u64 {
    const { assert!(BLOCK_BYTES >= 1 << 8, "the number leaves eight bits free") };
    let above = ((family as u64) << 4) | u64::from(state.number());
    (skaddr / BLOCK_BYTES) | (above << 56)
}

fn bit(skaddr: u64) -> u64 {
    1 << (skaddr / BIT_BYTES % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between two `struct tcp_sock` of a slab.
    const STRIDE: u64 = 2304;

    fn row(skaddr: u64, state: State) -> Row {
        let identity = Identity::Address(skaddr);
        let kind = Kind::Full(state);
        Row { family: Family::Ipv4, identity, kind, receive_queue: 0, send_queue: 0 }
    }

    #[test]
    fn neighbours_in_a_slab_count_each_and_a_row_shown_twice_counts_once() {
        let mut rewind = ByAddress::default();
        let skaddrs = || (0..500_u64).map(|number| 0xffff_8881_0000_0000 + number * STRIDE);
        for skaddr in skaddrs() {
            assert!(rewind.row(&row(skaddr, State::Established)));
        }
        for skaddr in skaddrs() {
            assert!(!rewind.row(&row(skaddr, State::Established)));
        }
        assert_eq!(rewind.at_cut().sockets[(Family::Ipv4, State::Established)], 500);
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
