//! Transitions: an event of one socket, and the number of events of each kind.

use tcpstat_ebpf::{
    BANK_CELLS, Bank, FULL_TRANSITIONS, Family, State, TRANSITIONS as COUNTED, cell, place,
};

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
    /// The id of a full socket's cgroup; 0 if cgroups are not counted.
    pub cgroup: u64,
}

/// The transitions that a full socket can make, from net/ipv4/tcp*.c.
pub const TRANSITIONS: [(State, State); FULL_TRANSITIONS] = match COUNTED.first_chunk() {
    Some(transitions) => *transitions,
    None => panic!("fewer transitions are counted than full sockets make"),
};

/// Number of transitions by family, old state and new state. Arithmetic wraps, as in the kernel.
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
        self.each()
            .zip(earlier.each())
            .filter(|&((_, old, new, _), _)| object_of(old, new) == object)
            .all(|((.., now), (.., before))| now == before)
    }

    /// Family, old state, new state and number of each transition whose number is not 0.
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

/// The index of a transition in [`TRANSITIONS`]; `None` if full sockets do not make it.
#[must_use]
pub(crate) fn full_place(old: State, new: State) -> Option<usize> {
    place(old, new).filter(|&place| place < FULL_TRANSITIONS)
}

/// The object that makes the transition.
#[must_use]
pub const fn object_of(old: State, new: State) -> Object {
    // Every object comes from CLOSE.
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
