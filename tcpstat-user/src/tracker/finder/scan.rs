//! Finds namespaces without BPF: examines each process in /proc.
//!
//! Namespaces are distinguished by the inode number of PATH/PID/net/tcp. It is remembered for each process, so
//! a find lists the directory, and examines new processes and a sixteenth of the others.

use std::{collections::HashMap, sync::Arc};

use super::{Group, Groups, MOST_CGROUPS, MOST_PROCESSES, is_due};
use crate::{
    procfs::{ListedProcess, Processes, ProcfsError},
    scopes::CgroupName,
};

/// Finds namespaces by the files of each process.
#[derive(Default)]
pub(super) struct Scan {
    /// By process id.
    processes: Vec<Process>,
    /// The inode numbers of namespaces, by that of net/tcp.
    inodes: HashMap<u64, Option<u64>>,
}

/// A process, and what was found when it was last examined.
#[derive(Debug)]
struct Process {
    listed: ListedProcess,
    /// Finds since the process was first listed.
    finds: u32,
    files: Files,
    cgroup: Option<Arc<CgroupName>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    /// The inode number of net/tcp.
    Table(u64),
    Denied,
    /// The process has ended.
    Gone,
}

impl Scan {
    /// Lists the processes, and groups them.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub(super) fn find(&mut self, processes: &Processes) -> Result<Groups, ProcfsError> {
        let (own_pid, own_table) = (processes.own_pid()?, processes.own_table()?);
        self.update(processes.list()?, |pid| match processes.table(pid) {
            Ok(table) => Files::Table(table),
            Err(error) if error.is_denied() => Files::Denied,
            Err(_) => Files::Gone,
        });
        let pid_1 = processes.table(1);
        let is_hidden = |process: &&Process| process.files == Files::Denied;
        // A procfs with hidepid=2 does not list the processes that it hides. It would list process 1.
        let unlisted = matches!(&pid_1, Err(error) if !error.is_denied());
        let hidden = self.processes.iter().filter(is_hidden).count() as u64 + u64::from(unlisted);

        let pid_1 = pid_1.ok();
        let known = std::mem::take(&mut self.inodes);
        let mut groups: HashMap<u64, Group> = HashMap::new();
        for process in &mut self.processes {
            let Files::Table(table) = process.files else { continue };
            let group = groups.entry(table).or_insert_with(|| Group::empty(table, pid_1));
            if group.processes.len() < MOST_PROCESSES {
                group.processes.push(process.listed.pid);
            }
            if !group.of_pid_1 && group.cgroups.len() < MOST_CGROUPS {
                group.add_cgroup(process, processes);
            }
        }
        for (&table, group) in &mut groups {
            let of_group = || group.processes.iter().find_map(|&pid| processes.netns_inum(pid));
            group.inode = known.get(&table).copied().flatten().or_else(of_group);
            self.inodes.insert(table, group.inode);
        }
        let new = self.inodes.keys().any(|table| !known.contains_key(table));
        let mut own = groups.remove(&own_table).unwrap_or_else(|| Group::empty(own_table, pid_1));
        own.inode = own.inode.or_else(|| processes.netns_inum(own_pid));
        let mut others: Vec<_> = groups.into_values().collect();
        others.sort_unstable_by_key(|group| group.key);
        Ok(Groups { own, others, hidden, new })
    }

    /// Takes over a new list. Examines the files of a process if it is new, and again later: a process that
    /// starts a container changes its namespace before the container's program runs.
    fn update(&mut self, list: Vec<ListedProcess>, mut examine: impl FnMut(u32) -> Files) {
        let mut before = std::mem::take(&mut self.processes).into_iter().peekable();
        let next = list.into_iter().map(|listed| {
            while before.next_if(|process| process.listed.pid < listed.pid).is_some() {}
            let known = before.next_if(|process| process.listed == listed);
            let new = Process { listed, finds: 0, files: Files::Gone, cgroup: None };
            let mut process = known.unwrap_or(new);
            if is_due(process.finds, listed.pid) {
                process.files = examine(listed.pid);
                process.cgroup = None;
            }
            process.finds = process.finds.saturating_add(1);
            process
        });
        self.processes = next.collect();
    }
}

impl Group {
    fn empty(table: u64, pid_1: Option<u64>) -> Self {
        let of_pid_1 = pid_1 == Some(table);
        Self { key: table, inode: None, of_pid_1, cgroups: Vec::new(), processes: Vec::new() }
    }

    fn add_cgroup(&mut self, process: &mut Process, processes: &Processes) {
        if process.cgroup.is_none() {
            let text = processes.cgroups(process.listed.pid).unwrap_or_default();
            process.cgroup = Some(Arc::new(CgroupName::of_process(&text)));
        }
        self.cgroups.extend(process.cgroup.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: [ListedProcess; 3] = [
        ListedProcess { pid: 1, directory: 11 },
        ListedProcess { pid: 5, directory: 15 },
        ListedProcess { pid: 9, directory: 19 },
    ];

    /// The processes that an update examines.
    fn examined(scan: &mut Scan, list: &[ListedProcess]) -> Vec<u32> {
        let mut examined = Vec::new();
        scan.update(list.to_vec(), |pid| {
            examined.push(pid);
            Files::Table(pid.into())
        });
        assert_eq!(scan.processes.iter().map(|process| process.listed).collect::<Vec<_>>(), list);
        examined
    }

    #[test]
    fn each_process_is_examined_often_at_first_and_then_in_every_sixteenth_find() {
        let mut scan = Scan::default();
        for _ in 0..3 {
            assert_eq!(examined(&mut scan, &LISTED), [1, 5, 9]);
        }
        for _ in 3..100 {
            examined(&mut scan, &LISTED);
        }
        let mut count = HashMap::new();
        for _ in 0..64 {
            for pid in examined(&mut scan, &LISTED) {
                *count.entry(pid).or_insert(0) += 1;
            }
        }
        assert!(LISTED.iter().all(|listed| count[&listed.pid] == 4), "{count:?}");
    }

    #[test]
    fn a_process_that_got_the_id_of_another_is_examined() {
        let mut scan = Scan::default();
        for _ in 0..100 {
            examined(&mut scan, &LISTED);
        }
        let reused = ListedProcess { pid: 5, directory: 115 };
        assert!(examined(&mut scan, &[LISTED[0], reused, LISTED[2]]).contains(&5));
        assert_eq!(scan.processes[1].finds, 1);
        assert!(scan.processes[0].finds > 100 && scan.processes[2].finds > 100);
        // One that ends, and one between two others.
        let new = ListedProcess { pid: 7, directory: 17 };
        assert!(examined(&mut scan, &[reused, new, LISTED[2]]).contains(&7));
    }
}
