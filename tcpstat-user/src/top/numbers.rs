//! What there is to see: the last looks, and what follows from them for each state.

use std::time::Duration;

use crate::{
    history::{History, Rates, Sample},
    ledger::rules::effect,
    states::{Family, State},
    text::{self, plain},
    transitions::TRANSITIONS,
};

/// A change of a gauge is told over this much time.
const CHANGE_SPAN: Duration = Duration::from_mins(1);

/// One look: the numbers, where there are any, and how they come about.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Samples since the last look, the oldest first.
    pub samples: Vec<Sample>,
    /// How they come about.
    pub status: Status,
}

/// Whose numbers these are, and how far they are to be trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Name of the host.
    pub host: String,
    /// The exporter that was asked, by its URL; `None` for this process' own numbers.
    pub exporter: Option<String>,
    /// Who counts; `None` for listings alone.
    pub tracing: Option<Tracing>,
    /// Age of the last listing; `None` before the first.
    pub listed: Option<Duration>,
    /// Why there is nothing new.
    pub trouble: Option<String>,
}

/// The tracer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracing {
    /// Its program's word.
    pub program: String,
    /// Its hooks' word.
    pub hooks: String,
    /// Whether counts and kernel agreed when last it could be told.
    pub consistent: bool,
    /// How long ago they were last seen to agree.
    pub agreed: Option<Duration>,
    /// Events that the kernel says it skipped.
    pub missed: u64,
}

impl Status {
    /// Every text fit to be shown, whoever it comes from.
    #[must_use]
    pub fn plain(self) -> Self {
        let value = |text: String| plain(&text, text::VALUE).into_owned();
        Self {
            host: value(self.host),
            exporter: self.exporter.map(value),
            tracing: self.tracing.map(|tracing| Tracing {
                program: value(tracing.program),
                hooks: value(tracing.hooks),
                ..tracing
            }),
            trouble: self.trouble.map(|trouble| plain(&trouble, text::MESSAGE).into_owned()),
            ..self
        }
    }
}

/// The last ten minutes, and how the newest of them came about.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// The samples.
    pub history: History,
    /// How they come about.
    pub status: Status,
}

/// One state.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which.
    pub state: State,
    /// Sockets in it.
    pub sockets: u64,
    /// By how many it has grown in the last minute, or since the first look.
    pub change: i64,
    /// Full sockets that come into it in a second; `None` where that is not counted.
    pub arrivals: Option<f64>,
    /// Full sockets that leave it in a second, likewise.
    pub departures: Option<f64>,
}

/// What full sockets do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// The state they leave.
    pub old: State,
    /// The state they enter.
    pub new: State,
    /// How many in a second.
    pub per_second: f64,
}

impl Numbers {
    /// Every state, in the kernel's order, of one family or of both.
    #[must_use]
    pub fn rows(&self, family: Option<Family>) -> Vec<Row> {
        let Some(newest) = self.history.newest() else { return Vec::new() };
        let span = u64::try_from(CHANGE_SPAN.as_millis()).unwrap_or(u64::MAX);
        let since = newest.at.uptime_ms.saturating_sub(span);
        let earlier = self.history.samples().find(|sample| sample.at.uptime_ms >= since);
        let rates = self.history.rates();
        State::ALL
            .into_iter()
            .map(|state| {
                let sockets = sockets(newest, family, state);
                let before =
                    earlier.map_or(sockets, |earlier| self::sockets(earlier, family, state));
                Row {
                    state,
                    sockets,
                    change: sockets.cast_signed().wrapping_sub(before.cast_signed()),
                    arrivals: flow(rates.as_ref(), family, |_, to| to == Some(state)),
                    departures: flow(rates.as_ref(), family, |from, _| from == Some(state)),
                }
            })
            .collect()
    }

    /// The moves that are made, the busiest first; nothing without a tracer.
    #[must_use]
    pub fn busiest(&self, family: Option<Family>) -> Vec<Move> {
        let Some(rates) = self.history.rates() else { return Vec::new() };
        let per_second = |(old, new)| Move {
            old,
            new,
            per_second: families(family).map(|family| rates.per_second(family, old, new)).sum(),
        };
        let mut moves: Vec<_> =
            TRANSITIONS.into_iter().map(per_second).filter(|made| made.per_second > 0.0).collect();
        moves.sort_by(|one, other| other.per_second.total_cmp(&one.per_second));
        moves
    }

    /// The last `count` numbers of sockets in `state`, the oldest first.
    #[must_use]
    pub fn past(&self, family: Option<Family>, state: State, count: usize) -> Vec<u64> {
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

/// The moves whose effect is of that kind, in a second; `None` where none is, and without a tracer.
fn flow(
    rates: Option<&Rates>,
    family: Option<Family>,
    counts: impl Fn(Option<State>, Option<State>) -> bool,
) -> Option<f64> {
    let moves = TRANSITIONS.into_iter().filter(|&(old, new)| {
        let (from, to) = effect(old, new);
        counts(from, to)
    });
    let mut moves = moves.peekable();
    moves.peek()?;
    let rates = rates?;
    Some(
        moves
            .flat_map(|(old, new)| families(family).map(move |family| (family, old, new)))
            .map(|(family, old, new)| rates.per_second(family, old, new))
            .sum(),
    )
}
