//! The cgroups that are counted: which id belongs to which scope, and which slots they have.

mod room;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use tracing::debug;

use super::{count::Count, ports::continued};
use crate::{
    kernel::{KeyedSlots, Reserved, ScopeCut, ScopeMaps, Slot, SlotError},
    ledger::{Ledger, rewind::ScopedSnapshot},
    procfs::CgroupHierarchy,
    scopes::{CgroupPattern, counting_cgroup},
    states::{Hooks, PerState},
    tracker::overflow::Overflow,
    transitions::Transitions,
};

/// What is counted of cgroups.
pub(super) struct Cgroups {
    patterns: Vec<CgroupPattern>,
    hierarchy: CgroupHierarchy,
    /// Maximum number of scopes.
    max: usize,
    paths: HashMap<u64, Arc<str>>,
    /// The scope of each id that is known; `None` for the scope of all others.
    places: HashMap<u64, Option<Arc<str>>>,
    /// Ids of scopes for which there was no room, or no free slot, when they came. They count in the scope of all others
    /// until a snapshot finds room.
    waiting: HashMap<u64, Arc<str>>,
    scopes: BTreeMap<Arc<str>, CgroupScope>,
    other: Count,
    /// What a slot had counted when it became free; zero for a slot that has not been used.
    zeros: HashMap<Slot, Transitions>,
    /// Slots that nothing uses any more. They become free when the scrapes know that.
    retired: Vec<Slot>,
    overflowed: HashSet<Arc<str>>,
    overflow: Overflow,
    seeded: bool,
}

/// A cgroup, with all ids that its path has had.
#[derive(Clone, Debug)]
pub(super) struct CgroupScope {
    pub(super) count: Count,
    /// The counters at the cut of the snapshot that is evaluated.
    at_cut: Transitions,
    /// The gauges; `None` before the seed.
    pub(super) ledger: Option<Ledger>,
}

/// Ids without sockets are forgotten when there are more.
const MANY_IDS: usize = 2_000;

impl Cgroups {
    pub(super) fn new(
        patterns: Vec<CgroupPattern>,
        hierarchy: CgroupHierarchy,
        max: usize,
    ) -> Self {
        let paths = hierarchy.paths();
        Self {
            patterns,
            hierarchy,
            max,
            paths,
            places: HashMap::new(),
            waiting: HashMap::new(),
            scopes: BTreeMap::new(),
            other: Count::new(ScopeMaps::OTHER_CGROUPS, Transitions::default()),
            zeros: HashMap::new(),
            retired: Vec::new(),
            overflowed: HashSet::new(),
            overflow: Overflow::new("cgroups", max),
            seeded: false,
        }
    }

    /// The scopes by path.
    pub(super) fn scopes(&self) -> impl Iterator<Item = (&Arc<str>, &CgroupScope)> {
        self.scopes.iter()
    }

    pub(super) fn other(&self) -> &Count {
        &self.other
    }

    /// How many scopes found no room.
    pub(super) fn overflow(&self) -> u64 {
        self.overflow.count()
    }

    pub(super) fn seeded(&self) -> bool {
        self.seeded
    }

    /// Learns of the cgroups to which the tracer has given a slot.
    pub(super) fn refresh(&mut self, maps: &mut ScopeMaps, cut: Option<&ScopeCut>) {
        if let Err(error) = self.try_refresh(maps, cut) {
            debug!(%error, "cgroups");
        }
    }

    fn try_refresh(
        &mut self,
        maps: &mut ScopeMaps,
        cut: Option<&ScopeCut>,
    ) -> Result<(), SlotError> {
        let slots = maps.cgroups.as_mut();
        if let Some(slots) = slots {
            free(slots, &mut self.retired)?;
            let new = slots.new_namespaces()?;
            self.name(new.iter().map(|&(id, _)| id));
            for (id, slot) in new {
                // If it fails, the next snapshot that shows the cgroup places it.
                if let Err(error) = self.place(maps, id, Some(slot), cut) {
                    debug!(%error, id, "a cgroup");
                }
            }
        }
        Ok(())
    }

    /// Finds the paths of these cgroups. The hierarchy is listed again only if one is unknown.
    fn name(&mut self, mut ids: impl Iterator<Item = u64>) {
        if ids.any(|id| !self.paths.contains_key(&id)) {
            self.paths = self.hierarchy.paths();
        }
    }

