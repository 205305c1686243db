//! Where each transition is counted.

use crate::{Family, State};

/// The transitions that have a cell: all that TCP makes.
///
/// First those of full sockets, after net/ipv4/tcp*.c; [`FULL_TRANSITIONS`] of them. Then those of
/// mini-sockets and requests, which come from CLOSE and go to CLOSE as full sockets do. A transition to the
/// same state (`tcp_close_state` makes 4→4) changes no gauge and has no cell.
pub const TRANSITIONS: [(State, State); FAMILY_CELLS] = [
    (State::Close, State::SynSent),
    (State::Close, State::Listen),
    (State::SynSent, State::Established),
    (State::SynSent, State::SynRecv),
    (State::SynSent, State::Close),
    (State::Listen, State::SynRecv),
    (State::Listen, State::Close),
    (State::SynRecv, State::Established),
    (State::SynRecv, State::FinWait1),
    (State::SynRecv, State::CloseWait),
    (State::SynRecv, State::Close),
    (State::Established, State::FinWait1),
    (State::Established, State::CloseWait),
    (State::Established, State::Close),
    (State::FinWait1, State::FinWait2),
    (State::FinWait1, State::Closing),
    (State::FinWait1, State::Close),
    (State::FinWait2, State::Close),
    (State::CloseWait, State::LastAck),
    (State::CloseWait, State::Close),
    (State::LastAck, State::Close),
    (State::Closing, State::Close),
    // A socket restored with TCP_REPAIR.
    (State::Close, State::Established),
    // Fast Open: data and FIN come before the handshake ends.
    (State::Established, State::FinWait2),
    (State::SynRecv, State::Closing),
    (State::Close, State::TimeWait),
    (State::Close, State::FinWait2Mini),
    (State::FinWait2Mini, State::TimeWait),
    (State::FinWait2Mini, State::Close),
    (State::TimeWait, State::Close),
    (State::Close, State::NewSynRecv),
    (State::NewSynRecv, State::Close),
];

/// Number of transitions of full sockets: the first ones of [`TRANSITIONS`].
pub const FULL_TRANSITIONS: usize = 25;

/// Number of cells of one family.
pub const FAMILY_CELLS: usize = 32;

/// Number of cells of one bank: those of both families.
pub const BANK_CELLS: usize = 2 * FAMILY_CELLS;

/// Number of cells of one row: those of both banks.
pub const ROW_CELLS: usize = 2 * BANK_CELLS;

/// Transitions are counted in one of two banks: `Logged` while the event log of their slot is open, else
/// `Plain`.
///
/// The tracer reads [`crate::Control::log_open`] once for each event. That one value chooses the bank, and
/// decides whether the event is logged. So the log holds exactly the events of the `Logged` bank, and a lost
/// record shows as a difference. While the log is open the `Plain` bank does not change: it holds the counts
/// of the moment at which the log opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bank {
    /// Events that saw the log closed.
    Plain = 0,
    /// Events that saw the log open.
    Logged = 1,
}

/// Counters of one CPU and one slot: the value type of the map `ROWS`, whose index is [`crate::row`].
///
/// Each slot has both banks, so slots share no state. A row is a whole number of cache lines, so no two CPUs
/// write to the same one.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Row {
    /// Number of events for each index that [`cell`] returns.
    pub cells: [u64; ROW_CELLS],
}

/// The index in [`TRANSITIONS`] by [`pair`]; [`NO_CELL`] for a pair of states that TCP does not make.
pub const PLACES: [u8; PAIRS] = {
    let mut places = [NO_CELL; PAIRS];
    let mut place: u8 = 0;
    while (place as usize) < TRANSITIONS.len() {
        let (old, new) = TRANSITIONS[place as usize];
        places[pair(old.number(), new.number())] = place;
        place += 1;
    }
    places
};

/// Number of values of [`pair`].
pub const PAIRS: usize = 256;

/// What [`PLACES`] has for a pair of states without a cell.
pub const NO_CELL: u8 = 0xff;

/// One number for both states; only the lower four bits of each are used.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the verifier has to see the bound where the index is used"
)]
pub const fn pair(oldstate: u8, newstate: u8) -> usize {
    ((oldstate as usize & 0xf) << 4) | (newstate as usize & 0xf)
}

/// The index in a [`Row`] at which the transition at `place` of [`TRANSITIONS`] is counted.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the verifier has to see the bound where the index is used"
)]
pub const fn cell(bank: Bank, family: Family, place: usize) -> usize {
    (bank as usize * BANK_CELLS) | (family as usize * FAMILY_CELLS) | (place % FAMILY_CELLS)
}

/// The index of a transition in [`TRANSITIONS`]; `None` where TCP does not make it.
#[must_use]
pub const fn place(old: State, new: State) -> Option<usize> {
    match PLACES[pair(old.number(), new.number())] {
        NO_CELL => None,
        place => Some(place as usize),
    }
}

const _: () = {
    assert!(size_of::<Row>().is_multiple_of(64), "a row is a whole number of cache lines");
    assert!(cell(Bank::Logged, Family::Ipv6, FAMILY_CELLS - 1) == ROW_CELLS - 1);
    let mut index = 0;
    while index < TRANSITIONS.len() {
        let (old, new) = TRANSITIONS[index];
        assert!(
            matches!(place(old, new), Some(found) if found == index),
            "no transition is there twice"
        );
        index += 1;
    }
};
