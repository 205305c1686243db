//! Every metric: its name, help and type. Nothing else names one.

use prometheus_client::metrics::MetricType;

/// A metric family as it is described in an exposition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    /// Its name, for a counter without `_total`, which every text format appends.
    pub(super) name: &'static str,
    /// What it tells.
    pub(super) help: &'static str,
    /// Its type.
    pub(super) kind: MetricType,
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help, kind: MetricType::Gauge }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help, kind: MetricType::Counter }
}

pub(super) const CONNECTIONS: Metric = gauge(
    "tcpstat_connections",
    "TCP sockets of this network namespace by family and state, now. The family is the socket's, not the packets': an IPv4 client of a dual-stack listener counts as ipv6.",
);
pub(super) const TRANSITIONS: Metric = counter(
    "tcpstat_transitions",
    "TCP state transitions by the socket's family since the tracer started; from=\"listen\", to=\"syn_recv\" is an accepted child's birth.",
);
pub(super) const SNAPSHOT_CONNECTIONS: Metric = gauge(
    "tcpstat_snapshot_connections",
    "TCP sockets by family (the socket's, not the packets') and state as the last snapshot listed them.",
);
pub(super) const DRIFT_CONNECTIONS: Metric = gauge(
    "tcpstat_drift_connections",
    "Counted minus listed sockets at the last exact snapshot, before it was corrected.",
);
pub(super) const CORRECTIONS: Metric = counter(
    "tcpstat_corrections",
    "Sockets that reconciling with a snapshot added to or took from a gauge.",
);
pub(super) const RECEIVE_QUEUE_BYTES: Metric = gauge(
    "tcpstat_receive_queue_bytes",
    "Bytes received and not yet read at the last snapshot, listening sockets left out.",
);
pub(super) const SEND_QUEUE_BYTES: Metric = gauge(
    "tcpstat_send_queue_bytes",
    "Bytes written and not yet acknowledged at the last snapshot, listening sockets left out.",
);
pub(super) const SNAPSHOT_TIMESTAMP_SECONDS: Metric = gauge(
    "tcpstat_snapshot_timestamp_seconds",
    "When the last snapshot ended, in seconds since the epoch.",
);
pub(super) const SNAPSHOT_DURATION_SECONDS: Metric =
    gauge("tcpstat_snapshot_duration_seconds", "How long the last snapshot took.");
pub(super) const SNAPSHOT_INTERVAL_SECONDS: Metric = gauge(
    "tcpstat_snapshot_interval_seconds",
    "Time between two snapshots: the one asked for, longer where snapshots would take too much of it.",
);
pub(super) const SNAPSHOT_ROWS: Metric =
    gauge("tcpstat_snapshot_rows", "Sockets that the last snapshot listed.");
pub(super) const SNAPSHOT_ERRORS: Metric = counter(
    "tcpstat_snapshot_errors",
    "Rows of snapshots that could not be understood, and snapshots that failed.",
);
pub(super) const TIME_WAIT_LIMIT: Metric = gauge(
    "tcpstat_time_wait_limit",
    "Timewait mini-sockets that the kernel allows here (net.ipv4.tcp_max_tw_buckets); sockstat's tw counts against it.",
);
pub(super) const EPHEMERAL_PORTS: Metric = gauge(
    "tcpstat_ephemeral_ports",
    "Ports that connecting sockets choose from (the size of net.ipv4.ip_local_port_range).",
);
pub(super) const SOCKSTAT_SOCKETS: Metric = gauge(
    "tcpstat_sockstat_sockets",
    "TCP sockets by the kernel's own count: hashed full sockets (inuse), timewait mini-sockets (tw).",
);
pub(super) const TRACER_UP: Metric = gauge(
    "tcpstat_tracer_up",
    "1 while transitions are counted in the kernel, 0 while snapshots alone are served.",
);
pub(super) const TRACER_INFO: Metric = gauge(
    "tcpstat_tracer_info",
    "How sockets are counted: program, snapshot source, further hooks.",
);
pub(super) const EVENTS_MISSED: Metric =
    counter("tcpstat_events_missed", "Events that the kernel says it did not run the tracer for.");
pub(super) const TRACER_CHANGES: Metric =
    counter("tcpstat_tracer_changes", "How often the tracer was changed for one that loses less.");
pub(super) const CONSISTENT: Metric = gauge(
    "tcpstat_consistent",
    "1 when the sum of the gauges agreed with the kernel's own count when last it could be told.",
);
pub(super) const TRIPWIRE_TRIPS: Metric = counter(
    "tcpstat_tripwire_trips",
    "How often the sum of the gauges was seen to differ from the kernel's own count, twice in a row.",
);
pub(super) const RECONCILES: Metric =
    counter("tcpstat_reconciles", "Times the counts were held against a listing, by reason.");
pub(super) const LAST_AGREEMENT_TIMESTAMP_SECONDS: Metric = gauge(
    "tcpstat_last_agreement_timestamp_seconds",
    "When counts and kernel were last seen to agree, in seconds since the epoch.",
);
pub(super) const BUILD_INFO: Metric =
    gauge("tcpstat_build_info", "1, with the version and revision of this binary.");
pub(super) const PROCESS_CPU_SECONDS: Metric =
    counter("process_cpu_seconds", "Total user and system CPU time spent in seconds.");
pub(super) const PROCESS_RESIDENT_MEMORY_BYTES: Metric =
    gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
pub(super) const PROCESS_VIRTUAL_MEMORY_BYTES: Metric =
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.");
pub(super) const PROCESS_START_TIME_SECONDS: Metric =
    gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.");
pub(super) const PROCESS_OPEN_FDS: Metric =
    gauge("process_open_fds", "Number of open file descriptors.");
pub(super) const PROCESS_MAX_FDS: Metric =
    gauge("process_max_fds", "Maximum number of open file descriptors.");

/// node_exporter's metric, byte for byte what its collector tcpstat gives.
pub(super) const NODE_TCP_CONNECTION_STATES: Metric =
    gauge("node_tcp_connection_states", "Number of connection states.");
