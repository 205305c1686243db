//! The last ten minutes of each scope: a few sums, every ten seconds.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{Moment, SPAN_MS};
use crate::states::{Family, PerState, State};

/// Time between two samples, in milliseconds.
pub(crate) const SCOPES_INTERVAL_MS: u64 = 10_000;

/// Maximum number of samples of a scope.
pub(crate) const SCOPES_CAPACITY: usize = (SPAN_MS / SCOPES_INTERVAL_MS) as usize;

// The samples of a scope take less than 1 KB.
const _: () = assert!(SCOPES_CAPACITY * size_of::<Option<ScopeSample>>() < 1_000);

/// The sockets of a scope at one moment, of both families. A count above [`u32::MAX`] is stored as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScopeSample {
    pub(crate) established: u32,
    pub(crate) close_wait: u32,
    /// Sockets in any state.
    pub(crate) total: u32,
}

impl ScopeSample {
    /// `connections` are the sockets by state, as /proc/net/tcp shows them.
    pub(crate) fn new(connections: &PerState<u64>) -> Self {
        let stored = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let of = |state| {
            stored(Family::ALL.into_iter().map(|family| connections[(family, state)]).sum())
        };
        Self {
            established: of(State::Established),
            close_wait: of(State::CloseWait),
            total: stored(connections.shown().map(|(.., count)| count).sum()),
        }
    }
}

/// What identifies a scope: the word of its kind, and its name.
pub(crate) type ScopeKey = (&'static str, Arc<str>);

/// The samples of the scopes that exist. It has as many scopes as the last push, and at most
/// [`SCOPES_CAPACITY`] samples of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScopesHistory {
    times: VecDeque<Moment>,
    /// The newest sample is of the newest time. A scope that is younger than the first time has fewer samples.
    /// A sample is `None` if the sockets were not known.
    scopes: HashMap<ScopeKey, VecDeque<Option<ScopeSample>>>,
}

impl ScopesHistory {
    /// Whether a sample is due at `at`: there is one in each period of [`SCOPES_INTERVAL_MS`].
    pub(crate) fn is_due(&self, at: Moment) -> bool {
        let period = |moment: Moment| moment.uptime_ms / SCOPES_INTERVAL_MS;
        self.times.back().is_none_or(|&newest| period(at) > period(newest))
    }

    /// Adds a sample of each scope. Scopes that are not among them have ended: their samples are dropped.
    pub(crate) fn push(
        &mut self,
        at: Moment,
        samples: impl IntoIterator<Item = (ScopeKey, Option<ScopeSample>)>,
    ) {
        push_bounded(&mut self.times, at);
        let mut earlier = std::mem::take(&mut self.scopes);
        for (key, sample) in samples {
            let mut samples = earlier.remove(&key).unwrap_or_default();
            push_bounded(&mut samples, sample);
            self.scopes.insert(key, samples);
        }
    }

    /// The times of all samples, oldest first: the wall clock, as the newest sample shows it, and the uptime.
    pub(crate) fn times(&self) -> impl Iterator<Item = Moment> {
        let newest = self.times.back().copied().unwrap_or_default();
        self.times.iter().map(move |time| {
            let age_ms = newest.uptime_ms.saturating_sub(time.uptime_ms);
            Moment { unix_ms: newest.unix_ms.saturating_sub(age_ms), ..*time }
        })
    }

    /// The samples of a scope, one for each of [`Self::times`]; `None` for the times before its first sample.
    pub(crate) fn samples(&self, key: &ScopeKey) -> impl Iterator<Item = Option<ScopeSample>> {
        let samples = self.scopes.get(key);
        let missing = self.times.len() - samples.map_or(0, VecDeque::len);
        std::iter::repeat_n(None, missing).chain(samples.into_iter().flatten().copied())
    }
}

