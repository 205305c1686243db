//! The numbers that the view shows: the last samples, and what follows from them for each state.

use std::time::Duration;

use super::{
    details::{Details, RecentCounts},
    holders::Answer,
    scopes::ScopesAnswer,
};
use crate::{
    history::{History, Rates, Sample},
    ledger::rules::effect,
    states::{Family, State},
    text::{self, plain},
    transitions::TRANSITIONS,
};

/// The period over which the change of a gauge is shown.
const CHANGE_PERIOD: Duration = Duration::from_mins(1);

#[derive(Clone, Debug, Default)]
pub(super) struct Update {
    /// The samples since the last update, the oldest first.
    pub(super) samples: Vec<Sample>,
    pub(super) status: Status,
}

/// Where the numbers come from, and whether they can be trusted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Status {
    pub(super) host: String,
    /// The URL of the exporter; `None` for the tracker of this process.
    pub(super) exporter: Option<String>,
    /// `None` if there are only snapshots.
    pub(super) tracer: Option<TracerStatus>,
    /// Age of the last snapshot; `None` before the first.
    pub(super) snapshot_age: Option<Duration>,
    /// Causes, ages, and listeners.
    pub(super) details: Details,
    /// Why there are no new samples.
    pub(super) problem: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TracerStatus {
    pub(super) program: String,
    /// Comma-separated, or `none`.
    pub(super) hooks: String,
    /// Whether counts and kernel agreed at the last conclusive check.
    pub(super) consistent: bool,
    /// Time since counts and kernel last agreed.
    pub(super) agreement_age: Option<Duration>,
    /// Missed events.
    pub(super) events_missed: u64,
}

impl Status {
    /// Makes all texts safe to show on a terminal.
    pub(super) fn plain(self) -> Self {
        let value = |text: String| plain(&text, text::VALUE).into_owned();
        Self {
            host: value(self.host),
            exporter: self.exporter.map(value),
            tracer: self.tracer.map(|tracer| TracerStatus {
                program: value(tracer.program),
                hooks: value(tracer.hooks),
                ..tracer
            }),
            problem: self.problem.map(|problem| plain(&problem, text::MESSAGE).into_owned()),
            ..self
        }
    }
}

/// The last ten minutes.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub(super) history: History,
    pub(super) status: Status,
    /// Closed sockets within the last minute.
    pub(super) closed: RecentCounts,
    /// `None` until they have been read, and while the view does not show them.
    pub(super) scopes: Option<ScopesAnswer>,
    /// `None` until they have been read, and while the view does not show them.
    pub(super) holders: Option<Answer>,
}

/// The numbers of one state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StateRow {
    pub(super) state: State,
    pub(super) sockets: u64,
    /// The difference from a minute ago, or from the first sample.
    pub(super) change: i64,
    /// The highest number within the last minute.
    pub(super) peak: u64,
    /// Full sockets that enter the state, per second; `None` if they are not counted.
    pub(super) arrivals: Option<f64>,
    /// Full sockets that leave the state, per second; `None` if they are not counted.
    pub(super) departures: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TransitionRate {
    pub(super) old: State,
    pub(super) new: State,
    pub(super) per_second: f64,
}

impl Numbers {
    /// All states in the kernel's order, of one family or of both.
    pub(super) fn rows(&self, family: Option<Family>) -> Vec<StateRow> {
        let Some(newest) = self.history.newest() else { return Vec::new() };
        let period = u64::try_from(CHANGE_PERIOD.as_millis()).unwrap_or(u64::MAX);
        let since = newest.at.uptime_ms.saturating_sub(period);
        let earlier = self.history.samples().find(|sample| sample.at.uptime_ms >= since);
        let rates = self.history.rates();
        State::ALL
            .into_iter()
            .map(|state| {
                let sockets = sockets(newest, family, state);
                let last_minute =
                    self.history.samples().filter(|sample| sample.at.uptime_ms >= since);
                let before =
                    earlier.map_or(sockets, |earlier| self::sockets(earlier, family, state));
                StateRow {
                    state,
                    sockets,
                    change: sockets.cast_signed().wrapping_sub(before.cast_signed()),
                    peak: last_minute
                        .map(|sample| self::sockets(sample, family, state))
                        .fold(sockets, u64::max),
                    arrivals: sum_of_rates(rates.as_ref(), family, |_, to| to == Some(state)),
                    departures: sum_of_rates(rates.as_ref(), family, |from, _| from == Some(state)),
                }
            })
            .collect()
    }

    /// The transitions that happen, the most frequent first; none without a tracer.
    pub(super) fn most_frequent(&self, family: Option<Family>) -> Vec<TransitionRate> {
        let Some(rates) = self.history.rates() else { return Vec::new() };
        let rate = |(old, new)| TransitionRate {
            old,
            new,
            per_second: families(family).map(|family| rates.per_second(family, old, new)).sum(),
        };
        let mut transitions: Vec<_> =
            TRANSITIONS.into_iter().map(rate).filter(|rate| rate.per_second > 0.0).collect();
        transitions.sort_by(|one, other| other.per_second.total_cmp(&one.per_second));
        transitions
    }

    /// The number of sockets in `state` at the last `count` samples, the oldest first.
    pub(super) fn past(&self, family: Option<Family>, state: State, count: usize) -> Vec<u64> {
        let samples = self.history.samples();
        let skipped = samples.len().saturating_sub(count);
        samples.skip(skipped).map(|sample| sockets(sample, family, state)).collect()
    }
}

fn families(family: Option<Family>) -> impl Iterator<Item = Family> {
    Family::ALL.into_iter().filter(move |one| family.is_none_or(|family| family == *one))
}

fn sockets(sample: &Sample, family: Option<Family>, state: State) -> u64 {
    families(family).map(|family| sample.connections(family, state)).sum()
}

/// The sum over the transitions whose effect is `selected`, per second; `None` if none is, or without a
/// tracer.
fn sum_of_rates(
    rates: Option<&Rates>,
    family: Option<Family>,
    selected: impl Fn(Option<State>, Option<State>) -> bool,
) -> Option<f64> {
    let transitions = TRANSITIONS.into_iter().filter(|&(old, new)| {
        let (from, to) = effect(old, new);
        selected(from, to)
    });
    let mut transitions = transitions.peekable();
    transitions.peek()?;
    let rates = rates?;
    Some(
        transitions
            .flat_map(|(old, new)| families(family).map(move |family| (family, old, new)))
            .map(|(family, old, new)| rates.per_second(family, old, new))
            .sum(),
    )
}
