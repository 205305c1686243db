//! The measured work: parts of a snapshot and of a scrape, with data like the kernel's.

use std::{fmt::Write as _, fs, num::NonZeroU32, sync::Arc, time::Duration};

use tcpstat_user::{
    ages::{CloseWaitAges, Silences, TickRate},
    destinations::FullestDestination,
    detailed::DetailedTransitions,
    history::{Moment, Peak},
    ledger::{
        Ledger,
        rewind::{ByAddress, ByTuple, Rewind},
    },
    metrics::{Compat, Format, SnapshotValues, TracerValues, Values},
    procfs::{Limits, ProcessStatus, Procfs, Sockstat},
    scopes::NetnsName,
    snapshot::{BrokenRow, Identity, Kind, Row, RowSink, Tally, Tuple},
    states::{Family, Hooks, PerFamily, PerState, State},
    tracker::{Health, NetnsDetails, Scope, ScopeKind, Scopes},
    transitions::{TRANSITIONS, Transitions},
};
use tempfile::TempDir;

/// A folder with a file net/tcp.
pub(crate) struct Table {
    folder: TempDir,
}

/// Adds up rows, and does nothing else.
#[derive(Default)]
struct Sum(Tally);

impl RowSink for Sum {
    fn listed(&mut self) {}

    fn row(&mut self, row: &Row) {
        self.0.add(row);
    }

    fn broken(&mut self, row: BrokenRow<'_>) {
        panic!("{row:?}");
    }
}

impl Table {
    /// Rows as `get_tcp4_sock` prints them (net/ipv4/tcp_ipv4.c), padded as it pads.
    pub(crate) fn with_rows(rows: usize) -> Self {
        let mut text = format!(
            "{:<149}\n",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
        );
        for number in 0..rows {
            let row = format!(
                "{number:4}: 0100007F:{:04X} {:08X}:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 {} 1 0000000000000000 20 4 30 10 -1",
                number & 0xffff,
                number >> 8,
                number + 10_000,
            );
            writeln!(text, "{row:<149}").expect("a String takes all");
        }
        let folder = TempDir::new().expect("a temporary folder");
        fs::create_dir(folder.path().join("net")).expect("an empty folder");
        fs::write(folder.path().join("net/tcp"), text).expect("room for it");
        Self { folder }
    }

    /// Reads and parses all rows; returns their number.
    pub(crate) fn list(&self) -> u64 {
        let mut sum = Sum::default();
        Procfs::new(self.folder.path()).each_socket(&mut sum).expect("it is there");
        sum.0.rows
    }
}

fn sockets(rows: u16) -> impl Iterator<Item = Row> {
    (0..rows).map(|number| {
        let mut saddr = [0; 16];
        saddr[..4].copy_from_slice(&[127, 0, 0, 1]);
        let tuple = Tuple { family: Family::Ipv4, saddr, sport: number, daddr: saddr, dport: 443 };
        Row {
            family: Family::Ipv4,
            identity: Identity::Tuple { tuple, inode: u64::from(number) },
            kind: Kind::Full(State::Established),
            receive_queue: 0,
            send_queue: 0,
            sport: number,
            cgroup: 0,
        }
    })
}

/// Gives rows of /proc to the rewind; returns the number of established sockets.
pub(crate) fn rewind_by_tuple(rows: u16) -> u64 {
    let mut rewind = ByTuple::default();
    for row in sockets(rows) {
        rewind.row(&row);
    }
    rewind.at_cut().sockets[(Family::Ipv4, State::Established)]
}

/// The same with rows of the iterator, in the order of a slab.
pub(crate) fn rewind_by_address(rows: u16) -> u64 {
    let mut rewind = ByAddress::default();
    for row in sockets(rows) {
        let Identity::Tuple { tuple, inode } = row.identity else { continue };
        let skaddr = 0xffff_8881_0000_0000 + inode * 2304;
        rewind.row(&Row { identity: Identity::Address { skaddr, tuple }, ..row });
    }
    rewind.at_cut().sockets[(Family::Ipv4, State::Established)]
}