fn push_bounded<T>(samples: &mut VecDeque<T>, sample: T) {
    if samples.len() == SCOPES_CAPACITY {
        samples.pop_front();
    }
    if samples.capacity() == 0 {
        samples.reserve_exact(SCOPES_CAPACITY);
    }
    samples.push_back(sample);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Moment {
        Moment { unix_ms: 5_000_000 + second * 1_000, uptime_ms: second * 1_000 }
    }

    fn key(name: &str) -> ScopeKey {
        ("netns", name.into())
    }

    fn sample(count: u32) -> ScopeSample {
        ScopeSample { established: count, close_wait: 0, total: count }
    }

    fn totals(history: &ScopesHistory, name: &str) -> Vec<Option<u32>> {
        history.samples(&key(name)).map(|sample| sample.map(|sample| sample.total)).collect()
    }

    #[test]
    fn a_sample_has_the_sums_of_both_families() {
        let mut connections = PerState::default();
        connections[(Family::Ipv4, State::CloseWait)] = 3;
        connections[(Family::Ipv6, State::CloseWait)] = 4;
        connections[(Family::Ipv6, State::Listen)] = 1;
        let expected = ScopeSample { established: 0, close_wait: 7, total: 8 };
        assert_eq!(ScopeSample::new(&connections), expected);
        connections[(Family::Ipv4, State::Established)] = u64::from(u32::MAX) + 1;
        assert_eq!(ScopeSample::new(&connections).established, u32::MAX);
    }

    #[test]
    fn there_is_one_sample_every_ten_seconds() {
        let mut history = ScopesHistory::default();
        let mut taken = Vec::new();
        for second in 1_007..1_040 {
            if history.is_due(at(second)) {
                history.push(at(second), [(key("host"), Some(sample(1)))]);
                taken.push(second);
            }
        }
        assert_eq!(taken, [1_007, 1_010, 1_020, 1_030]);
    }

    #[test]
    fn a_scope_that_ends_leaves_the_history_and_a_new_one_begins_at_its_time() {
        let mut history = ScopesHistory::default();
        history.push(at(0), [(key("host"), Some(sample(1))), (key("web"), Some(sample(10)))]);
        history.push(at(10), [(key("host"), None), (key("db"), Some(sample(20)))]);
        assert_eq!(totals(&history, "host"), [Some(1), None]);
        assert_eq!(totals(&history, "web"), [None, None]);
        assert_eq!(totals(&history, "db"), [None, Some(20)]);
        history.push(at(20), [(key("web"), Some(sample(30)))]);
        assert_eq!(totals(&history, "web"), [None, None, Some(30)], "it is another one");
        assert_eq!(history.scopes.len(), 1);
    }

    #[test]
    fn scopes_of_different_kinds_may_have_one_name() {
        let mut history = ScopesHistory::default();
        history.push(
            at(0),
            [(("port", "80".into()), Some(sample(1))), (("netns", "80".into()), Some(sample(2)))],
        );
        assert_eq!(totals(&history, "80"), [Some(2)]);
    }

    #[test]
    fn the_history_does_not_grow_with_time_or_with_scopes_that_come_and_go() {
        let mut history = ScopesHistory::default();
        for round in 0..500 {
            let scopes = (0..50).map(|number| {
                let lasts = number < 25;
                let name = if lasts { format!("{number}") } else { format!("{number}.{round}") };
                (key(&name), Some(sample(round)))
            });
            history.push(at(u64::from(round) * 10), scopes);
        }
        assert_eq!(history.scopes.len(), 50);
        assert_eq!(history.times().count(), SCOPES_CAPACITY);
        for samples in history.scopes.values() {
            assert_eq!(samples.capacity(), SCOPES_CAPACITY);
        }
        let expected: Vec<_> = (440..500).map(Some).collect();
        assert_eq!(totals(&history, "7"), expected);
    }

    #[test]
    fn times_ascend_even_if_the_wall_clock_is_set() {
        let mut history = ScopesHistory::default();
        history.push(at(100), []);
        history.push(Moment { unix_ms: 60_000, ..at(110) }, []);
        let times: Vec<_> = history.times().map(|time| time.unix_ms).collect();
        assert_eq!(times, [50_000, 60_000]);
    }
}
