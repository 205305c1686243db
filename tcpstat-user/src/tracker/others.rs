//! The network namespaces besides the own one: finds them, names them, and forgets them when they are empty.

mod forget;
mod held;
mod intervals;
mod other;
mod present;
mod shared_slot;
mod unseen;
mod walked;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, warn};

pub(super) use self::walked::WalkedNamespaces;
use self::{
    intervals::SnapshotIntervals, other::Other, present::Present, shared_slot::SharedSlot,
    unseen::Unseen,
};
use super::{
    SourceChoice,
    active_tracer::ActiveTracer,
    finder::{FindError, Finder, Found, FoundNetns},
    namespace::Namespace,
    published::{NetnsLabel, PublishedNamespaces},
    roots::Roots,
    schedule::{NamespaceId, Schedule},
    scopes::OTHER,
    sources::Sources,
};
use crate::{
    clock,
    kernel::{NetnsKey, Slot, Tracer},
    scopes::{NetnsName, UniqueNames},
};

/// Time between two searches for namespaces.
const FIND_INTERVAL: Duration = Duration::from_secs(5);
/// The longest time between two searches, where they take long.
const MAX_FIND_INTERVAL: Duration = Duration::from_secs(30);
/// Between these two, searches take at most this fraction of one CPU: 1 / `FIND_SHARE`. A namespace with a
/// socket event is found at the next check in any case.
const FIND_SHARE: u32 = 500;

/// How long a namespace without processes and transitions is kept, in intervals of the own namespace: 15 minutes by
/// default. The kernel gives up an orphan earlier.
const ABANDONED_INTERVALS: u32 = 60;
const MIN_ABANDONED_INTERVAL: Duration = Duration::from_mins(1);

/// What finds the namespaces: a [`Finder`] or, in tests, a fixed answer.
pub(super) trait Find: Send {
    /// # Errors
    /// [`FindError`].
    fn find(&mut self) -> Result<Found, FindError>;

    /// The name of a namespace that no process is in, as far as the last find says.
    fn name_of_inode(&self, inode: u64) -> NetnsName;
}

impl Find for Finder {
    fn find(&mut self) -> Result<Found, FindError> {
        Self::find(self)
    }

    fn name_of_inode(&self, inode: u64) -> NetnsName {
        Self::name_of_inode(self, inode)
    }
}

/// All namespaces but the own one.
pub(super) struct Others {
    finder: Box<dyn Find>,
    names: UniqueNames,
    namespaces: BTreeMap<NamespaceId, Other>,
    ids: HashMap<NetnsKey, NamespaceId>,
    shared: SharedSlot,
    /// The most namespaces that are counted or listed each by itself.
    max: usize,
    intervals: SnapshotIntervals,
    /// After so long without a process and without a transition a namespace is forgotten, whatever is counted.
    abandoned_after: Duration,
    unseen: Unseen,
    next_number: u64,
    next_find: Instant,
    /// Whether a search has succeeded: a namespace that appears later had no sockets before its first event.
    complete: bool,
    find_failed: bool,
    /// The namespaces that the tracer has announced and no search has taken yet.
    announced: Vec<NetnsKey>,
    own: Option<NetnsLabel>,
    hidden: u64,
    /// Names or namespaces have changed since [`Self::published`].
    changed: bool,
    published: Arc<PublishedNamespaces>,
}

impl Others {
    /// `snapshot_interval` is that of the own namespace; `traced` says whether a tracer counts.
    pub(super) fn new(
        finder: Box<dyn Find>,
        max: u32,
        snapshot_interval: Duration,
        traced: bool,
    ) -> Self {
        let intervals = SnapshotIntervals::new(snapshot_interval, traced);
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Self {
            finder,
            names: UniqueNames::new(&[OTHER]),
            namespaces: BTreeMap::new(),
            ids: HashMap::new(),
            shared: SharedSlot::new(max),
            max,
            intervals,
            abandoned_after: (snapshot_interval * ABANDONED_INTERVALS).max(MIN_ABANDONED_INTERVAL),
            unseen: Unseen::default(),
            next_number: SharedSlot::ID.number() + 1,
            next_find: Instant::now(),
            complete: false,
            find_failed: false,
            announced: Vec::new(),
            own: None,
            hidden: 0,
            changed: true,
            published: Arc::default(),
        }
    }

