//! Every metric: its group, name, help and type. No other file names a metric.

use prometheus_client::metrics::MetricType;

use super::groups::Group;
use crate::tracker::ScopeKind;

/// The description of a metric family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) group: Group,
    /// The name. That of a counter is without `_total`, which the encoder appends.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
}

const fn gauge(group: Group, name: &'static str, help: &'static str) -> Metric {
    Metric { group, name, help, kind: MetricType::Gauge }
}

const fn counter(group: Group, name: &'static str, help: &'static str) -> Metric {
    Metric { group, name, help, kind: MetricType::Counter }
}

const fn histogram(group: Group, name: &'static str, help: &'static str) -> Metric {
    Metric { group, name, help, kind: MetricType::Histogram }
}

pub(super) const CONNECTIONS: Metric = gauge(
    Group::Connections,
    "tcpstat_connections",
    "TCP sockets in this network namespace, by family and state. The family is that of the socket, not of the packets: a connection from an IPv4 client to a dual-stack listener counts as ipv6.",
);
pub(super) const CONNECTIONS_PEAK: Metric = gauge(
    Group::Connections,
    "tcpstat_connections_peak",
    "Highest number of TCP sockets within the last minute, of samples a second apart, by state.",
);
pub(super) const TRANSITIONS: Metric = counter(
    Group::Transitions,
    "tcpstat_transitions",
    "TCP state transitions since the tracer started, by family of the socket. from=\"listen\", to=\"syn_recv\" is a new socket that a listener created.",
);
pub(super) const CLOSED: Metric = counter(
    Group::Causes,
    "tcpstat_closed",
    "Sockets that closed, by family, state before, and cause: the error that the socket had at that time. none is an orderly end, or an end by its owner.",
);
pub(super) const CONNECTS_RETRIED: Metric = counter(
    Group::Causes,
    "tcpstat_connects_retried",
    "Outgoing connects that sent their SYN more than once, by family and outcome.",
);
pub(super) const CLOSE_WAIT_SILENCE_SECONDS: Metric = histogram(
    Group::Details,
    "tcpstat_close_wait_silence_seconds",
    "Time since the peer was last heard, when a socket left CLOSE_WAIT: how long the socket was there, unless the peer still acknowledged something.",
);
pub(super) const CLOSE_WAIT_OLDEST_SECONDS: Metric = gauge(
    Group::Ages,
    "tcpstat_close_wait_oldest_seconds",
    "How long, at least, the oldest socket in CLOSE_WAIT had been there at the last reading, in seconds.",
);
pub(super) const CLOSE_WAIT_AGED_CONNECTIONS: Metric = gauge(
    Group::Ages,
    "tcpstat_close_wait_aged_connections",
    "Sockets that had been in CLOSE_WAIT for longer than this time at the last reading.",
);
pub(super) const LISTENER_ACCEPT_QUEUE_LENGTH: Metric = gauge(
    Group::Listeners,
    "tcpstat_listener_accept_queue_length",
    "Connections that wait to be accepted, by local address and port of the listening sockets.",
);
pub(super) const LISTENER_ACCEPT_QUEUE_LIMIT: Metric = gauge(
    Group::Details,
    "tcpstat_listener_accept_queue_limit",
    "Limit of the accept queue (the backlog of listen(2)), by local address and port. Several sockets there are added up.",
);
pub(super) const LISTENER_ACCEPT_QUEUE_FULLEST_RATIO: Metric = gauge(
    Group::Listeners,
    "tcpstat_listener_accept_queue_fullest_ratio",
    "Length of the accept queue divided by one more than its limit, of the fullest socket at this local address and port. At 1 the queue is full and the kernel drops connections.",
);
pub(super) const LISTENER_HALF_OPEN: Metric = gauge(
    Group::Details,
    "tcpstat_listener_half_open",
    "Half-open connections of the listening sockets, by local address and port.",
);
pub(super) const LISTENER_DROPS: Metric = counter(
    Group::Listeners,
    "tcpstat_listener_drops",
    "Packets that the listening sockets dropped, by local address and port: those of connections that found a queue full, and others, for example of port scans or TCP_DEFER_ACCEPT.",
);
pub(super) const SNAPSHOT_CONNECTIONS: Metric = gauge(
    Group::Details,
    "tcpstat_snapshot_connections",
    "TCP sockets in the last snapshot, by family (of the socket, not of the packets) and state.",
);
pub(super) const DWELL_SECONDS: Metric = histogram(
    Group::Ages,
    "tcpstat_dwell_seconds",
    "How long sockets of this network namespace were in a state, for those that entered it since the start and have left it.",
);
pub(super) const DWELL_OVERFLOW: Metric = counter(
    Group::Ages,
    "tcpstat_dwell_overflow",
    "Sockets whose dwell is not measured, because as many as --dwell-max were in one of the states.",
);
pub(super) const DRIFT_CONNECTIONS: Metric = gauge(
    Group::Details,
    "tcpstat_drift_connections",
    "Counted sockets minus sockets in the snapshot, at the last exact snapshot, before the correction.",
);
pub(super) const DRIFT_ABSOLUTE_CONNECTIONS: Metric = gauge(
    Group::Health,
    "tcpstat_drift_absolute_connections",
    "Sum over families and states of the absolute differences between counted sockets and those in the snapshot, at the last exact snapshot, before the correction.",
);
pub(super) const CORRECTIONS: Metric = counter(
    Group::Health,
    "tcpstat_corrections",
    "Sockets that corrections added to a gauge or removed from it, by state.",
);
pub(super) const RECEIVE_QUEUE_BYTES: Metric = gauge(
    Group::Snapshot,
    "tcpstat_receive_queue_bytes",
    "Bytes received but not yet read at the last snapshot, without listening sockets.",
);
pub(super) const SEND_QUEUE_BYTES: Metric = gauge(
    Group::Snapshot,
    "tcpstat_send_queue_bytes",
    "Bytes written but not yet acknowledged at the last snapshot, without listening sockets.",
);
pub(super) const SNAPSHOT_TIMESTAMP_SECONDS: Metric = gauge(
    Group::Snapshot,
    "tcpstat_snapshot_timestamp_seconds",
    "Time at which the last snapshot ended, in seconds since the epoch.",
);
pub(super) const SNAPSHOT_DURATION_SECONDS: Metric = gauge(
    Group::Snapshot,
    "tcpstat_snapshot_duration_seconds",
    "Duration of the last snapshot in seconds.",
);
pub(super) const SNAPSHOT_INTERVAL_SECONDS: Metric = gauge(
    Group::Snapshot,
    "tcpstat_snapshot_interval_seconds",
    "Time between two snapshots: the configured interval, or more if snapshots would take too much of that time.",
);
pub(super) const SNAPSHOT_ROWS: Metric =
    gauge(Group::Details, "tcpstat_snapshot_rows", "Number of sockets in the last snapshot.");
