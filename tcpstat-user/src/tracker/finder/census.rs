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
    /// The processes that were chosen before and are still in the namespace.
    pub(super) kept: Vec<u32>,
    /// The first others by id.
    pub(super) candidates: Vec<u32>,
    /// The first cgroups, by their ids, each with a process in it.
    pub(super) cgroups: Vec<(u64, u32)>,
    /// The processes that were chosen before.
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

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NetnsKey = 11;
    const OTHER: NetnsKey = 5;

    fn task(netns_key: NetnsKey, pid: u32, cgroup: u64) -> TaskRecord {
        TaskRecord { netns_key, cgroup, netns_inum: 0xf000_0000 + pid, pid }
    }

    fn census(tasks: impl IntoIterator<Item = TaskRecord>, chosen: &[u32]) -> Vec<Members> {
        let mut census = Census::default();
        tasks.into_iter().for_each(|task| census.add(task, |_| chosen.to_vec()));
        census.finish()
    }

    #[test]
    fn processes_are_grouped_by_key_in_the_order_of_keys() {
        let tasks = [task(ONE, 1, 7), task(OTHER, 2, 7), task(ONE, 3, 8), task(ONE, 4, 7)];
        let [other, one] = &census(tasks, &[])[..] else { panic!("two namespaces") };
        assert_eq!((one.key, &one.candidates[..], one.has_pid_1), (ONE, &[1, 3, 4][..], true));
        assert_eq!(one.cgroups, [(7, 1), (8, 3)]);
        assert_eq!(one.inum, 0xf000_0001);
        assert_eq!((other.key, &other.candidates[..], other.has_pid_1), (OTHER, &[2][..], false));
    }

    #[test]
    fn processes_that_were_chosen_before_are_kept_if_they_are_still_there() {
        let members = census((100..200).map(|pid| task(ONE, pid, 7)), &[99, 150, 199]);
        assert_eq!(members[0].kept, [150, 199]);
        assert_eq!(members[0].candidates.first(), Some(&100));
    }

    #[test]
    fn processes_and_cgroups_of_a_namespace_are_bounded() {
        let members = census((1..10_000).map(|pid| task(ONE, pid, pid.into())), &[]);
        assert_eq!(members[0].candidates.len(), MOST_CANDIDATES);
        assert_eq!(members[0].cgroups.len(), MOST_CGROUPS);
    }
}
