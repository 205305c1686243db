//! Finds namespaces by `iter/task`. It costs about 1 us for each process, and nothing else for one that is not
//! new.

use std::collections::{HashMap, HashSet};

use super::{
    FindError, Group, Groups, MOST_PROCESSES,
    census::{Census, Members},
    cgroups::Cgroups,
};
use crate::{
    kernel::{IterError, NetnsKey, ProcessIds, TaskIterator},
    procfs::{Processes, Procfs},
};

/// Finds namespaces by the BPF iterator over tasks.
#[derive(Default)]
pub(super) struct Tasks {
    /// `None` if it has to be loaded at the next find.
    loaded: Option<Loaded>,
    known: HashMap<NetnsKey, Known>,
    cgroups: Cgroups,
}

/// What is remembered of a namespace.
#[derive(Debug, Default)]
struct Known {
    /// The inode number of net/tcp; `None` if no process could be examined.
    table: Option<u64>,
    /// The processes that were given last.
    chosen: Vec<u32>,
}

/// What the ids of the iterator mean in the procfs.
pub(super) struct Ids<'a> {
    pub(super) processes: &'a Processes,
    /// Whether they are the same there.
    pub(super) same: bool,
}

struct Loaded {
    iterator: TaskIterator,
    /// [`Ids::same`].
    same_ids: bool,
}

impl Loaded {
    fn new(iterator: TaskIterator, processes: &Processes) -> Self {
        let same_ids = shown_ids(processes) == Some(iterator.ids);
        Self { iterator, same_ids }
    }
}

/// The ids that the procfs shows; `None` if its PID namespace is not known.
fn shown_ids(processes: &Processes) -> Option<ProcessIds> {
    if Procfs::in_initial_pid_namespace() == Some(true) {
        Some(ProcessIds::Initial)
    } else {
        processes.pid_levels_up().ok().map(ProcessIds::LevelsUp)
    }
}

/// The ids that the iterator should give: those that the procfs shows, else those of the kernel.
pub(super) fn wanted_ids(processes: &Processes) -> ProcessIds {
    shown_ids(processes).unwrap_or(ProcessIds::Initial)
}

impl Tasks {
    /// With an iterator that is loaded.
    pub(super) fn with(iterator: TaskIterator, processes: &Processes) -> Self {
        Self { loaded: Some(Loaded::new(iterator, processes)), ..Self::default() }
    }

    /// Lists all processes, and examines the files of those that are new in a namespace and are needed.
    ///
    /// # Errors
    /// [`FindError`].
    pub(super) fn find(&mut self, processes: &Processes) -> Result<Groups, FindError> {
        let (own_pid, own_table) = (processes.own_pid()?, processes.own_table()?);
        let own_inum = processes.netns_inum(own_pid);
        let mut census = Census::default();
        let known = &self.known;
        let chosen = |key| known.get(&key).map(|known| known.chosen.clone()).unwrap_or_default();
        let loaded = if let Some(loaded) = &mut self.loaded {
            loaded
        } else {
            let iterator = TaskIterator::load(wanted_ids(processes)).map_err(IterError::from)?;
            self.loaded.insert(Loaded::new(iterator, processes))
        };
        let ids = Ids { processes, same: loaded.same_ids };
        loaded.iterator.each_process(|task| census.add(task, chosen))?;

        let pid_1 = processes.table(1).ok();
        let mut choice = Choice::new(own_table, std::mem::take(&mut self.known));
        let (mut own, mut others) = (None, Vec::new());
        for members in census.finish() {
            let is_own = own_inum == Some(members.inum.into());
            let chosen =
                if is_own { Some((own_table, Vec::new())) } else { choice.choose(&ids, &members) };
            let Some((table, processes)) = chosen else { continue };
            let of_pid_1 = pid_1 == Some(table) || ids.same && members.has_pid_1;
            let group = Group {
                key: members.key,
                inode: Some(members.inum.into()),
                of_pid_1,
                cgroups: if of_pid_1 { Vec::new() } else { self.cgroups.names(&ids, &members) },
                processes,
            };
            if is_own {
                own = Some(group);
            } else {
                others.push(group);
            }
        }
        self.cgroups.end_find();
        self.known = choice.known;
        let own = own.unwrap_or(Group {
            key: 0,
            inode: own_inum,
            of_pid_1: pid_1 == Some(own_table),
            cgroups: Vec::new(),
            processes: Vec::new(),
        });
        Ok(Groups { own, others, hidden: choice.hidden, new: choice.new })
    }
}

/// Chooses the processes whose files show the sockets of each namespace.
struct Choice {
    own_table: u64,
    before: HashMap<NetnsKey, Known>,
    known: HashMap<NetnsKey, Known>,
    tables: HashSet<u64>,
    hidden: u64,
    new: bool,
}

impl Choice {
    fn new(own_table: u64, before: HashMap<NetnsKey, Known>) -> Self {
        let (known, tables) = (HashMap::new(), HashSet::new());
        Self { own_table, before, known, tables, hidden: 0, new: false }
    }

    /// The inode number of net/tcp and the processes of a namespace. `None` if the procfs shows none of its
    /// processes: they have just ended, or it hides them. The first is expected once.
    fn choose(&mut self, ids: &Ids<'_>, members: &Members) -> Option<(u64, Vec<u32>)> {
        let before = self.before.remove(&members.key);
        let mut chosen = members.kept.clone();
        let mut table = before.as_ref().and_then(|known| known.table);
        self.new |= table.is_none();
        if chosen.is_empty() {
            table = None;
        }
        for &pid in &members.candidates {
            if chosen.len() >= MOST_PROCESSES {
                break;
            }
            if let Some(lists) = ids.table(pid, members.inum)
                && lists != self.own_table
                && table.is_none_or(|table| table == lists)
            {
                table = Some(lists);
                chosen.push(pid);
            }
        }
        // Two namespaces never share a table: a process has changed its namespace since it was listed.
        if let Some(table) = table
            && self.tables.insert(table)
        {
            let known = Known { table: Some(table), chosen: chosen.clone() };
            self.known.insert(members.key, known);
            return Some((table, chosen));
        }
        self.hidden += u64::from(before.is_some());
        self.known.insert(members.key, Known::default());
        None
    }
}

impl Ids<'_> {
    /// The inode number of net/tcp of a process that the iterator lists in the namespace `inum`. `None` if the
    /// procfs does not show it, or may show another process by this id.
    fn table(&self, pid: u32, inum: u32) -> Option<u64> {
        self.shows(pid, inum).then(|| self.processes.table(pid).ok())?
    }

    /// Whether the procfs shows this process by its id.
    pub(super) fn shows(&self, pid: u32, inum: u32) -> bool {
        self.processes.netns_inum(pid).map_or(self.same, |shown| shown == u64::from(inum))
    }
}
