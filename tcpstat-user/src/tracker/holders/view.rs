//! What a report shows, with the names of processes, units and network namespaces.

use tracing::debug;

use super::{super::finder::Finder, HolderSource, namespaces::Namespaces};
use crate::{
    ages::TickRate,
    holders::{AcceptQueue, HolderReport, HolderRow, NetnsTotals},
    procfs::{Processes, ProcfsError},
    scopes::{CgroupName, label_value},
};

/// Processes of a row that are named.
const MOST_PROCESSES: usize = 20;

/// Longest name of a process in characters. The kernel's have at most 64 bytes, those of its threads.
const LONGEST_COMMAND: usize = 80;

/// Who holds which sockets. All texts are safe to show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Holders {
    pub(crate) source: HolderSource,
    /// Processes whose descriptors cannot be read.
    pub(crate) not_visible: u64,
    /// As [`HolderReport::sockets`].
    pub(crate) sockets: u64,
    /// As [`HolderReport::with_more_processes`].
    pub(crate) with_more_processes: u64,
    pub(crate) rows: Vec<HolderView>,
    pub(crate) more_rows: usize,
    pub(crate) accept_queues: Vec<QueueView>,
    pub(crate) more_accept_queues: usize,
    /// Sockets that their owners have closed, of the whole host; `None` if other sockets are asked for.
    pub(crate) orphans: Option<u64>,
    /// Sockets that nobody holds, besides those in accept queues and the orphans; `None` if that is not known.
    pub(crate) other: Option<u64>,
    /// Sockets of the chosen namespaces that nobody holds, whatever else the query asks for.
    pub(crate) without_holder: Option<u64>,
    pub(crate) totals: Vec<NetnsTotals>,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HolderView {
    /// The processes with the lowest ids.
    pub(crate) processes: Vec<NamedProcess>,
    pub(crate) more_processes: usize,
    pub(crate) netns: NamedNetns,
    /// The cgroup path of the first process that has one.
    pub(crate) cgroup: Option<String>,
    /// The container of that process, with its pod before it, or its machine or unit.
    pub(crate) name: Option<String>,
    /// The longest silence of a peer.
    pub(crate) oldest_seconds: Option<f64>,
    pub(crate) row: HolderRow,
}

/// An accept queue with a connection in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct QueueView {
    pub(crate) netns: NamedNetns,
    /// The processes that hold the listening socket.
    pub(crate) processes: Vec<NamedProcess>,
    pub(crate) more_processes: usize,
    pub(crate) queue: AcceptQueue,
}

/// A process with its name; `None` if it has ended, or if its files are not visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedProcess {
    pub(crate) pid: u32,
    pub(crate) command: Option<String>,
}

/// A network namespace as scopes name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedNetns {
    pub(crate) inode: Option<u64>,
    pub(crate) name: String,
}

/// What names come from.
pub(super) struct Describe<'a> {
    /// `None` if process ids have another meaning there.
    pub(super) processes: Option<&'a Processes>,
    pub(super) finder: &'a Finder,
    pub(super) namespaces: &'a Namespaces,
    pub(super) rate: Option<TickRate>,
}

impl Describe<'_> {
    pub(super) fn holders(
        &self,
        report: HolderReport,
        source: HolderSource,
        not_visible: u64,
    ) -> Holders {
        Holders {
            source,
            not_visible,
            sockets: report.sockets,
            with_more_processes: report.with_more_processes,
            rows: report.rows.into_iter().map(|row| self.row(row)).collect(),
            more_rows: report.more_rows,
            accept_queues: report
                .accept_queues
                .into_iter()
                .map(|queue| self.queue(queue))
                .collect(),
            more_accept_queues: report.more_accept_queues,
            orphans: None,
            other: None,
            without_holder: None,
            totals: report.netns,
        }
    }

    fn row(&self, row: HolderRow) -> HolderView {
        let (processes, more_processes) = self.named(&row.pids);
        let cgroup = row.pids.iter().take(MOST_PROCESSES).find_map(|&pid| self.cgroup(pid));
        HolderView {
            processes,
            more_processes,
            netns: self.netns(row.netns),
            name: cgroup
                .as_deref()
                .and_then(|text| self.finder.name_of_cgroup(&CgroupName::of_process(text))),
            cgroup: cgroup.as_deref().map(CgroupName::whole_path),
            oldest_seconds: self.rate.zip(row.oldest).map(|(rate, it)| rate.seconds(it.into())),
            row,
        }
    }

    fn queue(&self, queue: AcceptQueue) -> QueueView {
        let (processes, more_processes) = self.named(&queue.pids);
        QueueView { netns: self.netns(queue.netns), processes, more_processes, queue }
    }

    fn named(&self, pids: &[u32]) -> (Vec<NamedProcess>, usize) {
        let shown = &pids[..pids.len().min(MOST_PROCESSES)];
        let named = shown.iter().map(|&pid| NamedProcess { pid, command: self.command(pid) });
        (named.collect(), pids.len() - shown.len())
    }

    fn command(&self, pid: u32) -> Option<String> {
        let name = known(self.processes?.command(pid))?;
        Some(label_value(&name, LONGEST_COMMAND))
    }

    /// The text of its file.
    fn cgroup(&self, pid: u32) -> Option<Vec<u8>> {
        known(self.processes?.cgroups(pid)).filter(|text| !text.is_empty())
    }

    fn netns(&self, key: u64) -> NamedNetns {
        if let Some(known) = self.namespaces.get(key) {
            return NamedNetns { inode: known.inode, name: known.label.to_string() };
        }
        // No process is in it: its key is its inode number then.
        NamedNetns { inode: Some(key), name: self.finder.name_of_inode(key).name }
    }
}

fn known<T>(read: Result<T, ProcfsError>) -> Option<T> {
    read.inspect_err(|error| debug!("a process without a name: {error}")).ok()
}