    /// The namespaces with a slot of their own.
    pub(super) fn keys(&self) -> Vec<NetnsKey> {
        self.ids.keys().copied().collect()
    }

    /// Lets the next [`Self::update`] search.
    #[cfg(test)]
    pub(super) fn search_now(&mut self) {
        self.next_find = Instant::now();
    }

    /// When the next search is due.
    pub(super) fn next_find(&self) -> Instant {
        self.next_find
    }

    pub(super) fn get_mut(&mut self, id: NamespaceId) -> Option<&mut Namespace> {
        if id == SharedSlot::ID {
            return self.shared.namespace_mut();
        }
        self.namespaces.get_mut(&id).map(|other| &mut other.namespace)
    }

    /// Finds namespaces that have come and gone, if a search is due or the tracer has seen a new one. Returns whether
    /// it did.
    pub(super) fn update(
        &mut self,
        mut active: Option<&mut ActiveTracer>,
        schedule: &mut Schedule,
    ) -> bool {
        let now = Instant::now();
        let new = active.as_deref_mut().map(ActiveTracer::new_namespaces).unwrap_or_default();
        if new.is_empty() && now < self.next_find {
            return false;
        }
        self.announced.extend(new.into_iter().map(|(key, _)| key));
        let cpu = clock::thread_cpu();
        let found = self.finder.find();
        let took = clock::thread_cpu().saturating_sub(cpu);
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                self.next_find = Instant::now() + FIND_INTERVAL;
                self.note_failure(&error);
                return false;
            }
        };
        if active.is_some() && !found.by_tasks {
            self.next_find = Instant::now() + FIND_INTERVAL;
            self.note_failure(&"iter/task does not run, so the processes in them are unknown");
            return false;
        }
        self.find_failed = false;
        let announced = std::mem::take(&mut self.announced);
        self.take(found, &announced, active.as_deref_mut(), schedule);
        if let Some(active) = active {
            active.note_known();
        }
        self.complete = true;
        let interval = (took * FIND_SHARE).clamp(FIND_INTERVAL, MAX_FIND_INTERVAL);
        self.next_find = Instant::now() + interval;
        true
    }

    /// Notes that a check or a turn of this namespace has ended. Returns whether it is seeded.
    pub(super) fn note_turn(&mut self, id: NamespaceId, active: Option<&ActiveTracer>) -> bool {
        if id == SharedSlot::ID {
            self.confirm_seed();
            self.shared.publish(active);
        } else if let Some(other) = self.namespaces.get_mut(&id) {
            other.publish(active);
        }
        self.changed = true;
        self.get_mut(id).is_none_or(|namespace| namespace.is_seeded(active.is_some()))
    }

    /// If members were left out of the seed of the shared slot because their processes have ended, searches: a seed
    /// without a namespace that another process is in is discarded, and a search is due.
    fn confirm_seed(&mut self) {
        let left_out = self.shared.left_out_of_seed();
        if left_out.is_empty() {
            return;
        }
        let found = self.finder.find().ok().filter(|found| found.by_tasks);
        let is_there =
            |found: &Found| found.others.iter().any(|netns| left_out.contains(&netns.key));
        if found.is_none_or(|found| is_there(&found)) {
            self.shared.discard_seed();
            self.next_find = Instant::now();
        }
    }

    /// Lets the tracer that replaces `old` count all of them. Each is compared with a snapshot soon.
    pub(super) fn carry_over(
        &mut self,
        old: &Tracer,
        active: &mut ActiveTracer,
        schedule: &mut Schedule,
    ) {
        let mut without_slot = Vec::new();
        for (&id, other) in &mut self.namespaces {
            let slot = active.slot(other.key);
            if slot == Slot::OTHER {
                without_slot.push(other.key);
                continue;
            }
            other.namespace.move_to(slot, old, active);
            other.publish(Some(active));
            schedule.hurry(id, Instant::now());
        }
        self.shared.carry_over(old, active);
        for key in without_slot {
            self.share(key, schedule);
        }
        schedule.hurry(SharedSlot::ID, Instant::now());
        // Namespaces that have left the shared slot have no place until a search finds them.
        self.next_find = Instant::now();
        self.changed = true;
    }

    /// What a scrape shows of them.
    pub(super) fn publish(&mut self) -> Arc<PublishedNamespaces> {
        if std::mem::take(&mut self.changed) {
            let others = self.namespaces.values().map(|other| other.published.clone());
            self.published = Arc::new(PublishedNamespaces {
                own: self.own.clone(),
                others: others.chain(self.shared.published()).collect(),
                overflow: self.shared.overflow(),
                hidden: self.hidden,
            });
        }
        self.published.clone()
    }

    fn take(
        &mut self,
        found: Found,
        announced: &[NetnsKey],
        mut active: Option<&mut ActiveTracer>,
        schedule: &mut Schedule,
    ) {
        let present = Present::new(&found);
        let inode = found.own.inode;
        let value = self.names.name(0, &found.own.name, inode);
        self.own = Some(NetnsLabel { value, name: Arc::new(found.own) });
        self.hidden = found.hidden;
        self.changed = true;
        self.forget_all_but(&present, active.as_deref_mut(), schedule);
        for netns in found.others {
            self.take_one(netns, active.as_deref_mut(), schedule);
        }
        for &key in announced.iter().filter(|key| !present.keys.contains(key)) {
            let inode = self.unseen.held_inode(key);
            self.take_without_process(key, inode, active.as_deref_mut(), schedule);
        }
        self.take_held(&present, active.as_deref_mut(), schedule);
        self.shared.settle(active.as_deref(), self.intervals, schedule);
    }

    /// Takes a namespace that exists, and that no process is in.
    fn take_without_process(
        &mut self,
        key: NetnsKey,
        inode: Option<u64>,
        active: Option<&mut ActiveTracer>,
        schedule: &mut Schedule,
    ) {
        let name = inode.map_or_else(
            || NetnsName::without_process(key),
            |inode| self.finder.name_of_inode(inode),
        );
        let found = FoundNetns { key, name, processes: Vec::new() };
        self.take_one(found, active, schedule);
    }

    /// Takes a namespace that exists: counts it from now on, or notes what has changed.
    fn take_one(
        &mut self,
        found: FoundNetns,
        mut active: Option<&mut ActiveTracer>,
        schedule: &mut Schedule,
    ) {
        if let Some(other) = self.ids.get(&found.key).and_then(|id| self.namespaces.get_mut(id)) {
            let label = self.names.name(found.key, &found.name.name, found.name.inode);
            return other.update(label, found, active.as_deref(), schedule);
        }
        if self.shared.has(found.key) {
            return self.shared.update(found);
        }
        let slot = match active.as_deref_mut() {
            Some(active) => active.slot(found.key),
            None if self.namespaces.len() < self.max => Slot::OWN,
            None => Slot::OTHER,
        };
        let has_process = !found.processes.is_empty();
        let is_new = self.unseen.begin(found.key, has_process)
            && !self.shared.left(found.key)
            && self.complete;
        if slot == Slot::OTHER {
            return self.shared.add(found, is_new);
        }
        let id = NamespaceId::other(self.next_number);
        self.next_number += 1;
        let label = self.names.name(found.key, &found.name.name, found.name.inode);
        debug!(netns = &*label, ?slot, "counting a network namespace");
        let mut other =
            Other::new(id, label, found, slot, self.intervals, active.as_deref(), is_new);
        if let Some(active) = active.as_deref().filter(|_| !has_process) {
            other.discard_wrong_seed(active, &mut self.unseen);
        }
        other.schedule(schedule);
        self.ids.insert(other.key, id);
        self.namespaces.insert(id, other);
    }

    fn note_failure(&mut self, error: &dyn Display) {
        if !std::mem::replace(&mut self.find_failed, true) {
            warn!(
                "finding network namespaces failed, those that are known are counted on: {error}"
            );
        }
    }
}
