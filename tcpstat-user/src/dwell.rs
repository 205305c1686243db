//! How long sockets were in the states that the user chooses: what the tracer has counted, as pure computation.

use std::str::FromStr;

use tcpstat_ebpf::{
    DWELL_BOUNDS, DWELL_BUCKETS, DWELL_OVERFLOW_CELL, DWELL_STATES, ROW_CELLS, dwell_cell,
};
use thiserror::Error;

use crate::states::{State, state_word};

/// Which dwells are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DwellChoice {
    /// The states; none if nothing is measured.
    pub states: DwellStates,
    /// The most sockets that are in these states at a time and whose dwell is measured.
    pub max: u32,
}

impl DwellChoice {
    /// Whether a state is measured.
    #[must_use]
    pub fn any(self) -> bool {
        self.states != DwellStates::default()
    }
}

/// A set of states whose dwell can be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DwellStates(u32);

impl DwellStates {
    /// All states whose dwell can be measured.
    pub(crate) fn all() -> Self {
        DWELL_STATES.into_iter().map(MeasuredState).collect()
    }

    /// The states, in the kernel's order.
    pub fn iter(self) -> impl Iterator<Item = State> {
        State::ALL.into_iter().filter(move |state| self.0 >> state.number() & 1 != 0)
    }

    /// A bit for the number of each state.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl FromIterator<MeasuredState> for DwellStates {
    fn from_iter<I: IntoIterator<Item = MeasuredState>>(states: I) -> Self {
        Self(states.into_iter().fold(0, |bits, state| bits | 1 << state.0.number()))
    }
}

/// One state whose dwell can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeasuredState(State);

/// Why the dwell of a state cannot be measured.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DwellStateError {
    /// No state has this name.
    #[error("no such state: write {choices}", choices = choices())]
    Unknown,
    /// Only mini-sockets are in it.
    #[error(
        "the kernel reports no transition into or out of time_wait: leave it out; \
         a socket stays there for 60 seconds, unless its tuple is used again"
    )]
    TimeWait,
    /// Requests are shown with it.
    #[error(
        "half-open connections are requests, whose transitions the kernel does not report: leave it out; \
         tcpstat_listener_half_open has their number"
    )]
    SynRecv,
    /// A socket in it can be freed at any time.
    #[error("a socket leaves close without a transition when it is freed: leave it out")]
    Close,
}

impl FromStr for MeasuredState {
    type Err = DwellStateError;

    fn from_str(text: &str) -> Result<Self, DwellStateError> {
        let state = State::ALL.into_iter().find(|&state| state_word(state) == text.trim());
        match state {
            Some(state) if DWELL_STATES.contains(&state) => Ok(Self(state)),
            Some(State::TimeWait) => Err(DwellStateError::TimeWait),
            Some(State::SynRecv) => Err(DwellStateError::SynRecv),
            Some(_) => Err(DwellStateError::Close),
            None => Err(DwellStateError::Unknown),
        }
    }
}

/// The names of all states whose dwell can be measured.
fn choices() -> String {
    DWELL_STATES.map(state_word).join(", ")
}

/// What the tracer has counted. Arithmetic wraps, as in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dwells {
    pub(crate) cells: [u64; ROW_CELLS],
}

impl Default for Dwells {
    fn default() -> Self {
        Self { cells: [0; ROW_CELLS] }
    }
}

impl Dwells {
    /// The sockets that have left `state`: buckets with their upper bounds in seconds, not cumulated. 0 for a state that is
    /// not measured.
    #[must_use]
    pub fn bounded(&self, state: State) -> [(f64, u64); DWELL_BUCKETS] {
        std::array::from_fn(|bucket| {
            let bound = DWELL_BOUNDS.get(bucket).map_or(f64::INFINITY, |&bound| seconds(bound));
            (bound, self.at(state, bucket))
        })
    }

    /// How long these sockets were in `state`, added up, in seconds.
    #[must_use]
    pub fn sum(&self, state: State) -> f64 {
        seconds(1_000) * as_f64(self.at(state, DWELL_BUCKETS))
    }

    /// Sockets whose dwell is not measured, because the kernel had no room for them.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.cells[DWELL_OVERFLOW_CELL]
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.zip(earlier, u64::wrapping_sub)
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }

    fn at(&self, state: State, bucket: usize) -> u64 {
        if DWELL_STATES.contains(&state) {
            self.cells[dwell_cell(state.number().into(), bucket)]
        } else {
            0
        }
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self { cells: std::array::from_fn(|index| f(self.cells[index], other.cells[index])) }
    }
}

/// The seconds that so many nanoseconds take.
fn seconds(nanoseconds: u64) -> f64 {
    as_f64(nanoseconds) / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Result<DwellStates, DwellStateError> {
        text.split(',').map(str::parse::<MeasuredState>).collect()
    }

    #[test]
    fn states_that_the_tracepoint_never_reports_are_refused() {
        assert_eq!(chosen("time_wait"), Err(DwellStateError::TimeWait));
        assert_eq!(chosen("established,syn_recv"), Err(DwellStateError::SynRecv));
        assert_eq!(chosen("close"), Err(DwellStateError::Close));
        for unknown in ["", "ESTABLISHED", "new_syn_recv", "close-wait"] {
            assert_eq!(chosen(unknown), Err(DwellStateError::Unknown), "{unknown:?}");
        }
        let error = DwellStateError::Unknown.to_string();
        assert!(DWELL_STATES.into_iter().all(|state| error.contains(state_word(state))), "{error}");
    }

    #[test]
    fn every_other_state_can_be_chosen_by_its_name() {
        for state in DWELL_STATES {
            let states = chosen(state_word(state)).unwrap();
            assert_eq!(states.iter().collect::<Vec<_>>(), [state]);
            assert_eq!(states.bits(), 1 << state.number());
        }
        let both = chosen("close_wait, established,close_wait").unwrap();
        assert_eq!(both.iter().collect::<Vec<_>>(), [State::Established, State::CloseWait]);
        assert!(!DwellChoice::default().any());
        assert!(DwellChoice { states: both, max: 1 }.any());
    }

    #[test]
    fn each_cell_belongs_to_one_state_and_one_bucket() {
        let mut dwells = Dwells::default();
        for (number, cell) in (1..).zip(&mut dwells.cells) {
            *cell = number;
        }
        let mut seen = vec![dwells.overflow()];
        for state in DWELL_STATES {
            seen.extend(dwells.bounded(state).map(|(_, count)| count));
            seen.push(dwells.at(state, DWELL_BUCKETS));
        }
        let cells = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), cells, "a cell is used twice");
        for state in [State::TimeWait, State::SynRecv, State::Close] {
            assert_eq!(dwells.bounded(state).map(|(_, count)| count), [0; DWELL_BUCKETS]);
        }
    }

    #[test]
    fn bounds_are_seconds_and_sums_are_microseconds() {
        let mut dwells = Dwells::default();
        dwells.cells[dwell_cell(State::Established.number().into(), DWELL_BUCKETS)] = 1_500_000;
        assert!((dwells.sum(State::Established) - 1.5).abs() < 1e-9);
        let bounds = dwells.bounded(State::Established).map(|(bound, _)| bound);
        let shown = bounds.map(|bound| bound.to_string());
        let expected = ["0.001", "0.01", "0.1", "1", "10", "60", "600", "3600", "86400", "inf"];
        assert_eq!(shown, expected);
        assert_eq!(dwells.plus(&dwells).since(&dwells), dwells);
    }
}
