//! What the view shows of a reading.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{HolderRow, Holders, MAX_ROWS, Place, Processes, Question, QueueRow};
use crate::{
    holders::Peer,
    states::State,
    text::{self, plain},
    tracker::{self, HolderView, NamedProcess, QueueView},
};

impl Holders {
    /// The part of `read` that answers `question`.
    pub(in crate::top) fn new(read: &tracker::Holders, question: &Question) -> Self {
        let in_cgroup = |view: &&HolderView| match &question.place {
            Place::Cgroup(path) => view.cgroup.as_ref().is_some_and(|own| is_below(own, path)),
            _ => true,
        };
        let rows: Vec<_> = read.rows.iter().filter(in_cgroup).collect();
        let is_cgroup = matches!(question.place, Place::Cgroup(_));
        let queues = if can_wait(question.state) && !is_cgroup {
            read.accept_queues.iter().take(MAX_ROWS).map(QueueRow::new).collect()
        } else {
            Vec::new()
        };
        Self {
            sockets: match question.place {
                Place::Cgroup(_) => rows.iter().map(|view| view.row.sockets).sum(),
                _ => read.sockets,
            },
            more_rows: read.more_rows + rows.len().saturating_sub(MAX_ROWS),
            rows: rows.into_iter().take(MAX_ROWS).map(HolderRow::new).collect(),
            queues,
            hidden: read.not_visible,
        }
    }
}

/// Whether a connection in this state can be in an accept queue.
fn can_wait(state: State) -> bool {
    matches!(state, State::Established | State::CloseWait)
}

fn is_below(path: &str, above: &str) -> bool {
    let rest = path.strip_prefix(above.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl HolderRow {
    fn new(view: &HolderView) -> Self {
        let row = &view.row;
        let ports = row.local_ports.first().map(|(port, _)| port.to_string());
        let more_ports = row.local_ports.len().saturating_sub(1) + row.more_local_ports;
        let unit = view.name.as_ref().or(view.cgroup.as_ref());
        Self {
            sockets: row.sockets,
            oldest: view.oldest_seconds.and_then(|oldest| Duration::try_from_secs_f64(oldest).ok()),
            processes: processes(&view.processes, row.pids.len()),
            port: match (ports, more_ports) {
                (None, _) => String::new(),
                (Some(port), 0) => port,
                (Some(port), more) => format!("{port} +{more}"),
            },
            peer: row.peers.first().map(peer).unwrap_or_default(),
            unit: unit.map(|unit| plain(unit, text::VALUE).into_owned()).unwrap_or_default(),
        }
    }
}

impl QueueRow {
    fn new(view: &QueueView) -> Self {
        let queue = &view.queue.queue;
        Self {
            waiting: queue.length.into(),
            limit: queue.limit.map(Into::into),
            listener: place(queue.address, view.queue.port),
            processes: processes(&view.processes, view.queue.pids.len()),
        }
    }
}

fn processes(named: &[NamedProcess], all: usize) -> Processes {
    let first = named.first().map(|it| (it.pid, it.command.as_deref().unwrap_or("-")));
    Processes::new(first, all)
}

fn peer(peer: &Peer) -> String {
    peer.port.map_or_else(|| peer.address.to_string(), |port| place(peer.address, port))
}

/// Address and port; an IPv6 address has brackets.
fn place(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

#[cfg(test)]
mod tests;
