//! The highest number of sockets in each state.

use super::{History, Sample};
use crate::states::{Family, PerState, State};

/// Time for which a peak is kept, in milliseconds of uptime.
const PEAK_MS: u64 = 60_000;

/// The highest number of sockets in each of [`State::ALL`], both families together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak([u64; State::ALL.len()]);

impl Peak {
    /// These sockets.
    #[must_use]
    pub fn of(connections: &PerState<u64>) -> Self {
        Self::by(|family, state| connections[(family, state)])
    }

    /// State and number of sockets, in the order of [`State::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (State, u64)> + '_ {
        State::ALL.into_iter().zip(self.0)
    }

    /// The higher number of each state.
    #[must_use]
    pub(crate) fn max(self, other: Self) -> Self {
        Self(std::array::from_fn(|state| self.0[state].max(other.0[state])))
    }

    fn of_sample(sample: &Sample) -> Self {
        Self::by(|family, state| sample.connections(family, state))
    }

    fn by(sockets: impl Fn(Family, State) -> u64) -> Self {
        Self(State::ALL.map(|state| Family::ALL.map(|family| sockets(family, state)).iter().sum()))
    }
}

impl History {
    /// The peak of the samples of the last minute before `uptime_ms`.
    pub(crate) fn peak(&self, uptime_ms: u64) -> Peak {
        let newest_first = self.samples().rev();
        let last_minute = newest_first
            .take_while(|sample| sample.at.uptime_ms.saturating_add(PEAK_MS) > uptime_ms);
        last_minute.map(Peak::of_sample).fold(Peak::default(), Peak::max)
    }
}
