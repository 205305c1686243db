//! `tcpstat who --json`: which processes hold sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{fs, io};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::binary::{Run, tcpstat};
use crate::kernel_release::kernel_series;
use crate::tcp::State;

/// One answer. A member that is not here is a failure: the schema is a promise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// When the reading began, as RFC 3339 in UTC.
    pub time: String,
    /// [`ITERATOR`] or [`DESCRIPTORS`].
    pub source: String,
    /// Processes whose descriptors the caller may not read.
    pub processes_not_visible: u64,
    /// All sockets that match, those of rows that are not shown included; each once.
    pub sockets: u64,
    /// Sockets that only some of their processes are known of.
    pub sockets_with_more_processes: u64,
    /// The rows.
    pub holders: Vec<Row>,
    /// Rows that are not shown.
    pub more_holders: u64,
    /// Sockets without a descriptor.
    pub not_held: NotHeld,
}

/// The sockets of one namespace that the same processes hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The processes.
    pub processes: Vec<Process>,
    /// Processes that are not shown.
    pub more_processes: u64,
    /// The namespace of the sockets.
    pub netns: Netns,
    /// The cgroup of the processes.
    pub cgroup: Option<String>,
    /// The container or the unit.
    pub name: Option<String>,
    /// The number of sockets.
    pub sockets: u64,
    /// The same by state.
    pub states: BTreeMap<String, u64>,
    /// The age of the oldest, where it is known.
    pub oldest_seconds: Option<f64>,
    /// The most frequent local ports.
    pub local_ports: Vec<LocalPort>,
    /// Local ports that are not shown.
    pub more_local_ports: u64,
    /// The most frequent peers.
    pub peers: Vec<Peer>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its name; `None` if it has ended.
    pub command: Option<String>,
}

impl Process {
    /// Its name, or none.
    #[must_use]
    pub fn command(&self) -> &str {
        self.command.as_deref().unwrap_or_default()
    }
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Netns {
    /// Its inode number.
    pub inode: Option<u64>,
    /// Its name.
    pub name: String,
}

/// A local port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalPort {
    /// The port.
    pub port: u16,
    /// Sockets with it.
    pub sockets: u64,
}

/// The other end of connections.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The address.
    pub address: String,
    /// The port; `None` for all ports of the address, where a socket of the namespace listens on the local port.
    pub port: Option<u16>,
    /// Sockets with this peer.
    pub sockets: u64,
}

/// Sockets that no process holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotHeld {
    /// Connections that wait for an accept(2).
    pub accept_queues: Vec<AcceptQueue>,
    /// Queues that are not shown.
    pub more_accept_queues: u64,
    /// Closed by their process, and not finished.
    pub orphans: Option<u64>,
    /// All others.
    pub other: Option<u64>,
}

/// The accept queue of a listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptQueue {
    /// The namespace.
    pub netns: Netns,
    /// Where it listens.
    pub address: String,
    /// Where it listens.
    pub port: u16,
    /// Connections in it.
    pub length: u64,
    /// The limit, which /proc does not show.
    pub limit: Option<u64>,
    /// The processes that hold the listener.
    pub processes: Vec<Process>,
    /// Processes that are not shown.
    pub more_processes: u64,
}

/// The source with the privileges for it, since Linux 5.12.
pub const ITERATOR: &str = "iter/task_file";

/// The source without.
pub const DESCRIPTORS: &str = "/proc/PID/fd";

/// Whether the kernel has what the iterator needs: bpf_sock_from_file and namespaces with cookies.
///
/// # Errors
/// Fails if the release of the kernel has another form.
pub fn kernel_has_iterator() -> Result<bool> {
    Ok(kernel_series()? >= (5, 12))
}