pub(super) const SNAPSHOT_ERRORS: Metric = counter(
    Group::Snapshot,
    "tcpstat_snapshot_errors",
    "Rows of snapshots that could not be parsed, and snapshots that failed.",
);
pub(super) const TIME_WAIT_LIMIT: Metric = gauge(
    Group::Sockstat,
    "tcpstat_time_wait_limit",
    "Maximum number of timewait mini-sockets (net.ipv4.tcp_max_tw_buckets). The tw value of sockstat counts towards it.",
);
pub(super) const EPHEMERAL_PORTS: Metric = gauge(
    Group::Sockstat,
    "tcpstat_ephemeral_ports",
    "Number of ephemeral ports (the size of net.ipv4.ip_local_port_range).",
);
pub(super) const EPHEMERAL_PORTS_FULLEST_DESTINATION: Metric = gauge(
    Group::Sockstat,
    "tcpstat_ephemeral_ports_fullest_destination",
    "Sockets in ephemeral ports to the destination that has the most of them, at the last snapshot. A connect to it fails when it has all ephemeral ports.",
);
pub(super) const EPHEMERAL_PORTS_FULLEST_DESTINATION_INFO: Metric = gauge(
    Group::Sockstat,
    "tcpstat_ephemeral_ports_fullest_destination_info",
    "Constant 1, with the addresses and the remote port of the destination that has the most sockets in ephemeral ports.",
);
pub(super) const SOCKSTAT_SOCKETS: Metric = gauge(
    Group::Sockstat,
    "tcpstat_sockstat_sockets",
    "TCP sockets according to sockstat, the kernel's own count: hashed full sockets (inuse), timewait mini-sockets (tw).",
);
pub(super) const TRACER_UP: Metric = gauge(
    Group::Tracer,
    "tcpstat_tracer_up",
    "1 if a program counts transitions in the kernel, 0 if the numbers come from snapshots only.",
);
pub(super) const TRACER_INFO: Metric = gauge(
    Group::Health,
    "tcpstat_tracer_info",
    "How tcpstat counts sockets: program, source of snapshots, additional hooks, release of the kernel.",
);
pub(super) const EVENTS_MISSED: Metric = counter(
    Group::Health,
    "tcpstat_events_missed",
    "Events that the tracer did not count: the kernel reports that it did not run the tracer, or the tracer has no counter for the transition.",
);
pub(super) const TRACER_CHANGES: Metric = counter(
    Group::Details,
    "tcpstat_tracer_changes",
    "Times that tcpstat switched to a program that misses fewer events.",
);
pub(super) const CONSISTENT: Metric = gauge(
    Group::Health,
    "tcpstat_consistent",
    "1 if the sum of the gauges agreed with the kernel's own count (sockstat) at the last conclusive check, else 0.",
);
pub(super) const SOCKSTAT_MISMATCHES: Metric = counter(
    Group::Details,
    "tcpstat_sockstat_mismatches",
    "Failed sockstat checks: the sum of the gauges differed from the kernel's own count twice in a row.",
);
pub(super) const RECONCILES: Metric = counter(
    Group::Health,
    "tcpstat_reconciles",
    "Comparisons of the counts with a snapshot, by reason.",
);
pub(super) const LAST_AGREEMENT_TIMESTAMP_SECONDS: Metric = gauge(
    Group::Details,
    "tcpstat_last_agreement_timestamp_seconds",
    "Time at which the counts last agreed with the kernel, in seconds since the epoch.",
);
pub(super) const NETNS_INFO: Metric = gauge(
    Group::Netns,
    "tcpstat_netns_info",
    "Constant 1, with what the network namespace belongs to. kind is host, pod, container, named or unnamed.",
);
pub(super) const NETNS_CONSISTENT: Metric = gauge(
    Group::Netns,
    "tcpstat_netns_consistent",
    "1 if the sum of the gauges of the network namespace agreed with its sockstat at the last conclusive check, else 0.",
);
pub(super) const NETNS_SNAPSHOT_TIMESTAMP_SECONDS: Metric = gauge(
    Group::Netns,
    "tcpstat_netns_snapshot_timestamp_seconds",
    "Time at which the last snapshot of the network namespace ended, in seconds since the epoch.",
);
pub(super) const NETNS_CLOSE_WAIT_OLDEST_SECONDS: Metric = gauge(
    Group::Netns,
    "tcpstat_netns_close_wait_oldest_seconds",
    "How long, at least, the oldest socket in CLOSE_WAIT of the network namespace had been there at the last reading, in seconds.",
);
pub(super) const NETNS_CLOSE_WAIT_AGED_CONNECTIONS: Metric = gauge(
    Group::Netns,
    "tcpstat_netns_close_wait_aged_connections",
    "Sockets of the network namespace that had been in CLOSE_WAIT for longer than this time at the last reading.",
);
pub(super) const NETNS_LISTENER_ACCEPT_QUEUE_LENGTH: Metric = gauge(
    Group::Netns,
    "tcpstat_netns_listener_accept_queue_length",
    "Connections that wait to be accepted, by network namespace, local address and port of the listening sockets.",
);
pub(super) const NETNS_LISTENER_ACCEPT_QUEUE_LIMIT: Metric = gauge(
    Group::Details,
    "tcpstat_netns_listener_accept_queue_limit",
    "Limit of the accept queue (the backlog of listen(2)), by network namespace, local address and port. Several sockets there are added up.",
);
pub(super) const NETNS_LISTENER_ACCEPT_QUEUE_FULLEST_RATIO: Metric = gauge(
    Group::Netns,
    "tcpstat_netns_listener_accept_queue_fullest_ratio",
    "Length of the accept queue divided by one more than its limit, of the fullest socket at this local address and port of the network namespace. At 1 the queue is full and the kernel drops connections.",
);
pub(super) const NETNS_LISTENER_HALF_OPEN: Metric = gauge(
    Group::Details,
    "tcpstat_netns_listener_half_open",
    "Half-open connections of the listening sockets, by network namespace, local address and port.",
);
pub(super) const NETNS_LISTENER_DROPS: Metric = counter(
    Group::Netns,
    "tcpstat_netns_listener_drops",
    "Packets that the listening sockets dropped, by network namespace, local address and port: those of connections that found a queue full, and others.",
);
pub(super) const SCOPES: Metric = gauge(
    Group::Scopes,
    "tcpstat_scopes",
    "Network namespaces, cgroups or ports that have series, by kind; other and none among them.",
);
pub(super) const SCOPES_OVERFLOW: Metric = counter(
    Group::Scopes,
    "tcpstat_scopes_overflow",
    "Network namespaces, cgroups or ports that found no room and count in the scope named other, by kind.",
);
pub(super) const SCOPES_HIDDEN: Metric = gauge(
    Group::Scopes,
    "tcpstat_scopes_hidden",
    "Number of network namespaces that exist and cannot be counted, because the files of their processes cannot be read.",
);
pub(super) const BUILD_INFO: Metric = gauge(
    Group::Build,
    "tcpstat_build_info",
    "Constant 1, with the version and revision of this binary.",
);
pub(super) const PROCESS_CPU_SECONDS: Metric = counter(
    Group::Process,
    "process_cpu_seconds",
    "Total user and system CPU time spent in seconds.",
);
pub(super) const PROCESS_RESIDENT_MEMORY_BYTES: Metric =
    gauge(Group::Process, "process_resident_memory_bytes", "Resident memory size in bytes.");
