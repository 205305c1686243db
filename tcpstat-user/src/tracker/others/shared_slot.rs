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
    tracker::{
        held::Held, overflow::Overflow, published::PublishedNetns, roots::Roots, scopes::OTHER,
    },
};

/// The most namespaces that are remembered as members since the start.
const MAX_COUNTED: usize = 10_000;

/// The namespaces in [`Slot::OTHER`].
pub(super) struct SharedSlot {
    /// The directory of a process in each.
    members: BTreeMap<NetnsKey, Option<PathBuf>>,
    /// The members that no process is in, and in which processes elsewhere hold sockets. Nothing lists these sockets, so there
    /// are no gauges as long as they do.
    held_from_outside: HashSet<NetnsKey>,
    /// `None` until there is a member.
    namespace: Option<Namespace>,
    published: Option<Arc<PublishedNetns>>,
    held: Held,
    /// Members since the start.
    overflow: Overflow,
    /// Those that [`Self::overflow`] counts.
    counted: HashSet<NetnsKey>,
    /// Namespaces that were members, and have got a slot of their own since.
    left: HashSet<NetnsKey>,
    /// Whether members came or went since [`Self::settle`].
    changed: bool,
    /// Whether the namespace takes turns.
    scheduled: bool,
    /// Whether the next snapshot is the seed, which leaves out members whose processes have ended.
    awaits_seed: bool,
}

impl SharedSlot {
    pub(super) const ID: NamespaceId = NamespaceId::other(1);

    /// `max` namespaces have a slot of their own.
    pub(super) fn new(max: usize) -> Self {
        Self {
            members: BTreeMap::new(),
            held_from_outside: HashSet::new(),
            namespace: None,
            published: None,
            held: Held::default(),
            overflow: Overflow::new("network namespaces", max),
            counted: HashSet::new(),
            left: HashSet::new(),
            changed: false,
            scheduled: false,
            awaits_seed: false,
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

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Lets a scrape show what processes hold in the members.
    pub(super) fn set_held(&mut self, held: Held) {
        self.held = held;
        if let Some(published) = &mut self.published {
            Arc::make_mut(published).set_held(&self.held);
        }
    }

    pub(super) fn overflow(&self) -> u64 {
        self.overflow.count()
    }

    pub(super) fn published(&self) -> Option<Arc<PublishedNetns>> {
        self.published.clone()
    }

    /// `is_new`: see [`Namespace::begin`].
    pub(super) fn add(&mut self, found: FoundNetns, is_new: bool) {
        let process = found.processes.into_iter().next();
        // Nothing lists the sockets of a member without a process: another seed would show only what this one does.
        let needs_seed = process.is_some() || self.roots().first().is_none();
        self.members.insert(found.key, process);
        // One without a process leaves with the next search, and comes again with its next event.
        if self.counted.len() >= MAX_COUNTED || self.counted.insert(found.key) {
            self.overflow.add();
        }
        self.changed = true;
        if !is_new && needs_seed {
            self.discard_seed();
        }
    }

    /// Notes the processes that a member has now.
    pub(super) fn update(&mut self, found: FoundNetns) {
        let Some(process) = self.members.get_mut(&found.key) else { return };
        if process.as_ref().is_none_or(|process| !found.processes.contains(process)) {
            *process = found.processes.into_iter().next();
            self.changed = true;
        }
    }

    /// Notes that processes elsewhere hold sockets in this one, if it is a member.
    pub(super) fn note_held_from_outside(&mut self, key: NetnsKey) {
        if self.has(key) && self.held_from_outside.insert(key) {
            self.discard_seed();
        }
    }

    /// Removes the members that have no process, and returns them: all but those of
    /// [`Self::note_held_from_outside`] of which `is_held` says that it goes on.
    pub(super) fn forget_all_but(
        &mut self,
        present: &HashSet<NetnsKey>,
        is_held: impl Fn(NetnsKey) -> bool,
    ) -> Vec<NetnsKey> {
        let held = self.held_from_outside.len();
        self.held_from_outside.retain(|&key| !present.contains(&key) && is_held(key));
        if self.held_from_outside.len() != held {
            self.discard_seed();
        }
        let stays = |key: &NetnsKey| present.contains(key) || self.held_from_outside.contains(key);
        let gone: Vec<_> = self.members.keys().filter(|key| !stays(key)).copied().collect();
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
        let roots = if self.held_from_outside.is_empty() { self.roots() } else { Roots::default() };
        let listed = roots.first().is_some();
        let awaits_seed = self.awaits_seed && active.is_some();
        if listed || active.is_some() {
            let namespace = self.namespace.get_or_insert_with(|| {
                let roots = Roots::default();
                let mut namespace = intervals.namespace(roots, Slot::OTHER, active, !awaits_seed);
                namespace.set_netns(OTHER.into());
                namespace
            });
            namespace.set_roots(if awaits_seed { roots.without_ended() } else { roots });
        } else {
            // Its numbers are those of a snapshot of members that have all ended.
            self.namespace = None;
        }
        match (listed, std::mem::replace(&mut self.scheduled, listed)) {
            (true, true) if !awaits_seed => schedule.hurry(Self::ID, Instant::now()),
            (true, _) => schedule.add_first(Self::ID, Instant::now()),
            (false, true) => schedule.remove(Self::ID),
            (false, false) => {}
        }
        self.publish(active);
    }

    fn roots(&self) -> Roots {
        Roots::new(self.members.values().flatten().map(Procfs::new).collect())
    }

    /// The members that a seed in this turn may have left out, because their processes have ended. Until
    /// [`Self::discard_seed`], later snapshots leave out none.
    pub(super) fn left_out_of_seed(&mut self) -> Vec<NetnsKey> {
        let is_seeded = |namespace: &Namespace| namespace.is_seeded(true);
        if !self.awaits_seed || !self.namespace.as_ref().is_some_and(is_seeded) {
            return Vec::new();
        }
        self.awaits_seed = false;
        let roots = self.roots();
        if let Some(namespace) = &mut self.namespace {
            namespace.set_roots(roots);
        }
        let ended = |process: &Option<PathBuf>| {
            process.as_ref().is_some_and(|process| Procfs::new(process).has_ended())
        };
        self.members.iter().filter(|(_, process)| ended(process)).map(|(&key, _)| key).collect()
    }

    /// Lets a snapshot seed it again, after the next [`Self::settle`]. Until then it has no gauges.
    pub(super) fn discard_seed(&mut self) {
        if let Some(namespace) = &mut self.namespace {
            namespace.discard_seed();
        }
        self.awaits_seed = true;
        self.changed = true;
    }

    /// Lets the tracer that replaces `old` count them. Those that get a slot of their own there are no members any
    /// more: see [`Self::left`].
    pub(super) fn carry_over(&mut self, old: &Tracer, active: &mut ActiveTracer) {
        let members = self.members.len();
        let left = self.members.extract_if(.., |&key, _| active.slot(key) != Slot::OTHER);
        self.left.extend(left.map(|(key, _)| key));
        if self.members.len() < members {
            self.discard_seed();
        }
        if let Some(namespace) = &mut self.namespace {
            namespace.move_to(Slot::OTHER, old, active);
        }
        self.publish(Some(active));
    }

    pub(super) fn publish(&mut self, active: Option<&ActiveTracer>) {
        self.published = self.namespace.as_mut().map(|namespace| {
            let numbers = namespace.publication(active);
            let mut published = PublishedNetns { label: None, tw: namespace.tw(), numbers };
            published.set_held(&self.held);
            Arc::new(published)
        });
    }
}
