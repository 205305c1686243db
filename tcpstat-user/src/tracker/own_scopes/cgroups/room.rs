//! Room for scopes: which found none, and which get some later.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use tracing::debug;

use super::Cgroups;
use crate::{kernel::ScopeMaps, ledger::rewind::ScopedSnapshot};

/// Cgroups that are past the limit are counted in `overflow` by path, up to so many.
const MAX_OVERFLOWED: usize = 10_000;

impl Cgroups {
    /// Gives the scopes that wait, and of which the snapshot shows sockets, the room that there is now. Their gauges begin
    /// with the next snapshot, as the cut of this one was before.
    pub(super) fn place_waiting(&mut self, maps: &mut ScopeMaps, snapshot: &ScopedSnapshot) {
        self.waiting.retain(|id, _| matches!(self.places.get(id), Some(None)));
        let shown = self.waiting.iter().filter(|(id, _)| snapshot.cgroups.contains_key(id));
        let shown: BTreeSet<_> = shown.map(|(_, name)| Arc::clone(name)).collect();
        let room = self.max.saturating_sub(self.scopes.len());
        let (open, new): (Vec<_>, Vec<_>) =
            shown.into_iter().partition(|name| self.scopes.contains_key(name));
        let chosen: HashSet<_> = open.into_iter().chain(new.into_iter().take(room)).collect();
        let Some(slots) = maps.cgroups.as_mut().filter(|_| !chosen.is_empty()) else { return };
        let placed = self.waiting.extract_if(|_, name| chosen.contains(name));
        let placed: Vec<_> = placed.collect();
        let ids: Vec<_> = placed.iter().map(|&(id, _)| id).collect();
        if let (_, Some(error)) = slots.retire(&ids) {
            debug!(%error, "cgroups");
            return self.waiting.extend(placed);
        }
        for (id, name) in placed {
            self.places.remove(&id);
            if let Err(error) = self.place(maps, id, None, None) {
                debug!(%error, id, "a cgroup");
            }
            if let Some(scope) = self.scopes.get_mut(&name) {
                scope.ledger = None;
            }
        }
    }

    /// The scope of `id`, if there is room for it; else the id waits. It also waits if others of its scope do: a part of a
    /// unit is never shown as the whole.
    pub(super) fn with_room(&mut self, id: u64, name: Arc<str>) -> Option<Arc<str>> {
        if self.waiting.values().any(|waiting| *waiting == name) || !self.has_room(&name) {
            self.waiting.insert(id, name);
            return None;
        }
        Some(name)
    }

    /// Whether the scope has a place, or can have one; counts it as overflow if not.
    fn has_room(&mut self, name: &Arc<str>) -> bool {
        let has_room = self.scopes.contains_key(name) || self.scopes.len() < self.max;
        let can_be_noted = self.overflowed.len() < MAX_OVERFLOWED;
        if !has_room && can_be_noted && self.overflowed.insert(Arc::clone(name)) {
            self.overflow.add();
        }
        has_room
    }
}