pub(super) const PROCESS_VIRTUAL_MEMORY_BYTES: Metric =
    gauge(Group::Details, "process_virtual_memory_bytes", "Virtual memory size in bytes.");
pub(super) const PROCESS_START_TIME_SECONDS: Metric = gauge(
    Group::Process,
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
);
pub(super) const PROCESS_OPEN_FDS: Metric =
    gauge(Group::Details, "process_open_fds", "Number of open file descriptors.");
pub(super) const PROCESS_MAX_FDS: Metric =
    gauge(Group::Details, "process_max_fds", "Maximum number of open file descriptors.");
pub(super) const WEB_CONFIG_LAST_RELOAD_SUCCESSFUL: Metric = gauge(
    Group::Process,
    "tcpstat_web_config_last_reload_successful",
    "1 if the last reading of --web.config.file and the files that it names is in force, 0 if earlier settings are.",
);
pub(super) const WEB_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS: Metric = gauge(
    Group::Process,
    "tcpstat_web_config_last_reload_success_timestamp_seconds",
    "When the settings of --web.config.file that are in force were read, in seconds since the epoch.",
);

/// The metric of node_exporter's collector tcpstat, byte for byte.
pub(super) const NODE_TCP_CONNECTION_STATES: Metric =
    gauge(Group::NodeExporter, "node_tcp_connection_states", "Number of connection states.");

