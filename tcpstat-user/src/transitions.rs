//! Transitions: an event of one socket, and the number of events of each kind.

use tcpstat_ebpf::{BANK_CELLS, Bank, Family, State, cell};

use crate::{snapshot::Tuple, states::Object};

/// One transition of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The socket's kernel address. It identifies the socket from its birth to its death.
    pub skaddr: u64,
    /// State before the transition.
    pub old: State,
    /// State after the transition.
    pub new: State,
    /// Its ends. They are unreliable at its birth (`tcpstat_ebpf::EventRecord`).
    pub tuple: Tuple,
}

/// The transitions that a full socket can make, from net/ipv4/tcp*.c.
pub const TRANSITIONS: [(State, State); 25] = [
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
    // A socket that TCP_REPAIR restores, and Fast Open data with a FIN.
    (State::Close, State::Established),
    (State::Established, State::FinWait2),
    (State::SynRecv, State::Closing),
];

/// Number of transitions by family, old state and new state. Arithmetic wraps, as in the kernel.
#[derive(Clone, PartialEq, Eq)]
pub struct Transitions {
    cells: Box<[u64; BANK_CELLS]>,
}

impl Transitions {
    /// The number of transitions from `old` to `new`.
    #[must_use]
    pub fn get(&self, family: Family, old: State, new: State) -> u64 {
        self.cells[cell(Bank::Plain, family, old.number(), new.number())]
    }

    /// Adds `times` transitions from `old` to `new`.
    pub fn add(&mut self, family: Family, old: State, new: State, times: u64) {
        let count = &mut self.cells[cell(Bank::Plain, family, old.number(), new.number())];
        *count = count.wrapping_add(times);
    }

    /// The sum over all families and states.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.cells.iter().fold(0, |sum, count| sum.wrapping_add(*count))
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

    /// Whether no object of this kind has made a transition since `earlier`.
    #[must_use]
    pub fn still(&self, object: Object, earlier: &Self) -> bool {
        pairs()
            .filter(|&(_, old, new)| object_of(old, new) == object)
            .all(|(family, old, new)| self.get(family, old, new) == earlier.get(family, old, new))
    }

    /// Family, old state, new state and number of each transition whose number is not 0.
    pub fn seen(&self) -> impl Iterator<Item = (Family, State, State, u64)> + '_ {
        pairs()
            .map(|(family, old, new)| (family, old, new, self.get(family, old, new)))
            .filter(|&(.., count)| count != 0)
    }

    /// The numbers in one bank of counters. `cells` returns the value at an index of `tcpstat_ebpf::cell`.
    #[must_use]
    pub fn from_cells(cells: impl Fn(usize) -> u64) -> Self {
        let mut counts = Self::default();
        for (index, count) in counts.cells.iter_mut().enumerate() {
            *count = cells(index);
        }
        counts
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self::from_cells(|index| f(self.cells[index], other.cells[index]))
    }
}

/// The kind of object that makes this transition.
#[must_use]
pub const fn object_of(old: State, new: State) -> Object {
    // Every object comes from CLOSE.
    Object::in_state(if matches!(old, State::Close) { new } else { old })
}

fn pairs() -> impl Iterator<Item = (Family, State, State)> {
    Family::ALL
        .into_iter()
        .flat_map(|family| State::EVERY.into_iter().map(move |old| (family, old)))
        .flat_map(|(family, old)| State::EVERY.into_iter().map(move |new| (family, old, new)))
}

impl Default for Transitions {
    fn default() -> Self {
        Self { cells: Box::new([0; BANK_CELLS]) }
    }
}

impl std::fmt::Debug for Transitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.seen().map(|(family, old, new, count)| ((family, old, new), count)))
            .finish()
    }
}
