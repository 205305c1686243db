//! Why full sockets close, which connects sent their SYN again, and where both are counted.
//!
//! Each event adds one to one cell. In the exporter's own namespace, cause and retry choose that cell: a transition
//! with one of the [`DETAILS`] is counted there, and any other in the cell of its place in [`TRANSITIONS`]. So the
//! number of transitions is the sum over these cells.

use crate::{
    State,
    cells::{FAMILY_CELLS, NO_CELL, PAIRS, PLACES, TRANSITIONS, pair, place},
};

/// Why a full socket closed: what `sk_err` says at the transition to CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// There was no error: both ends closed the connection, or the owner ended it.
    None = 0,
    /// The peer reset the connection.
    Reset = 1,
    /// The peer refused the connection.
    Refused = 2,
    /// The peer did not answer.
    TimedOut = 3,
    /// No neighbour answered, or an ICMP message says that the peer cannot be reached.
    Unreachable = 4,
    /// No ephemeral port was free.
    NoPort = 5,
    /// Another process closed it, as `ss -K` does.
    Destroyed = 6,
    /// Any other error.
    Other = 7,
}

impl Cause {
    /// All causes, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Reset,
        Self::Refused,
        Self::TimedOut,
        Self::Unreachable,
        Self::NoPort,
        Self::Destroyed,
        Self::Other,
    ];

    /// The cause for a value of `sk_err` (include/uapi/asm-generic/errno.h).
    const fn of_error(error: usize) -> Self {
        match error {
            0 => Self::None,
            // `tcp_reset`: EPIPE in CLOSE_WAIT, else ECONNRESET.
            32 | 104 => Self::Reset,
            // ECONNREFUSED
            111 => Self::Refused,
            // ETIMEDOUT
            110 => Self::TimedOut,
            // EACCES, ENONET, ENOPROTOOPT, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH: `icmp_err_convert`,
            // `icmpv6_err_convert`.
            13 | 64 | 92 | 101 | 112 | 113 => Self::Unreachable,
            // `tcp_abort` has ECONNABORTED from `sock_diag_destroy`.
            103 => Self::Destroyed,
            _ => Self::Other,
        }
    }

    /// The cause as it is shown for a socket that closes in state `old`. ECONNREFUSED is a refusal in SYN_SENT only;
    /// later it is that of an ICMP message. What cannot occur in a state is `Other`.
    pub(crate) const fn shown_in(self, old: State) -> Self {
        match (old, self) {
            (State::Listen, _) => Self::None,
            (State::SynSent, Self::Reset) => Self::Other,
            (State::SynSent, _) => self,
            (_, Self::Refused) => Self::Unreachable,
            (_, Self::NoPort) => Self::Other,
            _ => self,
        }
    }
}

/// The states in which a full socket can close.
const CLOSING_STATES: [State; 9] = [
    State::SynSent,
    State::Listen,
    State::SynRecv,
    State::Established,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::LastAck,
    State::Closing,
];

/// The states in which full sockets close, each with the causes for which they do. A listener has no error:
/// `tcp_abort` closes it before it sets one.
pub const CLOSED: [(State, Cause); 50] = {
    let mut closed = [(State::Close, Cause::None); 50];
    let (mut length, mut index) = (0, 0);
    while index < CLOSING_STATES.len() * Cause::ALL.len() {
        let old = CLOSING_STATES[index / Cause::ALL.len()];
        let cause = Cause::ALL[index % Cause::ALL.len()];
        if cause as u8 == cause.shown_in(old) as u8 {
            closed[length] = (old, cause);
            length += 1;
        }
        index += 1;
    }
    assert!(length == closed.len());
    closed
};

/// A transition with a cell of its own beside that of its place in [`TRANSITIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// The index of the transition in [`TRANSITIONS`].
    pub place: usize,
    /// Why the socket closed; `None` for a transition to another state.
    pub cause: Cause,
    /// Whether it was a connect that sent its SYN again.
    pub retried: bool,
}

/// Number of [`DETAILS`].
pub const DETAIL_COUNT: usize = 48;

/// All details. The place of each is [`FAMILY_CELLS`] more than its index.
pub const DETAILS: [Detail; DETAIL_COUNT] = {
    let connected = Detail { place: CONNECTED, cause: Cause::None, retried: true };
    let mut details = [connected; DETAIL_COUNT];
    let (mut length, mut index) = (1, 0);
    while index < CLOSED.len() {
        let (old, cause) = CLOSED[index];
        let place = PLACES[pair(old as u8, State::Close as u8)] as usize;
        if cause as u8 != Cause::None as u8 {
            details[length] = Detail { place, cause, retried: false };
            length += 1;
        }
        if old as u8 == State::SynSent as u8 && cause as u8 != Cause::NoPort as u8 {
            details[length] = Detail { place, cause, retried: true };
            length += 1;
        }
        index += 1;
    }
    assert!(length == details.len());
    details
};