    /// Decides which scope counts a cgroup, which has `slot` so far.
    fn place(
        &mut self,
        maps: &mut ScopeMaps,
        id: u64,
        slot: Option<Slot>,
        cut: Option<&ScopeCut>,
    ) -> Result<(), SlotError> {
        let Some(slots) = maps.cgroups.as_mut() else { return Ok(()) };
        let path = self.paths.get(&id);
        let scope = path.and_then(|path| counting_cgroup(&self.patterns, path)).map(Arc::from);
        let Some(name) = scope.and_then(|name| self.with_room(id, name)) else {
            self.places.insert(id, None);
            let before = slots.move_to(id, Slot::OTHER)?;
            self.carry_from(maps, before, None, cut);
            return Ok(());
        };
        if let Some(target) = self.scopes.get(&name).map(|scope| scope.count.slot()) {
            self.places.insert(id, Some(Arc::clone(&name)));
            let before = slots.move_to(id, target)?;
            self.carry_from(maps, before, Some(&name), cut);
            return Ok(());
        }
        let slot = match slot {
            Some(slot) => slot,
            None => slots.slot(id)?,
        };
        if slot == Slot::OTHER {
            // No slot was free: the gauges of the others have its sockets.
            self.places.insert(id, None);
            self.waiting.insert(id, name);
            return Ok(());
        }
        self.places.insert(id, Some(Arc::clone(&name)));
        let count = Count::new(slot, self.zeros.get(&slot).cloned().unwrap_or_default());
        let at_cut = cut.map(|cut| count.at(cut)).unwrap_or_default();
        let ledger = self.seeded.then(empty);
        self.scopes.insert(name, CgroupScope { count, at_cut, ledger });
        Ok(())
    }

    /// Adds what a slot has counted, which nothing uses any more, to a scope.
    fn carry_from(
        &mut self,
        maps: &ScopeMaps,
        slot: Option<Slot>,
        to: Option<&Arc<str>>,
        cut: Option<&ScopeCut>,
    ) {
        let Some(slot) = slot else { return };
        let counted = maps.counters.read(slot);
        let zero = self.zeros.insert(slot, counted.clone()).unwrap_or_default();
        self.retired.push(slot);
        match to.and_then(|name| self.scopes.get_mut(name)) {
            Some(scope) => {
                scope.count.carry(&counted.since(&zero));
                if let Some(cut) = cut {
                    scope.at_cut = scope.at_cut.plus(&cut.of(slot).since(&zero));
                }
            }
            None => self.other.carry(&counted.since(&zero)),
        }
    }

    /// Sets the gauges from a snapshot. One that is not `exact` only sets those that have none.
    pub(super) fn seed(
        &mut self,
        maps: &mut ScopeMaps,
        snapshot: &ScopedSnapshot,
        cut: &ScopeCut,
        exact: bool,
    ) {
        for scope in self.scopes.values_mut() {
            scope.at_cut = scope.count.at(cut);
        }
        self.refresh(maps, Some(cut));
        if let (false, Some(slots)) = (self.seeded, maps.cgroups.as_mut()) {
            // No scrape shows a slot yet, and the cgroups of this snapshot may need all of them.
            if let Err(error) = free(slots, &mut self.retired) {
                debug!(%error, "cgroups");
            }
        }
        self.name(snapshot.cgroups.keys().copied());
        for &id in snapshot.cgroups.keys() {
            if !self.places.contains_key(&id)
                && let Err(error) = self.place(maps, id, None, Some(cut))
            {
                debug!(%error, id, "a cgroup");
            }
        }
        let mut sockets: HashMap<&Arc<str>, PerState<u64>> = HashMap::new();
        for (id, counts) in &snapshot.cgroups {
            if let Some(Some(name)) = self.places.get(id) {
                let sum = sockets.entry(name).or_default();
                *sum = PerState::from_fn(|family, state| {
                    sum[(family, state)] + counts[(family, state)]
                });
            }
        }
        for (name, scope) in &mut self.scopes {
            if exact || scope.ledger.is_none() {
                let sockets = sockets.get(name).copied().unwrap_or_default();
                scope.ledger = Some(Ledger::seeded(Hooks::default(), &scope.at_cut, &sockets));
            }
        }
        self.seeded = true;
        if exact {
            self.forget(maps, snapshot);
        }
        self.place_waiting(maps, snapshot);
    }

