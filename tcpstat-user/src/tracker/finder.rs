//! Finds the network namespaces that have a process in them, and their names.
//!
//! With BPF, `iter/task` lists all processes with their namespaces and cgroups ([`tasks`]). Without it, each
//! process in /proc is examined ([`scan`]). Both give [`Group`]s; [`names`] turns what the cgroups, /run/netns
//! and /var/log/pods say into names.
//!
//! Not found: a namespace that only a thread, a socket, a mount or a descriptor keeps alive. The tracer
//! sees the events of its sockets.

mod census;
mod cgroups;
mod names;
mod scan;
mod tasks;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

use names::Names;
pub(super) use names::{NAMED, namespace_inode};
use scan::Scan;
use tasks::Tasks;
use thiserror::Error;
use tracing::warn;

use crate::{
    kernel::{IterError, NetnsKey, ProcessIds, TaskIterator},
    procfs::{Privileges, Processes, Procfs, ProcfsError},
    scopes::{CgroupName, NetnsName},
};

/// Most processes that [`FoundNetns::processes`] has.
const MOST_PROCESSES: usize = 4;

/// Most cgroups that a name is made from: with so many, the namespace is a host's, which has its name.
const MOST_CGROUPS: usize = 64;

/// Whether the files of a process are read again after so many finds: often while it is new, then every
/// sixteenth time, not those of all processes in the same find.
fn is_due(finds: u32, pid: u32) -> bool {
    matches!(finds, 0 | 1 | 2 | 4 | 8) || finds.wrapping_add(pid).is_multiple_of(16)
}

/// A network namespace with a process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundNetns {
    /// The tracer's key, if [`Found::by_tasks`]; else the inode number of net/tcp in [`Self::processes`]. Both
    /// are the same as long as the namespace lives.
    pub(crate) key: NetnsKey,
    pub(crate) name: NetnsName,
    /// The directories PATH/PID of one to four processes in it. They exist, and list this namespace.
    pub(crate) processes: Vec<PathBuf>,
}

/// All network namespaces with a process in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The name of the exporter's own namespace.
    pub(crate) own: NetnsName,
    /// The others, by key.
    pub(crate) others: Vec<FoundNetns>,
    /// Namespaces and processes that exist and whose files cannot be read.
    pub(crate) hidden: u64,
    /// Whether the keys are those of the tracer.
    pub(crate) by_tasks: bool,
}

/// The numbers of [`Found`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetnsCount {
    /// Other namespaces than that of this process.
    pub(crate) others: usize,
    pub(crate) hidden: u64,
}

/// Finds the namespaces once. `procfs` is a mount; `by_tasks`: whether to use `iter/task`.
///
/// # Errors
/// [`FindError`].
pub(crate) fn count_netns(procfs: &Procfs, by_tasks: bool) -> Result<NetnsCount, FindError> {
    let processes = procfs.processes()?;
    let mut method = Method::new(by_tasks);
    // The second find knows which namespaces are hidden, and did not just end.
    method.find(&processes)?;
    let groups = method.find(&processes)?;
    Ok(NetnsCount { others: groups.others.len(), hidden: groups.hidden })
}

/// The ids that `iter/task` should give for this procfs, a mount; `None` if it shows no processes.
pub(crate) fn task_ids(procfs: &Procfs) -> Option<ProcessIds> {
    procfs.processes().ok().map(|processes| tasks::wanted_ids(&processes))
}

