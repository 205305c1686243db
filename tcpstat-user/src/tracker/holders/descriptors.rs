//! A reading without BPF: the sockets of /proc/PID/net/tcp and tcp6, and the descriptors of the processes that this one
//! may trace.

use tracing::warn;

use super::{Listed, namespaces::Namespaces};
use crate::{
    holders::{HolderTable, Queue, Socket, peer_address},
    procfs::{Processes, ProcfsError},
    snapshot::{BrokenRow, Identity, Kind, Row, RowSink, ip_address},
    states::State,
};

/// Lists the sockets of these namespaces, and who holds them.
///
/// # Errors
/// [`ProcfsError`] if the processes cannot be listed.
pub(super) fn list(processes: &Processes, namespaces: &Namespaces) -> Result<Listed, ProcfsError> {
    let mut tables = Tables::default();
    for namespace in namespaces.iter() {
        tables.netns = namespace.key;
        // If a process has ended, the sockets that its files have shown are those of its namespace.
        let mut failed = None;
        for procfs in namespace.procfs() {
            failed = procfs.each_socket(&mut tables).err();
            if failed.is_none() {
                break;
            }
        }
        if let Some(error) = failed.filter(|error| !error.is_of_ended_process()) {
            warn!("sockets of the network namespace {} are left out: {error}", namespace.name.name);
        }
    }
    if let Some(broken) = &tables.first_broken {
        warn!(rows = tables.broken_rows, "{broken}: rows like this are left out");
    }
    let mut listed = Listed { table: tables.table, not_visible: Vec::new() };
    for process in processes.list()? {
        let each = |inode| {
            listed.table.hold(inode, process.pid);
        };
        match processes.each_socket_of(process.pid, each) {
            Err(error) if error.is_denied() && !processes.is_kernel_thread(process.pid) => {
                listed.not_visible.push(process.pid);
            }
            _ => {}
        }
    }
    Ok(listed)
}

/// The sockets with an inode number: all that a process can hold.
#[derive(Default)]
struct Tables {
    table: HolderTable,
    netns: u64,
    broken_rows: u64,
    first_broken: Option<String>,
}

impl RowSink for Tables {
    fn listed(&mut self) {}

    fn row(&mut self, row: &Row) {
        let Identity::Tuple { tuple, inode } = row.identity else { return };
        let Kind::Full(state) = row.kind else { return };
        if inode == 0 {
            return;
        }
        let listens = state == State::Listen;
        let remote = (peer_address(tuple.family, tuple.daddr), tuple.dport);
        self.table.add(&Socket {
            key: inode,
            netns: self.netns,
            state,
            local_port: tuple.sport,
            remote: (!listens).then_some(remote),
            silence: None,
            queue: listens.then(|| Queue {
                address: ip_address(tuple.family, tuple.saddr),
                length: row.receive_queue,
                limit: None,
            }),
        });
    }

    fn broken(&mut self, row: BrokenRow<'_>) {
        self.broken_rows += 1;
        self.first_broken.get_or_insert_with(|| row.to_string());
    }
}
