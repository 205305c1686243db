//! One look at the numbers, and the rates between two.

use crate::{
    states::{Family, PerState, State},
    transitions::{TRANSITIONS, Transitions},
};

/// When something was, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock: milliseconds since the epoch. It may step.
    pub unix_ms: u64,
    /// The host's uptime in milliseconds, time in suspend included (`CLOCK_BOOTTIME`). It never steps,
    /// and goes on when tcpstat is started anew.
    pub uptime_ms: u64,
}

/// The numbers at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When they were read.
    pub at: Moment,
    /// By family and by [`State::ALL`].
    connections: [[u32; State::ALL.len()]; Family::ALL.len()],
    /// By family and by [`TRANSITIONS`].
    transitions: Option<[[u64; TRANSITIONS.len()]; Family::ALL.len()]>,
}

impl Sample {
    /// `connections` are sockets by the states that they are shown in, `transitions` those since the
    /// tracer's start; `None` without a tracer.
    #[must_use]
    pub fn new(at: Moment, connections: &PerState<u64>, transitions: Option<&Transitions>) -> Self {
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

    /// Sockets in `state`, as /proc/net/tcp shows them: half-open requests are in `SynRecv`, mini-sockets
    /// in `FinWait2` and `TimeWait`, and none is in the states that are not of [`State::ALL`].
    #[must_use]
    pub fn connections(&self, family: Family, state: State) -> u64 {
        let place = State::ALL.iter().position(|&shown| shown == state);
        place.map_or(0, |place| u64::from(self.connections[family as usize][place]))
    }

    /// Whether a tracer counted.
    #[must_use]
    pub fn traced(&self) -> bool {
        self.transitions.is_some()
    }

    /// How often sockets had gone from `old` to `new` since the tracer's start; `None` without a tracer,
    /// and for what is none of [`TRANSITIONS`].
    #[must_use]
    pub fn transitions(&self, family: Family, old: State, new: State) -> Option<u64> {
        let place = TRANSITIONS.iter().position(|&listed| listed == (old, new))?;
        Some(self.transitions.as_ref()?[family as usize][place])
    }
}

/// Transitions a second, on the average between two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates([[f64; TRANSITIONS.len()]; Family::ALL.len()]);

impl Rates {
    /// `None` without a tracer at both, without time between them, and where a count has gone back: it
    /// is another tracer's then.
    #[must_use]
    pub fn between(earlier: &Sample, later: &Sample) -> Option<Self> {
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

    /// Sockets a second that went from `old` to `new`; 0 for what is none of [`TRANSITIONS`].
    #[must_use]
    pub fn per_second(&self, family: Family, old: State, new: State) -> f64 {
        let place = TRANSITIONS.iter().position(|&listed| listed == (old, new));
        place.map_or(0.0, |place| self.0[family as usize][place])
    }
}

#[expect(clippy::cast_precision_loss, reason = "what comes between two samples is below 2^53")]
fn precise(number: u64) -> f64 {
    number as f64
}
