//! The values of one scrape, built from what the tracker publishes and what the scrape read.

use std::{sync::Arc, time::Duration};

use nix::sys::utsname::uname;

use crate::{
    ages::{CloseWaitAges, Silences, TickRate},
    destinations::FullestDestination,
    detailed::DetailedTransitions,
    dwell::{DwellStates, Dwells},
    history::{Moment, Peak},
    listeners::ShownListeners,
    procfs::{Limits, ProcessStatus, Sockstat},
    snapshot::Tally,
    states::PerState,
    tracker::{Health, LastSnapshot, Live, Published, Scopes, Scrape},
    transitions::Transitions,
};

/// All values of one scrape. What is `None` is unknown, and its series are left out.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// Sockets by state.
    pub connections: Option<PerState<u64>>,
    /// The highest number of sockets in each state within the last minute, both families together.
    pub peak: Option<Peak>,
    /// The values that exist only while a program counts.
    pub tracer: Option<TracerValues>,
    /// The last snapshot.
    pub snapshot: Option<SnapshotValues>,
    /// Rows that did not parse and snapshots that failed.
    pub snapshot_errors: u64,
    /// The release of the kernel, as `uname -r` prints it; empty if it is not known.
    pub kernel: String,
    /// The kernel's own socket counts.
    pub sockstat: Option<Sockstat>,
    /// Memory, CPU time and descriptors of this process.
    pub process: Option<ProcessStatus>,
    /// The listening sockets.
    pub listeners: Option<Arc<ShownListeners>>,
    /// The scopes of each kind that is counted.
    pub scopes: Vec<Scopes>,
    /// The last reading of the web configuration; `None` without one.
    pub web_config: Option<WebConfigValues>,
    /// Which metrics of other exporters are written too.
    pub compat: Compat,
}

/// The last reading of the web configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebConfigValues {
    /// Whether what was read is in force.
    pub successful: bool,
    /// When what is in force was read.
    pub last_success: Moment,
}

/// The metrics of other exporters that existing dashboards use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compat {
    /// `node_tcp_connection_states`.
    pub node_exporter: bool,
    /// `container_network_tcp_usage_total` and `container_network_tcp6_usage_total`, of the network namespaces of
    /// pods and containers.
    pub cadvisor: bool,
}

/// The values that exist only while a program counts.
#[derive(Clone, Debug)]
pub struct TracerValues {
    /// The program: `tp_btf` or `tracepoint`.
    pub program: &'static str,
    /// The hooks, as one label value.
    pub hooks: &'static str,
    /// Transitions since the start.
    pub transitions: Transitions,
    /// The transitions with their details; `None` if these are not counted.
    pub detailed: Option<DetailedTransitions>,
    /// The silences among the details, and what they are counted in; `None` if they are not counted.
    pub silences: Option<(Silences, TickRate)>,
    /// How long sockets have been in CLOSE_WAIT, at the last reading, and what that is measured in; `None` without a reading.
    pub close_wait_ages: Option<(CloseWaitAges, TickRate)>,
    /// How long sockets were in the chosen states, since the start; `None` if that is not measured.
    pub dwells: Option<(DwellStates, Dwells)>,
    /// Ledger minus snapshot, at the last exact snapshot, before the correction.
    pub drift: PerState<i64>,
    /// Sockets that corrections added to a gauge or removed from it.
    pub corrections: PerState<u64>,
    /// Events that the tracer did not count, by the kernel's report or its own.
    pub events_missed: u64,
    /// Times that tcpstat switched to a program that misses fewer events.
    pub tracer_changes: u64,
    /// What sockstat checks and snapshots have shown.
    pub health: Health,
}

/// The last snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotValues {
    /// Where the rows came from: `procfs` or `iter`.
    pub source: &'static str,
    /// The sums of the rows.
    pub tally: Tally,
    /// The destination that takes the most ephemeral ports; `None` if it is not known which these are.
    pub fullest: Option<FullestDestination>,
    /// When the snapshot ended.
    pub finished: Moment,
    /// How long the snapshot took.
    pub duration: Duration,
    /// Current time between two snapshots.
    pub interval: Duration,
    /// The kernel's limits at that time.
    pub limits: Limits,
}

impl Values {
    /// The values of `scrape`, which was read with `published`.
    /// Its peak is that of the scrape alone, and it has no web configuration.
    pub(crate) fn new(published: &Published, scrape: Scrape, compat: Compat) -> Self {
        let Scrape {
            connections,
            transitions,
            detailed,
            dwells,
            sockstat,
            process,
            scopes,
            suspicious: _,
        } = scrape;
        let tracer = published.live.as_ref().zip(transitions);
        let interval = published.snapshot_interval;
        Self {
            web_config: None,
            peak: connections.as_ref().map(Peak::of),
            connections,
            tracer: tracer.map(|(live, transitions)| {
                TracerValues::new(published, live, transitions, detailed, dwells)
            }),
            snapshot: published.snapshot.as_ref().map(|last| SnapshotValues::new(last, interval)),
            snapshot_errors: published.snapshot_errors,
            kernel: kernel_release(),
            sockstat,
            process,
            listeners: published.listeners.clone(),
            scopes,
            compat,
        }
    }
}

fn kernel_release() -> String {
    uname().map_or_else(|_| String::new(), |uname| uname.release().to_string_lossy().into_owned())
}

impl TracerValues {
    fn new(
        published: &Published,
        live: &Live,
        transitions: Transitions,
        detailed: Option<DetailedTransitions>,
        dwells: Option<(DwellStates, Dwells)>,
    ) -> Self {
        let silences = detailed.as_ref().map(DetailedTransitions::silences);
        Self {
            program: live.program.word(),
            hooks: live.hooks.word(),
            transitions,
            detailed,
            silences: silences.zip(live.silence_rate),
            close_wait_ages: published.close_wait_ages,
            dwells,
            drift: published.drift.merged(),
            corrections: published.corrections.merged(),
            events_missed: published.events_missed,
            tracer_changes: published.tracer_changes,
            health: published.health,
        }
    }
}

impl SnapshotValues {
    fn new(snapshot: &LastSnapshot, interval: Duration) -> Self {
        Self {
            source: snapshot.source.word(),
            tally: snapshot.tally,
            fullest: snapshot.fullest,
            finished: snapshot.finished,
            duration: snapshot.duration,
            interval,
            limits: snapshot.limits,
        }
    }
}
