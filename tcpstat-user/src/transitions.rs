//! Transitions: one of one socket, and how often each has been seen, added up over all CPUs.

use tcpstat_ebpf::{BANK_CELLS, Bank, Family, State, cell};

use crate::{snapshot::Tuple, states::Object};

/// One transition of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The socket's kernel address: its identity between birth and death.
    pub skaddr: u64,
    /// State before.
    pub old: State,
    /// State after.
    pub new: State,
    /// Its ends; at a birth not to be trusted (`tcpstat_ebpf::EventRecord`).
    pub tuple: Tuple,
}

/// The moves that a full socket can make, after net/ipv4/tcp*.c.
pub const TCP_TRANSITIONS: [(State, State); 25] = [
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
    // A socket taken over by TCP_REPAIR, and Fast Open's data with the FIN.
    (State::Close, State::Established),
    (State::Established, State::FinWait2),
    (State::SynRecv, State::Closing),
];

/// Number of transitions by (family, oldstate, newstate). Arithmetic wraps, as the kernel's does.
#[derive(Clone, PartialEq, Eq)]
pub struct Transitions {
    cells: Box<[u64; BANK_CELLS]>,
}

impl Transitions {
    /// How often `old` became `new`.
    #[must_use]
    pub fn get(&self, family: Family, old: State, new: State) -> u64 {
        self.cells[cell(Bank::Plain, family, old.number(), new.number())]
    }

    /// Counts `times` more of `old` becoming `new`.
    pub fn add(&mut self, family: Family, old: State, new: State, times: u64) {
        let count = &mut self.cells[cell(Bank::Plain, family, old.number(), new.number())];
        *count = count.wrapping_add(times);
    }

    /// All transitions together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.cells.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// What has come since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.zip(earlier, u64::wrapping_sub)
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }

    /// Whether no such object has made a transition since `earlier`.
    #[must_use]
    pub fn still(&self, object: Object, earlier: &Self) -> bool {
        let moved = |old, new| moved(old, new) == object;
        pairs()
            .filter(|&(_, old, new)| moved(old, new))
            .all(|(family, old, new)| self.get(family, old, new) == earlier.get(family, old, new))
    }

    /// Every transition that has been seen, with its count.
    pub fn seen(&self) -> impl Iterator<Item = (Family, State, State, u64)> + '_ {
        pairs()
            .map(|(family, old, new)| (family, old, new, self.get(family, old, new)))
            .filter(|&(.., count)| count != 0)
    }

    /// The counts from the cells of one bank; `cells` gives the value at each index.
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

/// The object that makes the transition.
#[must_use]
pub const fn moved(old: State, new: State) -> Object {
    // All come from CLOSE.
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
