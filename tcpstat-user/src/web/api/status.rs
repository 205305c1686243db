//! How the numbers come about and how far they are to be trusted, as JSON.

use std::{collections::BTreeMap, time::Duration};

use nix::sys::utsname::uname;
use serde::Serialize;

use crate::{
    history::Moment,
    states::{PerState, family_word, state_word},
    tracker::{LastSnapshot, Live, Published, Reason},
};

/// What a person needs to know before believing the numbers.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    revision: &'static str,
    host: Option<String>,
    kernel: Option<String>,
    /// When this was told, in milliseconds since the epoch.
    unix_ms: u64,
    /// The same by the host's uptime.
    uptime_ms: u64,
    /// The host's uptime when this run began: no two runs of a boot have the same.
    started_uptime_ms: u64,
    /// Whether there are numbers.
    ready: bool,
    /// Who counts; `None` where snapshots alone are served.
    tracer: Option<Counting>,
    /// The last listing; `None` before the first.
    snapshot: Option<Listing>,
    /// Rows that were not understood, and listings that failed.
    snapshot_errors: u64,
}

/// The program that counts, and how its counts prove themselves.
#[derive(Debug, Serialize)]
pub(super) struct Counting {
    program: &'static str,
    hooks: Vec<&'static str>,
    /// How often it was changed for one that loses less.
    changes: u64,
    /// Events that the kernel says it skipped.
    events_missed: u64,
    /// Whether counts and kernel agreed when last it could be told.
    consistent: bool,
    /// How long ago they were last seen to agree.
    agreed_ms_ago: Option<u64>,
    /// How often the sum of the counts was seen to differ from the kernel's own.
    sockstat_mismatches: u64,
    /// How often counts were held against a listing, by reason.
    reconciles: BTreeMap<&'static str, u64>,
    /// Counted minus listed, at the last exact listing; nothing where they were the same.
    drift: Vec<InState<i64>>,
    /// Sockets that corrections added or took, since the start; nothing where there were none.
    corrections: Vec<InState<u64>>,
}

/// A number of sockets in one state.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct InState<T> {
    family: &'static str,
    state: &'static str,
    sockets: T,
}

/// The last listing.
#[derive(Debug, Serialize)]
pub(super) struct Listing {
    source: &'static str,
    ended_ms_ago: u64,
    took_ms: f64,
    interval_ms: f64,
    sockets: u64,
}

impl Status {
    /// The status at `now` of what was `started` then.
    pub(super) fn of(published: &Published, started: Moment, now: Moment) -> Self {
        let uname = uname().ok();
        let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("TCPSTAT_REVISION"),
            host: uname.as_ref().map(|uname| text(uname.nodename())),
            kernel: uname.as_ref().map(|uname| text(uname.release())),
            unix_ms: now.unix_ms,
            uptime_ms: now.uptime_ms,
            started_uptime_ms: started.uptime_ms,
            ready: published.ready(),
            tracer: published.live.as_ref().map(|live| Counting::of(live, published, now)),
            snapshot: published
                .snapshot
                .as_ref()
                .map(|snapshot| Listing::of(snapshot, published.snapshot_interval, now)),
            snapshot_errors: published.snapshot_errors,
        }
    }
}

impl Counting {
    fn of(live: &Live, published: &Published, now: Moment) -> Self {
        let health = &published.health;
        Self {
            program: live.program.word(),
            hooks: live.hooks.words(),
            changes: published.tracer_changes,
            events_missed: published.events_missed,
            consistent: health.consistent,
            agreed_ms_ago: health.last_agreement.map(|agreed| ms_ago(agreed, now)),
            sockstat_mismatches: health.mismatches,
            reconciles: Reason::ALL
                .map(|reason| (reason.word(), health.reconciles[reason as usize]))
                .into(),
            drift: nonzero(&published.drift.merged()),
            corrections: nonzero(&published.corrections.merged()),
        }
    }
}

impl Listing {
    fn of(snapshot: &LastSnapshot, interval: Duration, now: Moment) -> Self {
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        Self {
            source: snapshot.source.word(),
            ended_ms_ago: ms_ago(snapshot.finished, now),
            took_ms: milliseconds(snapshot.duration),
            interval_ms: milliseconds(interval),
            sockets: snapshot.tally.rows,
        }
    }
}

/// By the uptime, whatever the wall clock has done since.
fn ms_ago(moment: Moment, now: Moment) -> u64 {
    now.uptime_ms.saturating_sub(moment.uptime_ms)
}

fn nonzero<T: Copy + Default + PartialEq>(values: &PerState<T>) -> Vec<InState<T>> {
    values
        .shown()
        .filter(|&(.., sockets)| sockets != T::default())
        .map(|(family, state, sockets)| InState {
            family: family_word(family),
            state: state_word(state),
            sockets,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        procfs::Limits,
        snapshot::{SnapshotSource, Tally},
    };

    /// Three hours by the wall clock, in either direction, and five seconds by the uptime.
    #[test]
    fn an_age_is_that_of_the_uptime_when_the_wall_clock_steps() {
        let then = Moment { unix_ms: 1_700_000_000_000, uptime_ms: 60_000 };
        let snapshot = LastSnapshot {
            source: SnapshotSource::Procfs,
            tally: Tally::default(),
            finished: then,
            duration: Duration::ZERO,
            limits: Limits::default(),
        };
        for unix_ms in [then.unix_ms - 10_800_000, then.unix_ms + 10_800_000] {
            let now = Moment { unix_ms, uptime_ms: then.uptime_ms + 5_000 };
            assert_eq!(ms_ago(then, now), 5_000);
            let published = Published { snapshot: Some(snapshot.clone()), ..Published::default() };
            let status = Status::of(&published, then, now);
            assert_eq!(status.snapshot.unwrap().ended_ms_ago, 5_000);
        }
    }
}