/// Runs `tcpstat who --json` with `args` as root.
///
/// # Errors
/// As [`Who::of`]; and if the source is not the best one that the kernel has, or a process is not visible.
pub fn who(args: &[&str]) -> Result<Who> {
    let run = tcpstat([&["who", "--json"], args].concat())?;
    let who = Who::of(&run).with_context(|| format!("who {args:?}"))?;
    let (source, hidden) =
        if kernel_has_iterator()? { (ITERATOR, 0) } else { (DESCRIPTORS, unreadable_processes()?) };
    ensure!(who.source == source && who.processes_not_visible == hidden, "{who:#?}");
    Ok(who)
}

/// Processes whose descriptors even this user, root, may not read, such as process 1 of some hosts of containers.
///
/// # Errors
/// Fails if there is no /proc.
pub fn unreadable_processes() -> Result<u64> {
    let mut unreadable = 0;
    for entry in fs::read_dir("/proc").context("/proc")? {
        // What is not a process has no such folder, and a process may have ended.
        let Ok(descriptors) = fs::read_dir(entry?.path().join("fd")) else { continue };
        let links = descriptors.flatten().map(|entry| fs::read_link(entry.path()));
        let is_denied = |link: io::Result<PathBuf>| {
            link.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        unreadable += u64::from(links.into_iter().any(is_denied));
    }
    Ok(unreadable)
}

impl Who {
    /// Reads the output of a run.
    ///
    /// # Errors
    /// Fails if the run failed, if the output has another form, and if a number is not the sum of its parts.
    pub fn of(run: &Run) -> Result<Self> {
        ensure!(run.status == Some(0), "{run:?}");
        let who: Self = serde_json::from_str(&run.stdout).with_context(|| run.stdout.clone())?;
        for row in &who.holders {
            let by_state: u64 = row.states.values().sum();
            let pids: BTreeSet<_> = row.processes.iter().map(|process| process.pid).collect();
            ensure!(row.sockets == by_state && row.sockets > 0, "{row:?}");
            ensure!(pids.len() == row.processes.len() && !pids.is_empty(), "{row:?}");
            ensure!(row.states.keys().all(|word| State::from_word(word).is_some()), "{row:?}");
        }
        let shown: u64 = who.holders.iter().map(|row| row.sockets).sum();
        ensure!(shown == who.sockets || (shown < who.sockets && who.more_holders > 0), "{who:?}");
        Ok(who)
    }

    /// The rows of a network namespace.
    #[must_use]
    pub fn in_namespace(&self, inum: u64) -> Vec<&Row> {
        self.holders.iter().filter(|row| row.netns.inode == Some(inum)).collect()
    }

    /// The one row of exactly these processes.
    ///
    /// # Errors
    /// Fails with all rows if there is none, or more than one.
    pub fn row_of(&self, pids: &[u32]) -> Result<&Row> {
        let wanted: BTreeSet<_> = pids.iter().copied().collect();
        let mut found = self.holders.iter().filter(|row| row.pids() == wanted);
        let row = found.next().with_context(|| format!("no row of {pids:?}: {self:#?}"))?;
        ensure!(found.next().is_none(), "two rows of {pids:?}: {self:#?}");
        Ok(row)
    }

    /// Whether so many sockets are held by nobody else, which is not known if a process is not visible.
    #[must_use]
    pub fn other_is(&self, number: u64) -> bool {
        let known = self.processes_not_visible == 0;
        self.not_held.other == known.then_some(number)
    }

    /// Whether the process is in any row.
    #[must_use]
    pub fn shows(&self, pid: u32) -> bool {
        self.holders.iter().any(|row| row.pids().contains(&pid))
    }
}

impl Row {
    /// The ids of its processes.
    #[must_use]
    pub fn pids(&self) -> BTreeSet<u32> {
        self.processes.iter().map(|process| process.pid).collect()
    }

    /// Fails unless it has exactly these numbers of sockets.
    ///
    /// # Errors
    /// Names the row.
    pub fn ensure_states(&self, wanted: &[(State, u64)]) -> Result<()> {
        let wanted: BTreeMap<_, _> =
            wanted.iter().map(|(state, count)| (state.word().to_owned(), *count)).collect();
        ensure!(self.states == wanted, "{wanted:?}: {self:#?}");
        Ok(())
    }
}
