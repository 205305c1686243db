//! The JSON of `tcpstat who`. docs/who.md describes it.

use std::{collections::BTreeMap, time::SystemTime};

use serde::Serialize;

use crate::{
    holders::Peer,
    states::state_word,
    tracker::{HolderView, Holders, NamedNetns, NamedProcess, QueueView},
};

/// Several lines, for people. `time` is when the reading began.
///
/// # Errors
/// None that can happen.
pub(super) fn pretty(time: SystemTime, holders: &Holders) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&WhoJson::new(time, holders))? + "\n")
}

/// One line.
///
/// # Errors
/// As [`pretty`].
pub(super) fn line(time: SystemTime, holders: &Holders) -> serde_json::Result<String> {
    Ok(serde_json::to_string(&WhoJson::new(time, holders))? + "\n")
}

#[derive(Serialize)]
struct WhoJson<'a> {
    time: String,
    source: &'static str,
    processes_not_visible: u64,
    sockets: u64,
    sockets_with_more_processes: u64,
    holders: Vec<HolderJson<'a>>,
    more_holders: usize,
    not_held: NotHeldJson<'a>,
}

#[derive(Serialize)]
struct HolderJson<'a> {
    processes: Vec<ProcessJson<'a>>,
    more_processes: usize,
    netns: NetnsJson<'a>,
    cgroup: Option<&'a str>,
    name: Option<&'a str>,
    sockets: u64,
    states: BTreeMap<&'static str, u64>,
    oldest_seconds: Option<f64>,
    local_ports: Vec<PortJson>,
    more_local_ports: usize,
    peers: Vec<PeerJson>,
}

#[derive(Serialize)]
struct ProcessJson<'a> {
    pid: u32,
    command: Option<&'a str>,
}

#[derive(Serialize)]
struct NetnsJson<'a> {
    inode: Option<u64>,
    name: &'a str,
}

#[derive(Serialize)]
struct PortJson {
    port: u16,
    sockets: u64,
}

#[derive(Serialize)]
struct PeerJson {
    address: String,
    port: Option<u16>,
    sockets: u64,
}

#[derive(Serialize)]
struct NotHeldJson<'a> {
    accept_queues: Vec<QueueJson<'a>>,
    more_accept_queues: usize,
    orphans: Option<u64>,
    other: Option<u64>,
}

#[derive(Serialize)]
struct QueueJson<'a> {
    netns: NetnsJson<'a>,
    address: String,
    port: u16,
    length: u32,
    limit: Option<u32>,
    processes: Vec<ProcessJson<'a>>,
    more_processes: usize,
}

impl<'a> WhoJson<'a> {
    fn new(time: SystemTime, holders: &'a Holders) -> Self {
        Self {
            time: humantime::format_rfc3339_micros(time).to_string(),
            source: holders.source.word(),
            processes_not_visible: holders.not_visible,
            sockets: holders.sockets,
            sockets_with_more_processes: holders.with_more_processes,
            holders: holders.rows.iter().map(HolderJson::from).collect(),
            more_holders: holders.more_rows,
            not_held: NotHeldJson {
                accept_queues: holders.accept_queues.iter().map(QueueJson::from).collect(),
                more_accept_queues: holders.more_accept_queues,
                orphans: holders.orphans,
                other: holders.other,
            },
        }
    }
}

impl<'a> From<&'a HolderView> for HolderJson<'a> {
    fn from(view: &'a HolderView) -> Self {
        let row = &view.row;
        let port = |&(port, sockets): &(u16, u64)| PortJson { port, sockets };
        Self {
            processes: processes(&view.processes),
            more_processes: view.more_processes,
            netns: NetnsJson::from(&view.netns),
            cgroup: view.cgroup.as_deref(),
            name: view.name.as_deref(),
            sockets: row.sockets,
            states: row.states.iter().map(|&(state, count)| (state_word(state), count)).collect(),
            oldest_seconds: view.oldest_seconds,
            local_ports: row.local_ports.iter().map(port).collect(),
            more_local_ports: row.more_local_ports,
            peers: row.peers.iter().map(PeerJson::from).collect(),
        }
    }
}

impl From<&Peer> for PeerJson {
    fn from(peer: &Peer) -> Self {
        Self { address: peer.address.to_string(), port: peer.port, sockets: peer.sockets }
    }
}

impl<'a> From<&'a QueueView> for QueueJson<'a> {
    fn from(view: &'a QueueView) -> Self {
        let queue = &view.queue.queue;
        Self {
            netns: NetnsJson::from(&view.netns),
            address: queue.address.to_string(),
            port: view.queue.port,
            length: queue.length,
            limit: queue.limit,
            processes: processes(&view.processes),
            more_processes: view.more_processes,
        }
    }
}

impl<'a> From<&'a NamedNetns> for NetnsJson<'a> {
    fn from(netns: &'a NamedNetns) -> Self {
        Self { inode: netns.inode, name: &netns.name }
    }
}

fn processes(named: &[NamedProcess]) -> Vec<ProcessJson<'_>> {
    named.iter().map(|it| ProcessJson { pid: it.pid, command: it.command.as_deref() }).collect()
}