/// Finding the namespaces failed this time.
#[derive(Debug, Error)]
pub(crate) enum FindError {
    /// The procfs lists no processes, or does not show this process.
    #[error("finding network namespaces: {0}")]
    Procfs(#[from] ProcfsError),
    /// The kernel lacked memory or descriptors.
    #[error("finding network namespaces: {0}")]
    Tasks(#[from] IterError),
}

/// Finds the namespaces again and again, and remembers what does not change.
pub(crate) struct Finder {
    procfs: Procfs,
    method: Method,
    names: Names,
    warned: Warned,
}

enum Method {
    Tasks(Box<Tasks>),
    Scan(Scan),
}

impl Method {
    fn new(by_tasks: bool) -> Self {
        if by_tasks { Self::Tasks(Box::default()) } else { Self::Scan(Scan::default()) }
    }

    fn find(&mut self, processes: &Processes) -> Result<Groups, FindError> {
        match self {
            Self::Tasks(tasks) => tasks.find(processes),
            Self::Scan(scan) => Ok(scan.find(processes)?),
        }
    }
}

/// What has been logged, once each.
#[derive(Default)]
struct Warned {
    hidden: bool,
    part: bool,
}

/// A namespace before it has a name.
#[derive(Debug)]
struct Group {
    key: NetnsKey,
    /// The inode number of the namespace; `None` without the permission to read it.
    inode: Option<u64>,
    /// Whether process 1 is in it.
    of_pid_1: bool,
    /// What the cgroups of its processes say.
    cgroups: Vec<Arc<CgroupName>>,
    /// Processes whose files list it.
    processes: Vec<u32>,
}

/// What a method finds.
#[derive(Debug)]
struct Groups {
    own: Group,
    others: Vec<Group>,
    hidden: u64,
    /// Whether there is a namespace that was not there the last time.
    new: bool,
}

impl Finder {
    /// `procfs` is a mount. Names of pods are those of the directories in `pods`. `by_tasks`: whether to use
    /// `iter/task`, which has the tracer's keys.
    pub(crate) fn new(procfs: &Procfs, pods: PathBuf, by_tasks: bool) -> Self {
        let (method, names) = (Method::new(by_tasks), Names::new(pods));
        Self { procfs: procfs.clone(), method, names, warned: Warned::default() }
    }

    /// Uses this iterator, which is loaded.
    pub(super) fn with_tasks(mut self, iterator: Option<TaskIterator>) -> Self {
        if let Some((iterator, processes)) = iterator.zip(self.procfs.processes().ok()) {
            self.method = Method::Tasks(Box::new(Tasks::with(iterator, &processes)));
        }
        self
    }

    /// The namespaces that have a process now. If the kernel refuses `iter/task`, this and later calls
    /// examine /proc instead.
    ///
    /// # Errors
    /// [`FindError`]. The next call can succeed.
    pub(crate) fn find(&mut self) -> Result<Found, FindError> {
        let processes = self.procfs.processes()?;
        let groups = self.groups(&processes)?;
        self.warn(&processes, groups.hidden);
        self.names.refresh(groups.new);
        let found = |group: Group| FoundNetns {
            key: group.key,
            name: self.names.name(&group),
            processes: group.processes.iter().map(|&pid| processes.directory(pid)).collect(),
        };
        Ok(Found {
            own: self.names.name(&groups.own),
            others: groups.others.into_iter().map(found).collect(),
            hidden: groups.hidden,
            by_tasks: matches!(self.method, Method::Tasks(_)),
        })
    }

    /// The name of a namespace that no process is in, as far as the last find says.
    pub(crate) fn name_of_inode(&self, inode: u64) -> NetnsName {
        self.names.of_inode(inode)
    }

    /// The name of the container, machine or unit that a process in this cgroup belongs to.
    pub(super) fn name_of_cgroup(&self, cgroup: &CgroupName) -> Option<String> {
        self.names.of_cgroup(cgroup)
    }

    fn groups(&mut self, processes: &Processes) -> Result<Groups, FindError> {
        match self.method.find(processes) {
            Err(FindError::Tasks(error)) if !error.is_temporary() => {
                let error = error.with_remedy(&Privileges::read());
                warn!("finding network namespaces by the files of each process: {error}");
                self.method = Method::new(false);
                self.method.find(processes)
            }
            found => found,
        }
    }

    /// Logs each reason for which namespaces are missing once.
    fn warn(&mut self, processes: &Processes, hidden: u64) {
        let shows_own_ids = || processes.own_pid().is_ok_and(|pid| pid == std::process::id());
        if !self.warned.part
            && Procfs::in_initial_pid_namespace() == Some(false)
            && (matches!(self.method, Method::Tasks(_)) || shows_own_ids())
        {
            self.warned.part = true;
            warn!(
                "only network namespaces of processes in the PID namespace of tcpstat are found: run tcpstat \
                 in that of the host (hostPID: true, --pid host)"
            );
        }
        if hidden > 0 && !self.warned.part && !std::mem::replace(&mut self.warned.hidden, true) {
            let root = processes.root().display();
            warn!(
                hidden,
                "not every network namespace is found: {root} does not show all processes: it must be a \
                 procfs of the host's PID namespace without hidepid (ProtectProc=default in a unit), or with \
                 gid= of a group of tcpstat"
            );
        }
    }
}