    /// Forgets ids whose cgroups are gone and have no sockets, and scopes that have none left.
    fn forget(&mut self, maps: &mut ScopeMaps, snapshot: &ScopedSnapshot) {
        let Some(slots) = maps.cgroups.as_mut() else { return };
        let exists: HashSet<_> =
            self.scopes.keys().filter(|name| self.hierarchy.id(name).is_some()).cloned().collect();
        let is_gone = |id: &u64, place: &Option<Arc<str>>| match place {
            Some(_) => {
                let path = self.paths.get(id);
                path.is_none_or(|path| self.hierarchy.id(path) != Some(*id))
            }
            None => self.places.len() > MANY_IDS,
        };
        let gone: Vec<_> = self
            .places
            .iter()
            .filter(|(id, place)| !snapshot.cgroups.contains_key(id) && is_gone(id, place))
            .map(|(&id, _)| id)
            .collect();
        if gone.is_empty() && self.scopes.len() == exists.len() {
            return;
        }
        if let (_, Some(error)) = slots.retire(&gone) {
            debug!(%error, "cgroups");
            return;
        }
        for id in gone {
            self.places.remove(&id);
            self.paths.remove(&id);
        }
        let used: HashSet<_> = self.places.values().flatten().cloned().collect();
        let counters = Arc::clone(&maps.counters);
        let (zeros, retired) = (&mut self.zeros, &mut self.retired);
        self.scopes.retain(|name, scope| {
            let stays = used.contains(name)
                || exists.contains(name)
                || scope.sockets(&scope.count.now(&counters)) != 0;
            if !stays {
                zeros.insert(scope.count.slot(), counters.read(scope.count.slot()));
                retired.push(scope.count.slot());
            }
            stays
        });
    }

    /// Adds the slots of the cgroups that are known.
    pub(super) fn reserve(&self, reserved: &mut Reserved) {
        let mut ids: HashMap<&Arc<str>, Vec<u64>> = HashMap::new();
        for (&id, place) in &self.places {
            match place {
                Some(name) => ids.entry(name).or_default().push(id),
                None => reserved.other_cgroups.push(id),
            }
        }
        reserved.cgroups.extend(ids.into_values());
    }

    /// Continues with the counters of another tracer, which has the slots that [`Self::reserve`] gave. The next snapshot sets
    /// the gauges.
    pub(super) fn rebind(&mut self, old: &ScopeMaps, new: &mut ScopeMaps) {
        self.zeros.clear();
        self.retired.clear();
        self.seeded = false;
        let (old, counters) = (&old.counters, Arc::clone(&new.counters));
        self.other = continued(&self.other, old, &counters, ScopeMaps::OTHER_CGROUPS);
        let Some(slots) = new.cgroups.as_mut() else {
            self.places.clear();
            return self.scopes.clear();
        };
        let ids: HashMap<_, _> = self
            .places
            .iter()
            .filter_map(|(&id, place)| Some((Arc::clone(place.as_ref()?), id)))
            .collect();
        let mut continuing = BTreeMap::new();
        for (name, scope) in std::mem::take(&mut self.scopes) {
            let id = ids.get(&name).copied().or_else(|| self.hierarchy.id(&name));
            let slot = id.and_then(|id| Some((id, slots.slot(id).ok()?)));
            let Some((id, slot)) = slot.filter(|&(_, slot)| slot != Slot::OTHER) else {
                self.places.retain(|_, place| place.as_ref() != Some(&name));
                continue;
            };
            self.places.insert(id, Some(Arc::clone(&name)));
            let count = continued(&scope.count, old, &counters, slot);
            let at_cut = Transitions::default();
            continuing.insert(name, CgroupScope { count, at_cut, ledger: None });
        }
        self.scopes = continuing;
    }
}

/// Makes these slots free.
fn free(slots: &mut KeyedSlots, retired: &mut Vec<Slot>) -> Result<(), SlotError> {
    for slot in std::mem::take(retired) {
        slots.make_free(slot)?;
    }
    Ok(())
}

impl CgroupScope {
    /// Number of sockets when the counters are `now`.
    fn sockets(&self, now: &Transitions) -> u64 {
        self.connections(now)
            .map_or(0, |connections| connections.shown().map(|(.., sockets)| sockets).sum())
    }

    /// Sockets by state; `None` before the seed.
    pub(super) fn connections(&self, now: &Transitions) -> Option<PerState<u64>> {
        Some(self.ledger.as_ref()?.connections(now, 0, 0))
    }
}

/// The ledger of a scope that had no sockets before its first transition.
fn empty() -> Ledger {
    Ledger::seeded(Hooks::default(), &Transitions::default(), &PerState::default())
}
