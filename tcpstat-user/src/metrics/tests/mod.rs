//! What the exposition has: of scopes, of cAdvisor's metrics, and of each group.

mod ages;
mod cadvisor;
mod causes;
mod details;
mod dwell;
mod groups;
mod listeners;
mod scopes;
mod tracer;

use std::{net::Ipv4Addr, num::NonZeroU32, sync::Arc, time::Duration};

use tcpstat_ebpf::{DWELL_BUCKETS, DWELL_OVERFLOW_CELL, dwell_cell};

use super::{Compat, Format, SnapshotValues, TracerValues, Values, WebConfigValues};
use crate::{
    ages::{CloseWaitAges, Silences, TickRate},
    destinations::{Destination, FullestDestination},
    detailed::DetailedTransitions,
    dwell::{DwellStates, Dwells, MeasuredState},
    history::{Moment, Peak},
    listeners::{Endpoint, Fill, Listener, ShownListeners},
    procfs::{Limits, ProcessStatus, Sockstat},
    scopes::{NetnsKind, NetnsName},
    snapshot::Tally,
    states::{Family, PerFamily, PerState, State},
    tracker::{Health, NetnsDetails, Reason, Scope, ScopeKind, Scopes},
    transitions::Transitions,
};

const AT: Moment = Moment { unix_ms: 1_800_000_000_250, uptime_ms: 60_000 };

/// Two sockets over IPv4 and three over IPv6 in ESTABLISHED, one over IPv6 in TIME_WAIT.
fn connections() -> PerState<u64> {
    let mut connections = PerState::default();
    connections[(Family::Ipv4, State::Established)] = 2;
    connections[(Family::Ipv6, State::Established)] = 3;
    connections[(Family::Ipv6, State::TimeWait)] = 1;
    connections
}

const RATE: TickRate = TickRate(NonZeroU32::new(250).unwrap());

/// Eight sockets that left CLOSE_WAIT at once, and one after two minutes.
fn silences() -> Silences {
    Silences { buckets: [8, 0, 0, 1, 0, 0, 0], ticks: 30_001 }
}

/// Two connections that ended after half a second and after two minutes.
fn dwells() -> (DwellStates, Dwells) {
    let states: DwellStates = ["established", "close_wait"]
        .into_iter()
        .map(|word| word.parse::<MeasuredState>().unwrap())
        .collect();
    let mut dwells = Dwells::default();
    for (bucket, value) in [(3, 1), (6, 1), (DWELL_BUCKETS, 120_500_000)] {
        dwells.cells[dwell_cell(State::Established.number().into(), bucket)] = value;
    }
    dwells.cells[DWELL_OVERFLOW_CELL] = 7;
    (states, dwells)
}

/// Four accepted connections, three of them over IPv6.
fn transitions() -> Transitions {
    let mut transitions = Transitions::default();
    transitions.add(Family::Ipv4, State::SynRecv, State::Established, 1);
    transitions.add(Family::Ipv6, State::SynRecv, State::Established, 3);
    transitions
}

fn scope(name: &str) -> Scope {
    Scope {
        name: name.into(),
        connections: Some(connections()),
        transitions: Some(transitions()),
        netns: None,
    }
}

fn scopes(kind: ScopeKind, scopes: Vec<Scope>) -> Scopes {
    Scopes { kind, scopes, overflow: 0, hidden: 0 }
}

fn namespace(name: &str, labels: NetnsName) -> Scope {
    let netns = NetnsDetails {
        name: Some(Arc::new(labels)),
        consistent: Some(true),
        snapshot_finished: Some(AT),
        ..NetnsDetails::default()
    };
    Scope { netns: Some(netns), ..scope(name) }
}

fn pod() -> NetnsName {
    NetnsName {
        kind: NetnsKind::Pod,
        name: "shop/web-0".into(),
        namespace: "shop".into(),
        pod: "web-0".into(),
        pod_uid: "0a1b".into(),
        cgroup: "/kubepods/pod0a1b".into(),
        ..NetnsName::host(4_026_532_000)
    }
}

fn container(cgroup: &str) -> NetnsName {
    NetnsName {
        kind: NetnsKind::Container,
        name: "3f2a".into(),
        container: "3f2a9c".into(),
        cgroup: cgroup.into(),
        ..NetnsName::host(4_026_532_001)
    }
}

/// Values with every metric.
fn everything() -> Values {
    let endpoint = Endpoint { address: Ipv4Addr::LOCALHOST.into(), port: 80 };
    let each = vec![(endpoint, Listener::default())];
    let listeners = Some(Arc::new(ShownListeners { each, ..ShownListeners::default() }));
    let mut host = namespace("host", NetnsName::host(4_026_531_840));
    if let Some(netns) = &mut host.netns {
        netns.listeners = listeners.clone();
        netns.close_wait_ages = Some((CloseWaitAges::default(), RATE));
    }
    let namespaces = vec![host, namespace("shop/web-0", pod())];
    Values {
        connections: Some(connections()),
        peak: Some(Peak::of(&connections())),
        tracer: Some(TracerValues {
            program: "tp_btf",
            hooks: "none",
            transitions: transitions(),
            detailed: Some(DetailedTransitions::default()),
            silences: Some((silences(), RATE)),
            close_wait_ages: Some((
                CloseWaitAges { oldest: 900_375, older_than: [12, 3, 1] },
                RATE,
            )),
            dwells: Some(dwells()),
            drift: PerState::default(),
            corrections: connections(),
            events_missed: 0,
            tracer_changes: 0,
            health: Health {
                last_agreement: Some(AT),
                reconciles: [1; Reason::ALL.len()],
                ..Health::default()
            },
        }),
        snapshot: Some(SnapshotValues {
            source: "procfs",
            tally: Tally::default(),
            fullest: Some(FullestDestination {
                sockets: 321,
                destination: Some(Destination {
                    local: [10, 0, 0, 1].into(),
                    remote: [10, 0, 0, 2].into(),
                    port: 443,
                }),
            }),
            finished: AT,
            duration: Duration::from_millis(31),
            interval: Duration::from_secs(15),
            limits: Limits { time_wait: Some(131_072), ephemeral_ports: Some(28_232) },
        }),
        snapshot_errors: 0,
        kernel: "6.1.0-18-amd64".to_owned(),
        sockstat: Some(Sockstat { inuse: PerFamily([451, 12]), tw: 1_000 }),
        process: Some(ProcessStatus {
            cpu_seconds: 0.5,
            resident_bytes: 4096,
            virtual_bytes: 8192,
            start_time_seconds: 1.0,
            open_fds: 9,
            max_fds: Some(1024),
        }),
        listeners,
        scopes: vec![
            scopes(ScopeKind::Netns, namespaces),
            scopes(ScopeKind::Cgroup, vec![scope("none"), scope("/system.slice/ssh.service")]),
            scopes(ScopeKind::Port, vec![scope("443"), scope("other")]),
        ],
        web_config: Some(WebConfigValues { successful: true, last_success: AT }),
        compat: Compat { node_exporter: true, cadvisor: true },
    }
}

/// The lines of the classic format that begin with `prefix`, or describe such a family.
fn lines(values: Values, prefix: &str) -> Vec<String> {
    let text = values.encode(Format::Classic);
    let begins = |line: &&str| line.trim_start_matches("# TYPE ").starts_with(prefix);
    text.lines().filter(begins).map(str::to_owned).collect()
}

fn with_scopes(scopes: Vec<Scopes>) -> Values {
    Values { scopes, ..Values::default() }
}

/// The name of the family that a `# TYPE` line describes.
fn described(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.split(' ').next()
}
