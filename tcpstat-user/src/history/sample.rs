//! One sample of the numbers, and the rates between two samples.

use crate::{
    states::{Family, PerState, State},
    transitions::{TRANSITIONS, Transitions, full_place},
};

/// A time, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock: milliseconds since the epoch. It may step.
    pub unix_ms: u64,
    /// The host's uptime in milliseconds, including suspend (`CLOCK_BOOTTIME`). It never steps, and a
    /// restart of tcpstat does not reset it.
    pub uptime_ms: u64,
}

/// The numbers at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When the numbers were read.
    pub(crate) at: Moment,
    /// By family and by [`State::ALL`].
    connections: [[u32; State::ALL.len()]; Family::ALL.len()],
    /// By family and by [`TRANSITIONS`].
    transitions: Option<[[u64; TRANSITIONS.len()]; Family::ALL.len()]>,
}

impl Sample {
    /// `connections` are the sockets by state, as /proc/net/tcp shows them; `transitions` are those since
    /// the start, `None` without a tracer. A count above [`u32::MAX`] is stored as that.
    pub(crate) fn new(
        at: Moment,
        connections: &PerState<u64>,
        transitions: Option<&Transitions>,
    ) -> Self {
        let sockets =
            |family, state| u32::try_from(connections[(family, state)]).unwrap_or(u32::MAX);
        Self {
            at,
            connections: Family::ALL.map(|family| State::ALL.map(|state| sockets(family, state))),
            transitions: transitions.map(|transitions| {
                Family::ALL
                    .map(|family| TRANSITIONS.map(|(old, new)| transitions.get(family, old, new)))
            }),
        }
    }

    /// Sockets in `state`, as /proc/net/tcp shows them: half-open requests are in `SynRecv`, mini-sockets in
    /// `FinWait2` and `TimeWait`. A state that is not in [`State::ALL`] has none.
    pub(crate) fn connections(&self, family: Family, state: State) -> u64 {
        let place = State::ALL.iter().position(|&shown| shown == state);
        place.map_or(0, |place| u64::from(self.connections[family as usize][place]))
    }

    /// Whether the sample has transitions of a tracer.
    pub(crate) fn traced(&self) -> bool {
        self.transitions.is_some()
    }

    /// Transitions from `old` to `new` since the start; `None` without a tracer, and if the transition is
    /// not in [`TRANSITIONS`].
    pub(crate) fn transitions(&self, family: Family, old: State, new: State) -> Option<u64> {
        let transitions = self.transitions.as_ref()?;
        Some(transitions[family as usize][full_place(old, new)?])
    }
}

/// Average transitions per second between two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates([[f64; TRANSITIONS.len()]; Family::ALL.len()]);

impl Rates {
    /// The rates between two samples. `None` if one of them has no transitions, if no time has passed, and
    /// if a count is lower in the later one: then another run of tcpstat counted it.
    pub(crate) fn between(earlier: &Sample, later: &Sample) -> Option<Self> {
        let elapsed_ms = later.at.uptime_ms.checked_sub(earlier.at.uptime_ms)?;
        let (before, after) = (earlier.transitions.as_ref()?, later.transitions.as_ref()?);
        if elapsed_ms == 0 {
            return None;
        }
        let mut rates = Self([[0.0; TRANSITIONS.len()]; Family::ALL.len()]);
        let counts = before.as_flattened().iter().zip(after.as_flattened());
        for (rate, (before, after)) in rates.0.as_flattened_mut().iter_mut().zip(counts) {
            *rate = precise(after.checked_sub(*before)?) * 1e3 / precise(elapsed_ms);
        }
        Some(rates)
    }

    /// Transitions from `old` to `new` per second; 0 if the transition is not in [`TRANSITIONS`].
    pub(crate) fn per_second(&self, family: Family, old: State, new: State) -> f64 {
        full_place(old, new).map_or(0.0, |place| self.0[family as usize][place])
    }
}

#[expect(clippy::cast_precision_loss, reason = "differences between two samples are below 2^53")]
fn precise(number: u64) -> f64 {
    number as f64
}
