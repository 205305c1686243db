//! Groups the processes that `iter/task` lists by network namespace. Pure.

use std::collections::HashMap;

use tcpstat_ebpf::TaskRecord;

use super::{MOST_CGROUPS, MOST_PROCESSES};
use crate::kernel::NetnsKey;

/// Processes of a namespace that can be examined, besides those that were chosen before.
const MOST_CANDIDATES: usize = 2 * MOST_PROCESSES;

/// The processes of each namespace.
#[derive(Debug, Default)]
pub(super) struct Census {
    members: Vec<Members>,
    by_key: HashMap<NetnsKey, usize>,
    /// The place of the last process: the next one is often in the same namespace.
    last: Option<usize>,
}

/// Processes of one namespace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) key: NetnsKey,
    pub(super) inum: u32,
    /// Those that were chosen before and are still in it.
    pub(super) kept: Vec<u32>,
    /// The first others by id.
    pub(super) candidates: Vec<u32>,
    /// The first cgroups, by their ids, each with a process in it.
    pub(super) cgroups: Vec<(u64, u32)>,
    /// Those that were chosen before.
    chosen: Vec<u32>,
    pub(super) has_pid_1: bool,
}

impl Census {
    /// Adds a process. `chosen` gives the processes of its namespace that were chosen before.
    pub(super) fn add(&mut self, task: TaskRecord, chosen: impl FnOnce(NetnsKey) -> Vec<u32>) {
        let TaskRecord { netns_key: key, cgroup, netns_inum: inum, pid } = task;
        let same = self.last.filter(|&last| self.members[last].key == key);
        let place = same.unwrap_or_else(|| {
            *self.by_key.entry(key).or_insert_with(|| {
                self.members.push(Members {
                    key,
                    inum,
                    kept: Vec::new(),
                    candidates: Vec::new(),
                    cgroups: Vec::new(),
                    chosen: chosen(key),
                    has_pid_1: false,
                });
                self.members.len() - 1
            })
        });
        self.last = Some(place);
        let members = &mut self.members[place];
        members.has_pid_1 |= pid == 1;
        if members.chosen.contains(&pid) {
            members.kept.push(pid);
        } else if members.candidates.len() < MOST_CANDIDATES {
            members.candidates.push(pid);
        }
        let cgroups = &mut members.cgroups;
        // The last one first: processes with neighbouring ids are often in one cgroup.
        if cgroups.len() < MOST_CGROUPS && !cgroups.iter().rev().any(|&(id, _)| id == cgroup) {
            cgroups.push((cgroup, pid));
        }
    }

    /// All namespaces, by key.
    pub(super) fn finish(mut self) -> Vec<Members> {
        self.members.sort_unstable_by_key(|members| members.key);
        self.members
    }
}
