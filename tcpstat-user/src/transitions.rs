//! Transitions: one of one socket, and how often each has been seen, added up over all CPUs.

use tcpstat_ebpf::{
    BANK_CELLS, Bank, FULL_TRANSITIONS, Family, State, TRANSITIONS as COUNTED, cell, place,
};

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

/// The transitions that a full socket can make, from net/ipv4/tcp*.c.
pub const TCP_TRANSITIONS: [(State, State); FULL_TRANSITIONS] = match COUNTED.first_chunk() {
    Some(transitions) => *transitions,
    None => panic!("fewer transitions are counted than full sockets make"),
};

/// Number of transitions by (family, oldstate, newstate). Arithmetic wraps, as the kernel's does.
#[derive(Clone, PartialEq, Eq)]
pub struct Transitions {
    cells: [u64; BANK_CELLS],
}

impl Transitions {
    /// The number of transitions from `old` to `new`; 0 for a transition that TCP does not make.
    #[must_use]
    pub fn get(&self, family: Family, old: State, new: State) -> u64 {
        index(family, old, new).map_or(0, |index| self.cells[index])
    }

    /// Counts `times` transitions from `old` to `new`. Does nothing for a transition that TCP does not make.
    pub fn add(&mut self, family: Family, old: State, new: State, times: u64) {
        if let Some(index) = index(family, old, new) {
            self.cells[index] = self.cells[index].wrapping_add(times);
        }
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
        self.each()
            .zip(earlier.each())
            .filter(|&((_, old, new, _), _)| moved(old, new) == object)
            .all(|((.., now), (.., before))| now == before)
    }

    /// Every transition that has been seen, with its count.
    pub fn seen(&self) -> impl Iterator<Item = (Family, State, State, u64)> + '_ {
        self.each().filter(|&(.., count)| count != 0)
    }

    /// The counts of one bank, in the order of its cells.
    #[must_use]
    pub const fn from_cells(cells: [u64; BANK_CELLS]) -> Self {
        Self { cells }
    }

    fn each(&self) -> impl Iterator<Item = (Family, State, State, u64)> + '_ {
        Family::ALL.into_iter().flat_map(move |family| {
            COUNTED.into_iter().enumerate().map(move |(place, (old, new))| {
                (family, old, new, self.cells[cell(Bank::Plain, family, place)])
            })
        })
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self::from_cells(std::array::from_fn(|index| f(self.cells[index], other.cells[index])))
    }
}

/// The cell of a transition in one bank; `None` where TCP does not make it.
fn index(family: Family, old: State, new: State) -> Option<usize> {
    place(old, new).map(|place| cell(Bank::Plain, family, place))
}

/// The object that makes the transition.
#[must_use]
pub const fn moved(old: State, new: State) -> Object {
    // All come from CLOSE.
    Object::in_state(if matches!(old, State::Close) { new } else { old })
}

impl Default for Transitions {
    fn default() -> Self {
        Self::from_cells([0; BANK_CELLS])
    }
}

impl std::fmt::Debug for Transitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.seen().map(|(family, old, new, count)| ((family, old, new), count)))
            .finish()
    }
}
