//! Transitions with their details: why sockets closed, which connects sent their SYN again, and how long the peer was silent
//! when sockets left CLOSE_WAIT.

use tcpstat_ebpf::{
    BANK_CELLS, Bank, CLOSING_PLACES, CONNECTED, Cause, DETAIL_SLOTS, DETAILED_PLACES, DETAILS,
    Detail, FAMILY_CELLS, Family, SILENCE_PLACE, SILENCE_SUM_PLACE, State, TRANSITIONS, cell,
    closing,
};

use crate::{ages::Silences, transitions::Transitions};

/// Number of transitions by family, old state, new state, cause and retry. Arithmetic wraps, as in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailedTransitions {
    pub(crate) rows: DetailedRows,
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
    /// The transitions without their details.
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
        let ends_so = |detail: &Detail| match outcome {
            Outcome::Established => detail.place == CONNECTED,
            Outcome::Failed => detail.place != CONNECTED,
        };
        let details = DETAILS.iter().zip(FAMILY_CELLS..);
        let places = details.filter(|(detail, _)| detail.retried && ends_so(detail));
        places.fold(0, |sum, (_, place)| sum.wrapping_add(self.at(family, place)))
    }

    /// How long the peer had been silent when sockets left CLOSE_WAIT; both families together.
    #[must_use]
    pub fn silences(&self) -> Silences {
        let both = |place| {
            let of = |family| self.at(family, place);
            of(Family::Ipv4).wrapping_add(of(Family::Ipv6))
        };
        Silences {
            buckets: std::array::from_fn(|bucket| both(SILENCE_PLACE + bucket)),
            ticks: both(SILENCE_SUM_PLACE),
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
        Self { rows: [[0; BANK_CELLS]; _] }
    }
}

#[cfg(test)]
mod tests {
    use tcpstat_ebpf::{CLOSED, CONNECTED_RETRIED, SILENCE_BUCKETS};

    use super::*;

    /// A different number in each cell.
    fn numbered() -> DetailedTransitions {
        let mut next = 0;
        let mut number = |_| {
            next += 1;
            next
        };
        let mut row = |_| std::array::from_fn(&mut number);
        DetailedTransitions { rows: std::array::from_fn(&mut row) }
    }

    fn one(family: Family, place: usize) -> DetailedTransitions {
        let mut rows: DetailedRows = [[0; BANK_CELLS]; _];
        rows[place / FAMILY_CELLS][cell(Bank::Plain, family, place)] = 1;
        DetailedTransitions { rows }
    }

    #[test]
    fn each_transition_to_close_is_the_sum_over_its_causes() {
        let detailed = numbered();
        let transitions = detailed.transitions();
        for family in Family::ALL {
            for (from, _) in CLOSED {
                let causes = Cause::ALL.map(|cause| (from, cause));
                let made = causes.into_iter().filter(|pair| CLOSED.contains(pair));
                let sum: u64 = made.map(|(from, cause)| detailed.closed(family, from, cause)).sum();
                assert_eq!(sum, transitions.get(family, from, State::Close), "{from:?}");
            }
        }
    }

    #[test]
    fn a_detail_changes_one_transition_one_cause_and_perhaps_one_outcome() {
        for family in Family::ALL {
            for (index, detail) in DETAILS.iter().enumerate() {
                let counted = one(family, FAMILY_CELLS + index);
                let (old, new) = TRANSITIONS[detail.place];
                let seen: Vec<_> = counted.transitions().seen().collect();
                assert_eq!(seen, [(family, old, new, 1)], "{detail:?}");
                let closed: Vec<_> = CLOSED
                    .into_iter()
                    .filter(|&(from, cause)| counted.closed(family, from, cause) == 1)
                    .collect();
                let is_end = new == State::Close;
                let expected = if is_end { vec![(old, detail.cause)] } else { Vec::new() };
                assert_eq!(closed, expected, "{detail:?}");
                let retried = Outcome::ALL.map(|outcome| counted.connects_retried(family, outcome));
                let expected =
                    [!is_end, is_end].map(|ends_so| u64::from(detail.retried && ends_so));
                assert_eq!(retried, expected, "{detail:?}");
                let other = family.other();
                assert!(
                    CLOSED.iter().all(|&(from, cause)| counted.closed(other, from, cause) == 0)
                );
            }
        }
    }

    #[test]
    fn a_transition_without_a_detail_has_no_cause_and_was_not_retried() {
        let counted = one(Family::Ipv6, closed_at(State::SynSent, Cause::None, false));
        assert_eq!(counted.closed(Family::Ipv6, State::SynSent, Cause::None), 1);
        assert_eq!(counted.connects_retried(Family::Ipv6, Outcome::Failed), 0);
        let counted = one(Family::Ipv4, CONNECTED);
        assert_eq!(counted.connects_retried(Family::Ipv4, Outcome::Established), 0);
        let seen: Vec<_> = counted.transitions().seen().collect();
        assert_eq!(seen, [(Family::Ipv4, State::SynSent, State::Established, 1)]);
    }

    #[test]
    fn the_sum_without_a_part_is_the_other_part() {
        let (one, all) = (one(Family::Ipv4, CONNECTED_RETRIED), numbered());
        assert_eq!(one.plus(&all).since(&one), all);
        assert_eq!(one.plus(&all).transitions(), one.transitions().plus(&all.transitions()));
        assert_eq!(DetailedTransitions::default().plus(&all), all);
    }

    #[test]
    fn silences_are_the_cells_after_those_of_details_and_no_transitions() {
        for family in Family::ALL {
            for bucket in 0..SILENCE_BUCKETS {
                let counted = one(family, SILENCE_PLACE + bucket);
                let mut expected = Silences::default();
                expected.buckets[bucket] = 1;
                assert_eq!(counted.silences(), expected);
                assert_eq!(counted.transitions(), Transitions::default());
            }
            let sum = one(family, SILENCE_SUM_PLACE);
            assert_eq!(sum.silences(), Silences { ticks: 1, ..Silences::default() });
            assert_eq!(sum.plus(&sum).silences().ticks, 2);
        }
    }

    /// What a kernel's error is in each state.
    #[test]
    fn errors_have_their_causes() {
        let cause = |from: State, error: usize| {
            let cause = tcpstat_ebpf::CAUSES[error];
            let place = usize::from(CLOSING_PLACES[closing(from.number(), cause, false)]);
            place.checked_sub(FAMILY_CELLS).map_or(Cause::None, |index| DETAILS[index].cause)
        };
        for (from, error, expected) in [
            (State::SynSent, 0, Cause::None),
            (State::SynSent, 111, Cause::Refused),
            (State::Established, 111, Cause::Unreachable),
            (State::Established, 104, Cause::Reset),
            (State::CloseWait, 32, Cause::Reset),
            (State::SynSent, 104, Cause::Other),
            (State::LastAck, 110, Cause::TimedOut),
            (State::SynRecv, 113, Cause::Unreachable),
            (State::SynSent, 101, Cause::Unreachable),
            (State::FinWait2, 103, Cause::Destroyed),
            (State::FinWait1, 71, Cause::Other),
            (State::Closing, 255, Cause::Other),
            (State::Listen, 103, Cause::None),
        ] {
            assert_eq!(cause(from, error), expected, "{from:?}, {error}");
        }
    }
}
