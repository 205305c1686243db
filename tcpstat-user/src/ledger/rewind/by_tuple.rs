//! Rows by the socket's ends: all that /proc/net/tcp tells.
//!
//! An event finds the row of its socket by the tuple. Where a tuple cannot tell, the doubt is counted,
//! and the listing is to be taken again:
//!
//! - A birth may not know its tuple yet. Its socket's later events do; where none came, a row in the
//!   same state may be that socket or one at rest.
//! - Listeners may share a tuple (`SO_REUSEPORT`). Where one of them came or went, the rows with that
//!   tuple may be it or its peers.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::BuildHasher,
};

use foldhash::fast::FixedState;

use super::{AtCut, Moved, Rewind};
use crate::{
    ledger::rules::effect,
    snapshot::{Identity, Row, Tuple},
    states::{Family, Object, PerState, State},
    transitions::{Event, object_of},
};

/// See [`Rewind`].
#[derive(Debug, Default)]
pub struct ByTuple {
    /// What moved, by socket address.
    moved: HashMap<u64, Moved>,
    /// Births without a tuple so far, by socket address, with the state the socket is in now.
    unplaced: HashMap<u64, (Family, State)>,
    /// Tuples whose rows belong to sockets that moved, each with the object that moved.
    tuples: HashMap<u64, Owner>,
    /// The hash of tuple and object each, with family and state in the low bits. Eight bytes a row.
    rows: Vec<u64>,
    /// Rows by family and state.
    shown: PerState<u64>,
}

/// Whose a tuple is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// One connection's: no other object of its kind can have it at the same time.
    Connection,
    /// A listener's, and perhaps that of others.
    Listener,
}

impl Rewind for ByTuple {
    fn event(&mut self, event: &Event) {
        let (from, to) = effect(event.old, event.new);
        let birth = from.is_none() && event.old != event.new;
        if let Entry::Vacant(first) = self.moved.entry(event.skaddr) {
            first.insert((event.tuple.family, (!birth).then_some(event.old)));
        }
        match (birth, trusted(event)) {
            (_, true) => {
                self.unplaced.remove(&event.skaddr);
                let listener = event.old == State::Listen || event.new == State::Listen;
                // A child is born of a listener but is none.
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
            // It died before it had a port: no table ever held it.
            self.unplaced.remove(&event.skaddr);
        } else if let (Some((_, state)), Some(to)) = (self.unplaced.get_mut(&event.skaddr), to) {
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

    fn with_rows_of(self, other: Self) -> Self {
        Self { rows: other.rows, shown: other.shown, ..self }
    }

    fn at_cut(&self) -> AtCut {
        let mut sockets = self.shown;
        let mut doubts = 0;
        // Where nothing moved there is nothing to look for.
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
        for &(family, at_cut) in self.moved.values() {
            if let Some(state) = at_cut {
                sockets[(family, state)] += 1;
            }
        }
        AtCut { sockets, doubts }
    }
}

/// Whether an event carries the tuple that its socket's row shows.
///
/// 7→2 fires before the source port is chosen, and a socket that is used again still carries its old
/// one; 10→3 carries the listener's ends up to 6.13, recognised by the missing remote port.
fn trusted(event: &Event) -> bool {
    let tuple = &event.tuple;
    match (event.old, event.new) {
        (State::Close, State::SynSent | State::SynRecv) => false,
        (State::Listen, State::SynRecv) => tuple.dport != 0,
        _ => tuple.sport != 0,
    }
}

const LOW_BITS: u32 = 5;

/// The hash of an object's tuple, its low bits cleared: a mini-socket may have that of a full one.
///
/// The same for an IPv6 socket that talks IPv4 and for the IPv4 socket that it may become.
fn hash(object: Object, tuple: &Tuple) -> u64 {
    let tuple = &tuple.as_ipv4().unwrap_or(*tuple);
    FixedState::default().hash_one((object, tuple)) >> LOW_BITS << LOW_BITS
}

fn pack(hash: u64, family: Family, state: State) -> u64 {
    hash | (family as u64) << 4 | u64::from(state.number())
}

fn unpack(row: u64) -> Option<(u64, Family, State)> {
    let [low, ..] = row.to_le_bytes();
    let family = Family::from_index(low >> 4 & 1)?;
    let state = State::from_number(low & 0xf)?;
    Some((row >> LOW_BITS << LOW_BITS, family, state))
}
