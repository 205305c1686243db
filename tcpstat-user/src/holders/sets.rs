//! Sets of processes in a network namespace, each kept once.
//!
//! A set is a path in a tree: each node adds a process to its parent, in the order of the ids. So adding one process
//! makes at most one new node, however many processes share a socket. Their number is bounded all the same: n processes
//! that are forked one from the other, each with one more socket, make n * n / 2 sets.

use std::collections::HashMap;

/// A set of processes in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SetId(u32);

#[derive(Debug)]
struct Node {
    /// The set without `pid`; that of the node itself for an empty set.
    parent: SetId,
    /// The highest id in the set.
    pid: u32,
    /// A place in [`Sets::netns`].
    netns: u32,
}

/// Most sets of several processes: 12 MiB.
const MAX_SHARED: usize = 1 << 18;

/// All sets that were asked for, unless there are too many.
#[derive(Debug)]
pub(super) struct Sets {
    nodes: Vec<Node>,
    /// How many of them have several processes.
    shared: usize,
    max_shared: usize,
    children: HashMap<(SetId, u32), SetId, foldhash::fast::RandomState>,
    /// The namespaces, each with its empty set.
    netns: Vec<(u64, SetId)>,
    /// The last answers of [`Sets::empty`] and [`Sets::with`]: most often the next ones are the same.
    last_empty: Option<(u64, SetId)>,
    last_with: Option<(SetId, u32, SetId)>,
    by_netns: HashMap<u64, SetId>,
}

impl Default for Sets {
    fn default() -> Self {
        Self::with_most_shared(MAX_SHARED)
    }
}

impl Sets {
    /// At most so many sets have several processes.
    pub(super) fn with_most_shared(max_shared: usize) -> Self {
        Self {
            nodes: Vec::new(),
            shared: 0,
            max_shared,
            children: HashMap::default(),
            netns: Vec::new(),
            last_empty: None,
            last_with: None,
            by_netns: HashMap::new(),
        }
    }

    /// The empty set of a namespace.
    pub(super) fn empty(&mut self, netns: u64) -> SetId {
        if let Some((last, set)) = self.last_empty
            && last == netns
        {
            return set;
        }
        let set = self.by_netns.get(&netns).copied().unwrap_or_else(|| {
            let set = self.next_id();
            let place = u32::try_from(self.netns.len()).unwrap_or(u32::MAX);
            self.nodes.push(Node { parent: set, pid: 0, netns: place });
            self.netns.push((netns, set));
            self.by_netns.insert(netns, set);
            set
        });
        self.last_empty = Some((netns, set));
        set
    }

    /// The set with this process too; `None` if there are too many sets. A set of one process is always made.
    pub(super) fn with(&mut self, set: SetId, pid: u32) -> Option<SetId> {
        if let Some((last, with, result)) = self.last_with
            && (last, with) == (set, pid)
        {
            return Some(result);
        }
        let result = self.add(set, pid)?;
        self.last_with = Some((set, pid, result));
        Some(result)
    }

    fn add(&mut self, set: SetId, pid: u32) -> Option<SetId> {
        // The processes above `pid`, which come after it on the path.
        let (mut below, mut above) = (set, Vec::new());
        while self.node(below).pid > pid && !self.is_empty(below) {
            above.push(self.node(below).pid);
            below = self.node(below).parent;
        }
        if self.node(below).pid == pid && !self.is_empty(below) {
            return Some(set);
        }
        let mut pids = std::iter::once(pid).chain(above.into_iter().rev());
        pids.try_fold(below, |set, pid| self.child(set, pid))
    }

    fn child(&mut self, parent: SetId, pid: u32) -> Option<SetId> {
        if let Some(&child) = self.children.get(&(parent, pid)) {
            return Some(child);
        }
        let is_shared = !self.is_empty(parent);
        if is_shared && self.shared >= self.max_shared {
            return None;
        }
        self.shared += usize::from(is_shared);
        let (child, netns) = (self.next_id(), self.node(parent).netns);
        self.children.insert((parent, pid), child);
        self.nodes.push(Node { parent, pid, netns });
        Some(child)
    }

