//! Transitions with their details: why sockets closed, and which connects sent their SYN again.

use tcpstat_ebpf::{
    BANK_CELLS, Bank, CLOSING_PLACES, CONNECTED_RETRIED, Cause, DETAIL_SLOTS, DETAILED_PLACES,
    DETAILS, FAMILY_CELLS, Family, State, TRANSITIONS, cell, closing,
};

use crate::transitions::Transitions;

/// Number of transitions by family, old state, new state, cause and retry. Arithmetic wraps, as in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailedTransitions {
    rows: DetailedRows,
}

/// The cells of one bank: those of the transitions, then those of the details.
pub(crate) type DetailedRows = [[u64; BANK_CELLS]; 1 + DETAIL_SLOTS as usize];

/// How a connect ends that sent its SYN again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// SYN_SENT→ESTABLISHED
    Established,
    /// SYN_SENT→CLOSE
    Failed,
}

impl Outcome {
    /// Both outcomes.
    pub const ALL: [Self; 2] = [Self::Established, Self::Failed];

    /// The value of the label `outcome`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Failed => "failed",
        }
    }
}

/// The value of the label `cause`.
#[must_use]
pub const fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::None => "none",
        Cause::Reset => "reset",
        Cause::Refused => "refused",
        Cause::TimedOut => "timed_out",
        Cause::Unreachable => "unreachable",
        Cause::NoPort => "no_port",
        Cause::Destroyed => "destroyed",
        Cause::Other => "other",
    }
}

impl DetailedTransitions {
    pub(crate) const fn from_rows(rows: DetailedRows) -> Self {
        Self { rows }
    }

    /// The same without details.
    #[must_use]
    pub fn transitions(&self) -> Transitions {
        let [plain, ..] = self.rows;
        let mut transitions = Transitions::from_cells(plain);
        for family in Family::ALL {
            for (index, detail) in DETAILS.iter().enumerate() {
                let (old, new) = TRANSITIONS[detail.place];
                transitions.add(family, old, new, self.at(family, FAMILY_CELLS + index));
            }
        }
        transitions
    }

    /// Sockets that closed in state `from` for this reason; 0 for what is not in [`tcpstat_ebpf::CLOSED`].
    #[must_use]
    pub fn closed(&self, family: Family, from: State, cause: Cause) -> u64 {
        let [first, again] = [false, true].map(|retried| closed_at(from, cause, retried));
        let retried = if again == first { 0 } else { self.at(family, again) };
        self.at(family, first).wrapping_add(retried)
    }

    /// Connects that sent their SYN again, and ended so.
    #[must_use]
    pub fn connects_retried(&self, family: Family, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Established => self.at(family, CONNECTED_RETRIED),
            Outcome::Failed => {
                let failed = Cause::ALL.into_iter().filter(|&cause| cause != Cause::NoPort);
                let places = failed.map(|cause| closed_at(State::SynSent, cause, true));
                places.fold(0, |sum, place| sum.wrapping_add(self.at(family, place)))
            }
        }
    }

    /// The number of transitions since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.zip(earlier, u64::wrapping_sub)
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }

    /// The count at a place; 0 if there is none.
    fn at(&self, family: Family, place: usize) -> u64 {
        if place >= DETAILED_PLACES {
            return 0;
        }
        self.rows[place / FAMILY_CELLS][cell(Bank::Plain, family, place)]
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let row = |row: usize| {
            std::array::from_fn(|index| f(self.rows[row][index], other.rows[row][index]))
        };
        Self { rows: std::array::from_fn(row) }
    }
}

fn closed_at(from: State, cause: Cause, retried: bool) -> usize {
    CLOSING_PLACES[closing(from.number(), cause as u8, retried)].into()
}

impl Default for DetailedTransitions {
    fn default() -> Self {
        Self::from_rows([[0; BANK_CELLS]; _])
    }
}