/// Evaluates the ledger as a scrape does.
pub(crate) fn connections() -> u64 {
    let mut transitions = Transitions::default();
    transitions.add(Family::Ipv4, State::Close, State::SynSent, 1_000);
    transitions.add(Family::Ipv4, State::SynSent, State::Established, 990);
    let nothing = PerState::default();
    let ledger = Ledger::seeded(Hooks::default(), &Transitions::default(), &nothing);
    ledger.connections(&transitions, 12, 0)[(Family::Ipv4, State::Established)]
}

/// The values of a scrape with a tracer.
pub(crate) fn values() -> Values {
    let connections = PerState::from_fn(|_, state| u64::from(state.number()) * 123);
    Values {
        connections: Some(connections),
        peak: Some(Peak::of(&connections)),
        tracer: Some(TracerValues {
            program: "tp_btf",
            hooks: "none",
            transitions: all_transitions(),
            detailed: Some(DetailedTransitions::default()),
            silences: Some((Silences::default(), TickRate(NonZeroU32::MIN))),
            close_wait_ages: Some((CloseWaitAges::default(), TickRate(NonZeroU32::MIN))),
            dwells: None,
            drift: PerState::default(),
            corrections: PerState::default(),
            events_missed: 3,
            tracer_changes: 0,
            health: Health { consistent: true, ..Health::default() },
        }),
        kernel: "6.1.0-18-amd64".to_owned(),
        snapshot: Some(SnapshotValues {
            source: "procfs",
            tally: Tally::default(),
            fullest: Some(FullestDestination { sockets: 321, destination: None }),
            finished: Moment { unix_ms: 1_800_000_000_000, uptime_ms: 60_000 },
            duration: Duration::from_millis(31),
            interval: Duration::from_secs(15),
            limits: Limits { time_wait: Some(131_072), ephemeral_ports: Some(28_232) },
        }),
        snapshot_errors: 0,
        sockstat: Some(Sockstat { inuse: PerFamily([451, 12]), tw: 1_000 }),
        process: ProcessStatus::read().ok(),
        listeners: None,
        scopes: Vec::new(),
        web_config: None,
        compat: Compat { node_exporter: true, cadvisor: false },
    }
}

/// The values of a scrape with 200 network namespaces and 100 cgroups, all of which have made every transition.
pub(crate) fn values_with_scopes() -> Values {
    let scopes = |kind, names: Vec<String>| Scopes {
        kind,
        scopes: names.iter().map(|name| scope(kind, name)).collect(),
        overflow: 0,
        hidden: 0,
    };
    let pods = (0..200).map(|number| format!("production/checkout-{number:03}-7d9c5b8f6d-x2x4z"));
    let units = (0..100).map(|number| format!("/system.slice/worker-{number:03}.service"));
    let scopes =
        vec![scopes(ScopeKind::Netns, pods.collect()), scopes(ScopeKind::Cgroup, units.collect())];
    Values { scopes, ..values() }
}

fn scope(kind: ScopeKind, name: &str) -> Scope {
    let netns = (kind == ScopeKind::Netns).then(|| NetnsDetails {
        name: Some(Arc::new(NetnsName { name: name.to_owned(), ..NetnsName::host(4_026_532_000) })),
        consistent: Some(true),
        snapshot_finished: Some(Moment { unix_ms: 1_800_000_000_000, uptime_ms: 60_000 }),
        ..NetnsDetails::default()
    });
    Scope {
        name: name.into(),
        connections: Some(PerState::from_fn(|_, state| u64::from(state.number()) * 123)),
        transitions: Some(all_transitions()),
        netns,
    }
}

/// Some of each transition that TCP makes, in both families.
fn all_transitions() -> Transitions {
    let mut transitions = Transitions::default();
    for family in Family::ALL {
        for (times, (old, new)) in (1..).zip(TRANSITIONS) {
            transitions.add(family, old, new, times * 1_234);
        }
    }
    transitions
}

/// Encodes the values; returns the length of the text.
pub(crate) fn expose(values: Values, format: Format) -> usize {
    values.encode(format).len()
}