    /// Whether it is the empty set of its namespace.
    pub(super) fn is_empty(&self, set: SetId) -> bool {
        self.node(set).parent == set
    }

    /// The key of its namespace.
    pub(super) fn netns(&self, set: SetId) -> u64 {
        let place = self.node(set).netns as usize;
        self.netns.get(place).map_or(0, |&(netns, _)| netns)
    }

    /// Its processes, by id.
    pub(super) fn pids(&self, set: SetId) -> Vec<u32> {
        let mut pids = Vec::new();
        let mut rest = set;
        while !self.is_empty(rest) {
            pids.push(self.node(rest).pid);
            rest = self.node(rest).parent;
        }
        pids.reverse();
        pids
    }

    /// The lowest process id; 0 for an empty set.
    pub(super) fn first_pid(&self, set: SetId) -> u32 {
        let (mut first, mut rest) = (0, set);
        while !self.is_empty(rest) {
            first = self.node(rest).pid;
            rest = self.node(rest).parent;
        }
        first
    }

    /// Whether the process is in it.
    pub(super) fn has(&self, set: SetId, pid: u32) -> bool {
        let mut rest = set;
        while self.node(rest).pid > pid {
            rest = self.node(rest).parent;
        }
        !self.is_empty(rest) && self.node(rest).pid == pid
    }

    /// The number of sets: each index is below it.
    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    fn node(&self, set: SetId) -> &Node {
        &self.nodes[set.index()]
    }

    fn next_id(&self) -> SetId {
        // A node takes 12 bytes: the memory of no host has so many.
        SetId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX))
    }
}

impl SetId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(sets: &mut Sets, netns: u64, pids: &[u32]) -> SetId {
        let empty = sets.empty(netns);
        pids.iter().fold(empty, |set, &pid| sets.with(set, pid).unwrap())
    }

    #[test]
    fn the_order_in_which_processes_come_makes_no_difference() {
        let mut sets = Sets::default();
        let one = set(&mut sets, 7, &[3, 1, 2, 2, 1]);
        assert_eq!(one, set(&mut sets, 7, &[1, 2, 3]));
        assert_eq!(one, set(&mut sets, 7, &[2, 3, 1, 3]));
        assert_eq!(sets.pids(one), [1, 2, 3]);
        assert_eq!(sets.netns(one), 7);
        assert!((1..=3).all(|pid| sets.has(one, pid)) && !sets.has(one, 4) && !sets.has(one, 0));
    }

    #[test]
    fn sets_of_different_namespaces_and_processes_differ() {
        let mut sets = Sets::default();
        let all = [(7, &[1][..]), (8, &[1]), (7, &[1, 2]), (7, &[2]), (7, &[]), (8, &[])];
        let ids = all.map(|(netns, pids)| set(&mut sets, netns, pids));
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{index}");
            assert_eq!((sets.netns(*id), &sets.pids(*id)[..]), all[index]);
            assert_eq!(sets.is_empty(*id), all[index].1.is_empty());
        }
    }

    #[test]
    fn processes_that_share_their_sockets_need_a_node_each() {
        let mut sets = Sets::default();
        let pids: Vec<_> = (1..=10_000).collect();
        let all = set(&mut sets, 7, &pids);
        assert_eq!(sets.pids(all), pids);
        assert_eq!(sets.count(), pids.len() + 1);
    }

    #[test]
    fn beyond_the_bound_only_sets_of_one_process_are_made() {
        let mut sets = Sets::with_most_shared(2);
        let three = set(&mut sets, 7, &[1, 2, 3]);
        assert_eq!(sets.with(three, 4), None);
        assert_eq!(sets.with(three, 2), Some(three));
        let [one, other] = [4, 5].map(|pid| set(&mut sets, 8, &[pid]));
        assert_eq!((sets.with(one, 5), sets.with(other, 4)), (None, None));
        assert_eq!(
            [three, one, other].map(|set| sets.pids(set)),
            [vec![1, 2, 3], vec![4], vec![5]]
        );
        assert_eq!(set(&mut sets, 7, &[1, 2, 3]), three, "a set that there is");
    }
}
