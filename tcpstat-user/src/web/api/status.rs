//! The status of the API, from what the tracker publishes.

use std::{ffi::OsStr, time::Duration};

use nix::sys::utsname::uname;

use crate::{
    api::{EphemeralPortsJson, SnapshotJson, StateCount, StatusJson, TracerJson},
    history::Moment,
    states::{PerState, family_word, state_word},
    tracker::{LastSnapshot, Live, Published, Reason},
};

impl StatusJson {
    /// The status at `now` of a run that began at `started`.
    pub(super) fn of(published: &Published, started: Moment, now: Moment) -> Self {
        let uname = uname().ok();
        let text = |part: &OsStr| part.to_string_lossy().into_owned();
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            revision: env!("TCPSTAT_REVISION").into(),
            host: uname.as_ref().map(|uname| text(uname.nodename())),
            kernel: uname.as_ref().map(|uname| text(uname.release())),
            unix_ms: now.unix_ms,
            uptime_ms: now.uptime_ms,
            started_uptime_ms: started.uptime_ms,
            ready: published.ready(),
            tracer: published.live.as_ref().map(|live| TracerJson::of(live, published, now)),
            snapshot: published
                .snapshot
                .as_ref()
                .map(|snapshot| SnapshotJson::of(snapshot, published.snapshot_interval, now)),
            snapshot_errors: published.snapshot_errors,
            closed: published.detailed().as_ref().map(|detailed| Box::new(detailed.into())),
            close_wait_ages: published.close_wait_ages.map(Into::into),
            listeners: published.listeners.as_deref().map(Into::into),
            ephemeral_ports: published.snapshot.as_ref().and_then(EphemeralPortsJson::of),
        }
    }
}

impl TracerJson {
    fn of(live: &Live, published: &Published, now: Moment) -> Self {
        let health = &published.health;
        Self {
            program: live.program.word().into(),
            hooks: live.hooks.words().into_iter().map(Into::into).collect(),
            changes: published.tracer_changes,
            events_missed: published.events_missed,
            consistent: health.consistent,
            agreed_ms_ago: health.last_agreement.map(|agreed| ms_ago(agreed, now)),
            sockstat_mismatches: health.mismatches,
            reconciles: Reason::ALL
                .map(|reason| (reason.word().into(), health.reconciles[reason as usize]))
                .into(),
            drift: nonzero(&published.drift.merged()),
            corrections: nonzero(&published.corrections.merged()),
        }
    }
}

impl SnapshotJson {
    fn of(snapshot: &LastSnapshot, interval: Duration, now: Moment) -> Self {
        Self {
            source: snapshot.source.word().into(),
            ended_ms_ago: ms_ago(snapshot.finished, now),
            took_ms: milliseconds(snapshot.duration),
            interval_ms: milliseconds(interval),
            sockets: snapshot.tally.rows,
        }
    }
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// By the uptime, which does not step as the wall clock does.
fn ms_ago(moment: Moment, now: Moment) -> u64 {
    now.uptime_ms.saturating_sub(moment.uptime_ms)
}

fn nonzero<T: Copy + Default + PartialEq>(values: &PerState<T>) -> Vec<StateCount<T>> {
    values
        .shown()
        .filter(|&(.., sockets)| sockets != T::default())
        .map(|(family, state, sockets)| StateCount {
            family: family_word(family).into(),
            state: state_word(state).into(),
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

    #[test]
    fn durations_have_three_decimals_at_most() {
        let written = |nanos| serde_json::to_string(&milliseconds(Duration::from_nanos(nanos)));
        for (nanos, text) in [(7_255_563, "7.256"), (100_000_000, "100.0"), (1_499, "0.001")] {
            assert_eq!(written(nanos).unwrap(), text);
        }
    }

    /// The wall clock steps by three hours in both directions; by the uptime, five seconds pass.
    #[test]
    fn ages_follow_the_uptime_when_the_wall_clock_steps() {
        let then = Moment { unix_ms: 1_700_000_000_000, uptime_ms: 60_000 };
        let snapshot = LastSnapshot {
            source: SnapshotSource::Procfs,
            tally: Tally::default(),
            fullest: None,
            finished: then,
            duration: Duration::ZERO,
            limits: Limits::default(),
        };
        for unix_ms in [then.unix_ms - 10_800_000, then.unix_ms + 10_800_000] {
            let now = Moment { unix_ms, uptime_ms: then.uptime_ms + 5_000 };
            assert_eq!(ms_ago(then, now), 5_000);
            let published = Published { snapshot: Some(snapshot.clone()), ..Published::default() };
            let status = StatusJson::of(&published, then, now);
            assert_eq!(status.snapshot.unwrap().ended_ms_ago, 5_000);
        }
    }
}