/// The metrics of cAdvisor, with its help texts. They are gauges despite their names.
pub(super) const CONTAINER_NETWORK_TCP_USAGE_TOTAL: Metric = gauge(
    Group::Cadvisor,
    "container_network_tcp_usage_total",
    "tcp connection usage statistic for container",
);
pub(super) const CONTAINER_NETWORK_TCP6_USAGE_TOTAL: Metric = gauge(
    Group::Cadvisor,
    "container_network_tcp6_usage_total",
    "tcp6 connection usage statistic for container",
);

/// The sockets of each scope of a kind, by state.
pub(super) const fn scope_connections(kind: ScopeKind) -> Metric {
    match kind {
        ScopeKind::Netns => gauge(
            Group::Netns,
            "tcpstat_netns_connections",
            "TCP sockets by network namespace and state.",
        ),
        ScopeKind::Cgroup => gauge(
            Group::Cgroup,
            "tcpstat_cgroup_connections",
            "TCP sockets in this network namespace, by the cgroup they were made in and state.",
        ),
        ScopeKind::Port => gauge(
            Group::Port,
            "tcpstat_port_connections",
            "TCP sockets in this network namespace, by local port and state.",
        ),
    }
}

/// The transitions of each scope of a kind.
pub(super) const fn scope_transitions(kind: ScopeKind) -> Metric {
    match kind {
        ScopeKind::Netns => counter(
            Group::Netns,
            "tcpstat_netns_transitions",
            "TCP state transitions since the network namespace is counted, for each transition that was seen.",
        ),
        ScopeKind::Cgroup => counter(
            Group::Cgroup,
            "tcpstat_cgroup_transitions",
            "TCP state transitions in this network namespace since the cgroup is counted, for each transition that was seen.",
        ),
        ScopeKind::Port => counter(
            Group::Port,
            "tcpstat_port_transitions",
            "TCP state transitions in this network namespace since the port is counted, for each transition that was seen.",
        ),
    }
}
