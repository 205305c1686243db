//! What is exposed: the values of one scrape, and the two text formats they are written in.
//!
//! Label sets are bounded, every series is written at every scrape even at zero, and nothing is kept
//! between two scrapes.

mod classic;
mod exposition;
mod family_writer;
mod names;
mod node_exporter;

use std::time::Duration;

use node_exporter::ConnectionStates;
use prometheus_client::{collector::Collector, encoding::text, registry::Registry};

use crate::{
    history::Moment,
    procfs::{Limits, ProcessStatus, Sockstat},
    snapshot::Tally,
    states::PerState,
    transitions::Transitions,
};

/// Everything that one scrape tells. What is `None` is not known, and its series are left out.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// Sockets by state.
    pub connections: Option<PerState<u64>>,
    /// What the tracer tells.
    pub tracer: Option<TracerValues>,
    /// What the last snapshot listed.
    pub snapshot: Option<SnapshotValues>,
    /// Rows that did not parse and snapshots that failed.
    pub snapshot_errors: u64,
    /// The kernel's own totals.
    pub sockstat: Option<Sockstat>,
    /// This process.
    pub process: Option<ProcessStatus>,
    /// Whether `node_tcp_connection_states` is written too.
    pub node_exporter: bool,
}

/// The part that there is only while a program counts.
#[derive(Clone, Debug)]
pub struct TracerValues {
    /// The program's word.
    pub program: &'static str,
    /// The hooks' word.
    pub hooks: &'static str,
    /// Transitions since it was attached.
    pub transitions: Transitions,
    /// Ledger − sample at the last exact snapshot.
    pub drift: PerState<i64>,
    /// Sockets by which gauges were corrected.
    pub corrections: PerState<u64>,
    /// Events that the kernel skipped.
    pub events_missed: u64,
    /// Times that tcpstat switched to a program that misses fewer events.
    pub tracer_changes: u64,
    /// How the numbers prove themselves.
    pub health: HealthValues,
}

/// How the numbers prove themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct HealthValues {
    /// Whether the last look at the check, or the last snapshot since, agreed.
    pub consistent: bool,
    /// How often the wire was tripped.
    pub trips: u64,
    /// Reconciles by [`Reason`].
    pub reconciles: [u64; Reason::ALL.len()],
    /// When ledger and kernel were last seen to agree.
    pub last_agreement: Option<Moment>,
}

/// Why a reconcile is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was time.
    Interval,
    /// The sum of the gauges differed from the kernel's count.
    SockstatCheck,
    /// The kernel said that it had skipped events.
    MissedEvents,
    /// So many transitions had come that some may have been lost unnoticed, and now it is calm.
    AfterChurn,
}

impl Reason {
    /// All of them, in their order.
    pub const ALL: [Self; 4] =
        [Self::Interval, Self::SockstatCheck, Self::MissedEvents, Self::AfterChurn];

    /// The value of the label `reason`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::SockstatCheck => "sockstat",
            Self::MissedEvents => "missed_events",
            Self::AfterChurn => "after_churn",
        }
    }
}

/// The last snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotValues {
    /// Where the rows came from.
    pub source: &'static str,
    /// What they add up to.
    pub tally: Tally,
    /// When it ended.
    pub finished: Moment,
    /// How long it took.
    pub duration: Duration,
    /// Time between two at present.
    pub interval: Duration,
    /// What sysctl allowed then.
    pub limits: Limits,
}

/// A text format of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' text format 0.0.4, what a scraper gets that does not ask.
    Classic,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The value of the header Content-Type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Values {
    /// The whole exposition.
    #[must_use]
    pub fn encode(self, format: Format) -> String {
        encode(Box::new(self), format)
    }

    /// The part of the classic exposition that node_exporter's metric is; `None` before there are
    /// numbers.
    #[must_use]
    pub fn encode_node_exporter(&self) -> Option<String> {
        let collector = ConnectionStates::of(self)?;
        Some(encode(Box::new(collector), Format::Classic))
    }
}

fn encode(collector: Box<dyn Collector>, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(collector);
    let mut openmetrics = String::with_capacity(32 * 1024);
    // Writing to a String cannot fail, and the collectors add no failure of their own.
    let _ = text::encode(&mut openmetrics, &registry);
    match format {
        Format::OpenMetrics => openmetrics,
        Format::Classic => classic::from_openmetrics(&openmetrics),
    }
}
