//! Rows with the address of the socket: the rewind has no doubts.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{AtCut, Rewind, StateAtCut};
use crate::{
    ledger::rules::is_birth,
    snapshot::{Identity, Row},
    states::{Family, Object, PerState, State},
    transitions::Event,
};

/// The rewind of rows that identify a socket by its address.
#[derive(Debug, Default)]
pub struct ByAddress {
    /// Sockets with events, by address. The kernel may use an address again, even for the other family.
    changed: HashMap<u64, StateAtCut, FixedState>,
    /// Number of sockets in the rows.
    rows: PerState<u64>,
    /// The sockets in the rows.
    shown: Addresses,
}

impl Rewind for ByAddress {
    fn event(&mut self, event: &Event) {
        let at_cut = (!is_birth(event.old, event.new)).then_some(event.old);
        self.changed.entry(event.skaddr).or_insert((event.tuple.family, at_cut));
    }

    fn row(&mut self, row: &Row) -> bool {
        let Identity::Address { skaddr, .. } = row.identity else { return true };
        let state = row.kind.state();
        if state == State::Close {
            return true;
        }
        let first = self.shown.insert(skaddr, row.family, state);
        self.rows[(row.family, state)] += u64::from(first);
        first
    }

    fn row_id(row: &Row) -> Option<u64> {
        match row.identity {
            Identity::Address { skaddr, .. } => Some(skaddr),
            Identity::Tuple { .. } => None,
        }
    }

    fn has_events(&self, row_id: u64) -> bool {
        self.changed.contains_key(&row_id)
    }

    fn with_rows_of(self, rows: Self) -> Self {
        Self { changed: self.changed, ..rows }
    }

    fn at_cut(&self) -> AtCut {
        let mut sockets = self.rows;
        for (&skaddr, &(family, at_cut)) in &self.changed {
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

/// A set of (address, family, state). It is small if neighbours in a slab share a state: each bit stands for
/// [`bit_bytes`] bytes of the slab.
#[derive(Debug, Default)]
struct Addresses {
    /// 64 bits by block number, family and state: see [`place`].
    blocks: HashMap<u64, u64, FixedState>,
}

impl Addresses {
    /// Returns whether the set did not have it before.
    fn insert(&mut self, skaddr: u64, family: Family, state: State) -> bool {
        let (block, bit) = place(skaddr, family, state);
        let bits = self.blocks.entry(block).or_default();
        let before = *bits;
        *bits |= bit;
        *bits != before
    }

    /// All families and states that were inserted with the address.
    fn of(&self, skaddr: u64) -> impl Iterator<Item = (Family, State)> {
        Family::ALL.into_iter().flat_map(|family| State::EVERY.map(|state| (family, state))).filter(
            move |&(family, state)| {
                let (block, bit) = place(skaddr, family, state);
                self.blocks.get(&block).is_some_and(|bits| bits & bit != 0)
            },
        )
    }
}

/// Bytes of a slab for each bit. No two objects share a bit, because `struct tcp_sock`, and for the others
/// `struct tcp_timewait_sock` and `struct tcp_request_sock`, are larger than this.
const fn bit_bytes(state: State) -> u64 {
    match Object::in_state(state) {
        Object::Full => 1 << 10,
        Object::Mini | Object::Request => 1 << 7,
    }
}

/// The key of the block, which has family and state in its upper bits, and the bit in the block.
fn place(skaddr: u64, family: Family, state: State) -> (u64, u64) {
    let number = skaddr / bit_bytes(state);
    let above = ((family as u64) << 4) | u64::from(state.number());
    ((number / 64) | (above << 56), 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Kind, Tuple};

    /// Distance of two `struct tcp_sock` in a slab.
    const STRIDE: u64 = 2304;
    /// Minimum distance of two `struct tcp_timewait_sock`.
    const MINI_STRIDE: u64 = 248;

    fn row(skaddr: u64, state: State) -> Row {
        let (family, saddr, daddr) = (Family::Ipv4, [1; 16], [2; 16]);
        let tuple = Tuple { family, saddr, sport: 0, daddr, dport: 443 };
        let identity = Identity::Address { skaddr, tuple };
        let kind = Kind::in_state(state);
        Row { family, identity, kind, receive_queue: 0, send_queue: 0, sport: 0, cgroup: 0 }
    }

    #[test]
    fn each_neighbour_in_a_slab_counts_and_a_repeated_row_counts_once() {
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
    fn a_million_rows_take_at_most_two_megabytes() {
        let mut rewind = ByAddress::default();
        for number in 0..1_000_000 {
            rewind.row(&row(0xffff_8881_0000_0000 + number * STRIDE, State::Established));
        }
        // hashbrown has one control byte for each entry.
        let bytes = rewind.shown.blocks.capacity() * (size_of::<(u64, u64)>() + 1);
        assert!(bytes < 2 << 20, "{bytes} bytes");
        assert_eq!(rewind.at_cut().sockets[(Family::Ipv4, State::Established)], 1_000_000);
    }
}
