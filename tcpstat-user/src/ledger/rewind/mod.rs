//! The sockets at the moment when the event log opened (the cut), from a snapshot taken while it was open.
//!
//! A socket with events in the log was in the old state of its first event; if that event was its birth, it
//! did not exist. A socket without an event did not change, so its row shows its state. Events carry the
//! socket's address. Rows of the iterator carry it too ([`ByAddress`]). Rows of /proc/net/tcp carry
//! addresses and ports ([`ByTuple`]), which do not always identify a socket.

mod by_address;
mod by_tuple;
mod scoped;

pub use by_address::ByAddress;
pub use by_tuple::ByTuple;
pub use scoped::{PortSet, ScopedEvents, ScopedRows, ScopedSnapshot};

use crate::{
    snapshot::Row,
    states::{Family, PerState, State},
    transitions::Event,
};

/// Events and rows of one snapshot. Events must come in their order; rows may come at any time.
pub trait Rewind: Default + Send {
    /// Takes a logged transition.
    fn event(&mut self, event: &Event);

    /// Takes a row of a socket whose transitions are logged. Sockets in CLOSE are ignored: they are about to
    /// leave the tables.
    ///
    /// Returns whether this is the first row of that socket, as far as rows identify sockets.
    fn row(&mut self, row: &Row) -> bool;

    /// A number that identifies the socket of a row, as far as rows do; `None` if the row is of no use.
    fn row_id(row: &Row) -> Option<u64>;

    /// Whether the socket of a row with this id has events, so that its row does not count.
    fn has_events(&self, row_id: u64) -> bool;

    /// The events of `self` with the rows of `rows`.
    #[must_use]
    fn with_rows_of(self, rows: Self) -> Self;

    /// Computes the sockets at the cut.
    #[must_use]
    fn at_cut(&self) -> AtCut;
}

/// The counted sockets at the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtCut {
    /// Sockets by family and state.
    pub sockets: PerState<u64>,
    /// Number of rows that may have been counted wrongly.
    pub doubts: u64,
}

/// Family and state at the cut of a socket with events; without a state if it was born later.
type StateAtCut = (Family, Option<State>);

#[cfg(test)]
mod tests;
