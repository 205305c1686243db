//! The state of every counted socket at the moment the event log opened, from a listing taken while it
//! was open.
//!
//! A socket with an event in the log counts with the old state of its first one; if that was its
//! birth, it does not count. A socket without one was at rest, so its row tells. An event carries the
//! socket's address. Rows of the iterator do too ([`ByAddress`]); those of /proc/net/tcp carry its
//! ends ([`ByTuple`]), which cannot always tell.

mod by_address;
mod by_tuple;

pub use by_address::ByAddress;
pub use by_tuple::ByTuple;

use crate::{
    snapshot::Row,
    states::{Family, PerState, State},
    transitions::Event,
};

/// Events and rows of one listing, in any order among each other; the events in their own.
pub trait Rewind: Default + Send {
    /// Takes a transition that was logged, in the order of the log.
    fn event(&mut self, event: &Event);

    /// Takes a row of the listing, whose moves are logged. Sockets in CLOSE, which are on their way out
    /// of the tables, leave no trace.
    ///
    /// Returns whether this is the first row of that socket, as far as it can be told.
    fn row(&mut self, row: &Row) -> bool;

    /// These events with the rows that `other` was given.
    #[must_use]
    fn with_rows_of(self, other: Self) -> Self;

    /// Adds up.
    #[must_use]
    fn at_cut(&self) -> AtCut;
}

/// The counted sockets at the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtCut {
    /// How many there were.
    pub sockets: PerState<u64>,
    /// How many rows may have been counted wrongly.
    pub doubts: u64,
}

/// A socket that moved: its family, and its state at the cut, `None` where it was born since.
type Moved = (Family, Option<State>);

#[cfg(test)]
mod tests;
