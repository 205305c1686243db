//! What the tracker tells the world: all a scrape needs besides the counters themselves.

use std::{sync::Arc, time::Duration};

use super::host::sample;
use crate::{
    history::{Moment, Sample},
    kernel::{Counters, Program},
    ledger::{Ledger, sockstat_sample::SockstatChecks},
    metrics::{HealthValues, SnapshotValues, TracerValues, Values},
    procfs::{Limits, ProcessStatus, Procfs, Sockstat},
    snapshot::{SnapshotSource, Tally},
    states::{Hooks, PerState},
    transitions::Transitions,
};

/// The files that a scrape reads; what is `None` is left out of it.
pub trait Files {
    /// What /proc tells of this process.
    fn process(&self) -> Option<ProcessStatus>;
    /// The kernel's own totals.
    fn sockstat(&self) -> Option<Sockstat>;
}

impl Files for Procfs {
    fn process(&self) -> Option<ProcessStatus> {
        ProcessStatus::read().ok()
    }

    fn sockstat(&self) -> Option<Sockstat> {
        Self::sockstat(self).ok()
    }
}

/// The state of affairs after the tracker's last deed.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The live part, once it is seeded; `None` while there is no tracer.
    pub live: Option<Live>,
    /// The last snapshot; `None` before the first.
    pub snapshot: Option<LastSnapshot>,
    /// Time between two snapshots at present.
    pub snapshot_interval: Duration,
    /// Rows that did not parse and passes that failed, since the start.
    pub snapshot_errors: u64,
    /// Ledger − sample at the last snapshot that was exact.
    pub drift: PerState<i64>,
    /// Sockets that corrections added to or took from each gauge, since the start.
    pub corrections: PerState<u64>,
    /// Events that the kernel says it skipped, since the start.
    pub events_missed: u64,
    /// How often the tracer was changed for one that loses less, since the start.
    pub tracer_changes: u64,
    /// How the numbers prove themselves.
    pub health: Health,
}

/// The proof so far.
pub type Health = HealthValues;

/// The ledger and the counters it is read with.
#[derive(Clone, Debug)]
pub struct Live {
    /// Which program counts.
    pub program: Program,
    /// Which hooks count beside it.
    pub hooks: Hooks,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// The ledger.
    pub ledger: Ledger,
    /// Transitions that an earlier tracer counted.
    pub carried: Transitions,
    /// What the ledger's readings are held against.
    pub checks: SockstatChecks,
    /// Sockets that had changed their family since the ledger was right, when it could be told last.
    pub changed_family: i64,
}

/// The last listing of all sockets.
#[derive(Clone, Debug)]
pub struct LastSnapshot {
    /// Where the rows came from.
    pub source: SnapshotSource,
    /// What it listed.
    pub tally: Tally,
    /// When it ended.
    pub finished: Moment,
    /// How long it took.
    pub duration: Duration,
    /// What sysctl allowed then.
    pub limits: Limits,
}

impl Published {
    /// Whether numbers are to be had.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.snapshot.is_some()
    }

    /// The values of a scrape, now, and whether they give cause to look at the check.
    ///
    /// Reads the counters, sockstat and this process' status; lists no socket.
    #[must_use]
    pub fn scrape(&self, files: &impl Files, node_exporter: bool) -> (Values, bool) {
        let snapshot = self.snapshot.as_ref();
        let mut values = Values {
            connections: snapshot.map(|snapshot| snapshot.tally.connections()),
            snapshot: snapshot.map(|snapshot| SnapshotValues {
                source: snapshot.source.word(),
                interval: self.snapshot_interval,
                tally: snapshot.tally,
                finished: snapshot.finished,
                duration: snapshot.duration,
                limits: snapshot.limits,
            }),
            snapshot_errors: self.snapshot_errors,
            process: files.process(),
            node_exporter,
            ..Values::default()
        };
        let (Some(live), Some(snapshot)) = (&self.live, snapshot) else {
            values.sockstat = files.sockstat();
            return (values, false);
        };
        let (sample, sockstat) = sample(&live.counters, files);
        let readings = sample.readings(&live.ledger);
        let tw = sockstat.map_or_else(|| snapshot.tally.minis(), |sockstat| sockstat.tw);
        values.sockstat = sockstat;
        let changed = live.checks.changed_family(&readings).unwrap_or(live.changed_family);
        values.connections = Some(live.ledger.connections(&sample.after, tw, changed));
        values.tracer = Some(TracerValues {
            program: live.program.word(),
            hooks: live.hooks.word(),
            transitions: live.carried.plus(&sample.after),
            drift: self.drift.merged(),
            corrections: self.corrections.merged(),
            events_missed: self.events_missed,
            tracer_changes: self.tracer_changes,
            health: self.health,
        });
        (values, !live.checks.agrees(&readings))
    }

    /// The numbers now, which is `at`; `None` before the first snapshot.
    ///
    /// Reads the counters, and sockstat only where no hook counts the mini-sockets. Without a tracer the
    /// numbers are the last snapshot's.
    #[must_use]
    pub fn sample(&self, files: &impl Files, at: Moment) -> Option<Sample> {
        let tally = &self.snapshot.as_ref()?.tally;
        let Some(live) = &self.live else {
            return Some(Sample::new(at, &tally.connections(), None));
        };
        let counted = live.counters.read();
        let sockstat = if live.hooks.timewait { None } else { files.sockstat() };
        let tw = sockstat.map_or_else(|| tally.minis(), |sockstat| sockstat.tw);
        let connections = live.ledger.connections(&counted, tw, live.changed_family);
        Some(Sample::new(at, &connections, Some(&live.carried.plus(&counted))))
    }
}