/// Number of places: those of [`TRANSITIONS`], then those of [`DETAILS`], then those of silences.
pub const DETAILED_PLACES: usize = FAMILY_CELLS * (1 + DETAIL_SLOTS as usize);

/// Number of slots for the cells of [`DETAILS`] and of silences: they follow one another from the read-only global
/// `DETAIL_SLOT` on.
pub const DETAIL_SLOTS: u32 = 2;

/// The place of SYN_SENT→ESTABLISHED.
pub const CONNECTED: usize = match place(State::SynSent, State::Established) {
    Some(place) => place,
    None => panic!("a connect has a cell"),
};

/// The place of the same transition, if the SYN was sent again.
pub const CONNECTED_RETRIED: usize = FAMILY_CELLS;

/// As [`PLACES`], for transitions of full sockets. [`MAY_HAVE_DETAIL`] is added where the transition can have one of the
/// [`DETAILS`], or leaves CLOSE_WAIT.
pub const FULL_PLACES: [u8; PAIRS] = {
    let mut places = PLACES;
    let mut detail = 0;
    while detail < DETAIL_COUNT {
        let (old, new) = TRANSITIONS[DETAILS[detail].place];
        places[pair(old.number(), new.number())] |= MAY_HAVE_DETAIL;
        detail += 1;
    }
    places[pair(State::CloseWait.number(), State::LastAck.number())] |= MAY_HAVE_DETAIL;
    places
};

/// A bit that no place has.
pub const MAY_HAVE_DETAIL: u8 = 0x40;

/// The number of the [`Cause`] for each value of `sk_err`. A higher one is [`Cause::Other`].
pub const CAUSES: [u8; ERRORS] = {
    let mut causes = [0; ERRORS];
    let mut error = 0;
    while error < ERRORS {
        causes[error] = Cause::of_error(error) as u8;
        error += 1;
    }
    causes
};

/// Number of values in [`CAUSES`].
pub const ERRORS: usize = 256;

/// The place of a transition to CLOSE by [`closing`]: among those of [`DETAILS`] if it has one. [`NO_CELL`] for a state
/// in which no full socket closes.
pub const CLOSING_PLACES: [u8; CLOSINGS] = {
    let mut places = [NO_CELL; CLOSINGS];
    let mut index = 0;
    while index < CLOSING_STATES.len() * Cause::ALL.len() {
        let old = CLOSING_STATES[index / Cause::ALL.len()];
        let cause = Cause::ALL[index % Cause::ALL.len()];
        let [first, again] = [closing_place(old, cause, false), closing_place(old, cause, true)];
        places[closing(old as u8, cause as u8, false)] = first;
        places[closing(old as u8, cause as u8, true)] = again;
        index += 1;
    }
    places
};

const fn closing_place(old: State, cause: Cause, retried: bool) -> u8 {
    let cause = cause.shown_in(old);
    // No SYN is sent without a port, and none in other states.
    let retried = retried && matches!(old, State::SynSent) && !matches!(cause, Cause::NoPort);
    let plain = PLACES[pair(old as u8, State::Close as u8)];
    let mut place = FIRST_DETAIL;
    while (place as usize) < FAMILY_CELLS + DETAIL_COUNT {
        let detail = DETAILS[(place - FIRST_DETAIL) as usize];
        if detail.place == plain as usize
            && detail.cause as u8 == cause as u8
            && detail.retried == retried
        {
            return place;
        }
        place += 1;
    }
    plain
}

/// The place of the first of [`DETAILS`].
const FIRST_DETAIL: u8 = 32;

/// Number of values of [`closing`].
pub const CLOSINGS: usize = 256;

/// One number for a state and the number of a [`Cause`], and whether a SYN was sent again.
#[must_use]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the verifier has to see the bound where the index is used"
)]
pub const fn closing(oldstate: u8, cause: u8, retried: bool) -> usize {
    ((oldstate as usize & 0xf) << 4) | ((cause as usize & 7) << 1) | retried as usize
}

const _: () = {
    assert!(TRANSITIONS.len() == FAMILY_CELLS && FAMILY_CELLS <= MAY_HAVE_DETAIL as usize);
    assert!(FIRST_DETAIL as usize == FAMILY_CELLS);
    assert!(DETAIL_COUNT <= DETAIL_SLOTS as usize * FAMILY_CELLS);
    // Each detail is found.
    let mut index = 1;
    while index < DETAIL_COUNT {
        let Detail { place, cause, retried } = DETAILS[index];
        let (old, _) = TRANSITIONS[place];
        let found = CLOSING_PLACES[closing(old as u8, cause as u8, retried)] as usize;
        assert!(found == FAMILY_CELLS + index);
        index += 1;
    }
    assert!(DETAILS[CONNECTED_RETRIED - FAMILY_CELLS].place == CONNECTED);
};
