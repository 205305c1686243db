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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Moment;

    fn connections(ipv4: u64, ipv6: u64, time_wait: u64) -> PerState<u64> {
        let mut connections = PerState::default();
        connections[(Family::Ipv4, State::Established)] = ipv4;
        connections[(Family::Ipv6, State::Established)] = ipv6;
        connections[(Family::Ipv6, State::TimeWait)] = time_wait;
        connections
    }

    fn history(samples: &[(u64, PerState<u64>)]) -> History {
        let mut history = History::default();
        for (seconds, connections) in samples {
            let at = Moment { unix_ms: 0, uptime_ms: seconds * 1_000 };
            history.push(Sample::new(at, connections, None));
        }
        history
    }

    /// ESTABLISHED and TIME_WAIT.
    fn two(peak: Peak) -> [u64; 2] {
        let of = |wanted| peak.iter().find(|(state, _)| *state == wanted).unwrap().1;
        [of(State::Established), of(State::TimeWait)]
    }

    #[test]
    fn the_peak_of_each_state_is_its_highest_sum_of_both_families() {
        let samples =
            [(10, connections(1, 2, 9)), (11, connections(40, 2, 0)), (12, connections(0, 41, 1))];
        assert_eq!(two(history(&samples).peak(12_500)), [42, 9]);
    }

    #[test]
    fn a_burst_is_in_the_peak_for_one_minute() {
        let mut samples = vec![(9, connections(7, 0, 0)), (10, connections(500, 0, 0))];
        samples.extend((11..=80).map(|seconds| (seconds, connections(1, 0, 0))));
        let history = history(&samples);
        for (uptime_ms, expected) in [(10_000, 500), (69_999, 500), (70_000, 1), (80_000, 1)] {
            assert_eq!(two(history.peak(uptime_ms))[0], expected, "{uptime_ms}");
        }
    }

    #[test]
    fn without_samples_of_the_last_minute_there_is_no_peak() {
        assert_eq!(History::default().peak(5), Peak::default());
        assert_eq!(history(&[(1, connections(3, 0, 0))]).peak(61_000), Peak::default());
        let both = Peak::of(&connections(1, 1, 0)).max(Peak::of(&connections(0, 1, 4)));
        assert_eq!(two(both), [2, 4]);
    }
}
