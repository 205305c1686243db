//! Rows with addresses and ports (a tuple): all that /proc/net/tcp shows.
//!
//! An event finds the row of its socket by the tuple. Where a tuple does not identify the socket, the rewind
//! counts a doubt, and another snapshot is needed:
//!
//! - A birth may come without a tuple. Later events of the socket have one. Without a later event, a row in
//!   the same state may be this socket or one that did not change.
//! - Listeners may share a tuple (`SO_REUSEPORT`). If one of them appeared or closed, a row with the tuple
//!   may be this listener or another.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::BuildHasher,
};

use foldhash::fast::FixedState;

use super::{AtCut, Rewind, StateAtCut};
use crate::{
    ledger::rules::{effect, is_birth},
    snapshot::{Identity, Row, Tuple},
    states::{Family, Object, PerState, State},
    transitions::{Event, object_of},
};

/// The rewind of rows that identify a socket by its addresses and ports.
#[derive(Debug, Default)]
pub struct ByTuple {
    /// Sockets with events, by address.
    changed: HashMap<u64, StateAtCut>,
    /// Born sockets without a tuple so far, by address, with their current state.
    unplaced: HashMap<u64, (Family, State)>,
    /// Hashes of the tuples of sockets with events: rows with such a tuple do not count.
    tuples: HashMap<u64, Owner>,
    /// One number for each row: see [`pack`].
    rows: Vec<u64>,
    /// Rows by family and state.
    shown: PerState<u64>,
}

/// Which sockets have a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// One connection: no other object of its kind can have the tuple at the same time.
    Connection,
    /// A listener, and perhaps others.
    Listener,
}

impl Rewind for ByTuple {
    fn event(&mut self, event: &Event) {
        let birth = is_birth(event.old, event.new);
        if let Entry::Vacant(first) = self.changed.entry(event.skaddr) {
            first.insert((event.tuple.family, (!birth).then_some(event.old)));
        }
        match (birth, has_tuple(event)) {
            (_, true) => {
                self.unplaced.remove(&event.skaddr);
                let listener = event.old == State::Listen || event.new == State::Listen;
                // LISTEN → SYN_RECV is the birth of a child, which is no listener.
                let owner = if listener && event.new != State::SynRecv {
                    Owner::Listener
                } else {
                    Owner::Connection
                };
                let object = object_of(event.old, event.new);
                self.tuples.insert(hash(object, &event.tuple), owner);
            }
            (true, false) => {
                self.unplaced.insert(event.skaddr, (event.tuple.family, event.new));
            }
            (false, false) => {}
        }
        if event.new == State::Close {
            // It closed before it had a port: it was in no table.
            self.unplaced.remove(&event.skaddr);
        } else if let Some((_, state)) = self.unplaced.get_mut(&event.skaddr)
            && let (_, Some(to)) = effect(event.old, event.new)
        {
            *state = to;
        }
    }

    fn row(&mut self, row: &Row) -> bool {
        let state = row.kind.state();
        if let Identity::Tuple { tuple, .. } = row.identity
            && state != State::Close
        {
            let hash = hash(Object::in_state(state), &tuple);
            self.rows.push(pack(hash, tuple.family, state));
            self.shown[(tuple.family, state)] += 1;
        }
        true
    }

    fn row_id(row: &Row) -> Option<u64> {
        match row.identity {
            Identity::Tuple { tuple, .. } => Some(hash(Object::in_state(row.kind.state()), &tuple)),
            Identity::Address { .. } => None,
        }
    }

    fn has_events(&self, row_id: u64) -> bool {
        self.tuples.contains_key(&row_id)
    }

    fn with_rows_of(self, rows: Self) -> Self {
        Self { rows: rows.rows, shown: rows.shown, ..self }
    }

    fn at_cut(&self) -> AtCut {
        let mut sockets = self.shown;
        let mut doubts = 0;
        // Without a tuple there is no row to find.
        let rows = if self.tuples.is_empty() { &[] } else { self.rows.as_slice() };
        for &row in rows {
            let Some((tuple, family, state)) = unpack(row) else { continue };
            let Some(owner) = self.tuples.get(&tuple) else { continue };
            sockets[(family, state)] -= 1;
            doubts += u64::from(*owner == Owner::Listener);
        }
        let mut unplaced = PerState::<u64>::default();
        for &(family, state) in self.unplaced.values() {
            unplaced[(family, state)] += 1;
        }
        for (family, state, births) in unplaced.iter() {
            doubts += births.min(sockets[(family, state)]);
        }
        for &(family, at_cut) in self.changed.values() {
            if let Some(state) = at_cut {
                sockets[(family, state)] += 1;
            }
        }
        AtCut { sockets, doubts }
    }
}

/// Whether an event carries the tuple that the row of its socket shows.
///
/// 7→2 comes before the source port is chosen, and a socket that connects again still has its old port. Up to
/// 6.13, 10→3 carries the tuple of the listener, which has no remote port.
fn has_tuple(event: &Event) -> bool {
    let tuple = &event.tuple;
    match (event.old, event.new) {
        (State::Close, State::SynSent | State::SynRecv) => false,
        (State::Listen, State::SynRecv) => tuple.dport != 0,
        _ => tuple.sport != 0,
    }
}

const LOW_BITS: u32 = 5;

/// The hash of object and tuple, with the low bits 0. The object is part of it because a mini-socket may have
/// the tuple of a full socket.
///
/// An IPv6 socket that talks IPv4 has the hash of the IPv4 socket that it can become.
fn hash(object: Object, tuple: &Tuple) -> u64 {
    let tuple = &tuple.as_ipv4().unwrap_or(*tuple);
    FixedState::default().hash_one((object, tuple)) >> LOW_BITS << LOW_BITS
}

/// A row in eight bytes: the hash, with family and state in the low bits.
fn pack(hash: u64, family: Family, state: State) -> u64 {
    hash | (family as u64) << 4 | u64::from(state.number())
}

fn unpack(row: u64) -> Option<(u64, Family, State)> {
    let [low, ..] = row.to_le_bytes();
    let family = Family::from_index(low >> 4 & 1)?;
    let state = State::from_number(low & 0xf)?;
    Some((row >> LOW_BITS << LOW_BITS, family, state))
}
