//! The namespaces that came when no slot was free: they are counted together.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use super::{
    ActiveTracer, FoundNetns, Namespace, NamespaceId, NetnsKey, Schedule, Slot, SnapshotIntervals,
};
use crate::{
    kernel::Tracer,
    procfs::Procfs,
    tracker::{overflow::Overflow, published::PublishedNetns, roots::Roots, scopes::OTHER},
};

/// The namespaces in [`Slot::OTHER`].
pub(super) struct SharedSlot {
    /// The directory of a process in each.
    members: BTreeMap<NetnsKey, Option<PathBuf>>,
    /// `None` until there is a member.
    namespace: Option<Namespace>,
    published: Option<Arc<PublishedNetns>>,
    /// Members since the start.
    overflow: Overflow,
    /// Namespaces that were members, and have got a slot of their own since.
    left: HashSet<NetnsKey>,
    /// Whether members came or went since [`Self::settle`].
    changed: bool,
    /// Whether the namespace takes turns.
    scheduled: bool,
}

impl SharedSlot {
    pub(super) const ID: NamespaceId = NamespaceId::other(1);

    /// `max` namespaces have a slot of their own.
    pub(super) fn new(max: usize) -> Self {
        Self {
            members: BTreeMap::new(),
            namespace: None,
            published: None,
            overflow: Overflow::new("network namespaces", max),
            left: HashSet::new(),
            changed: false,
            scheduled: false,
        }
    }

    pub(super) fn namespace_mut(&mut self) -> Option<&mut Namespace> {
        self.namespace.as_mut()
    }

    pub(super) fn has(&self, key: NetnsKey) -> bool {
        self.members.contains_key(&key)
    }

    /// Whether this namespace was a member and has got a slot of its own, which the caller now knows.
    pub(super) fn left(&mut self, key: NetnsKey) -> bool {
        self.left.remove(&key)
    }

    pub(super) fn overflow(&self) -> u64 {
        self.overflow.count()
    }

    pub(super) fn published(&self) -> Option<Arc<PublishedNetns>> {
        self.published.clone()
    }

    pub(super) fn add(&mut self, found: FoundNetns) {
        self.members.insert(found.key, found.processes.into_iter().next());
        self.overflow.add();
        self.changed = true;
    }

    /// Notes the processes that a member has now.
    pub(super) fn update(&mut self, found: FoundNetns) {
        let Some(process) = self.members.get_mut(&found.key) else { return };
        if process.as_ref().is_none_or(|process| !found.processes.contains(process)) {
            *process = found.processes.into_iter().next();
            self.changed = true;
        }
    }

    /// Removes the members that have no process, and returns them.
    pub(super) fn forget_all_but(&mut self, present: &HashSet<NetnsKey>) -> Vec<NetnsKey> {
        let gone: Vec<_> =
            self.members.keys().filter(|key| !present.contains(key)).copied().collect();
        for key in &gone {
            self.members.remove(key);
        }
        self.left.retain(|key| present.contains(key));
        self.changed |= !gone.is_empty();
        gone
    }

    /// After members came or went: lists those that are there now, and compares the counts with a snapshot soon.
    pub(super) fn settle(
        &mut self,
        active: Option<&ActiveTracer>,
        intervals: SnapshotIntervals,
        schedule: &mut Schedule,
    ) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let roots = Roots::new(self.members.values().flatten().map(Procfs::new).collect());
        let listed = roots.first().is_some();
        let namespace = self.namespace.get_or_insert_with(|| {
            let roots = Roots::default();
            let mut namespace = intervals.namespace(roots, Slot::OTHER, active, false);
            namespace.set_netns(OTHER.into());
            namespace
        });
        namespace.set_roots(roots);
        match (listed, std::mem::replace(&mut self.scheduled, listed)) {
            (true, false) => schedule.add(Self::ID, Instant::now()),
            (true, true) => schedule.hurry(Self::ID, Instant::now()),
            (false, true) => schedule.remove(Self::ID),
            (false, false) => {}
        }
        self.publish(active);
    }

    /// Lets the tracer that replaces `old` count them. Those that get a slot of their own there are no members any
    /// more: see [`Self::left`].
    pub(super) fn carry_over(&mut self, old: &Tracer, active: &mut ActiveTracer) {
        let left = self.members.extract_if(.., |&key, _| active.slot(key) != Slot::OTHER);
        self.left.extend(left.map(|(key, _)| key));
        if let Some(namespace) = &mut self.namespace {
            namespace.move_to(Slot::OTHER, old, active);
        }
        self.publish(Some(active));
    }

    pub(super) fn publish(&mut self, active: Option<&ActiveTracer>) {
        self.published = self.namespace.as_mut().map(|namespace| {
            Arc::new(PublishedNetns {
                label: None,
                tw: namespace.tw(),
                numbers: namespace.publication(active),
            })
        });
    }
}
