//! The slots of other network namespaces, and those of cgroups: which one has which, and which are free.

use std::collections::HashMap as Seen;

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, Queue},
};
use tcpstat_ebpf::{FIRST_FREE_SLOT, TAGS};
use thiserror::Error;

use super::{
    counters::Switch,
    error::{LoadError, refusal},
    events::await_running_programs,
    object::map,
    slot::Slot,
    step::Step,
    tags::Tags,
};

/// Which network namespaces the tracer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespaces {
    /// Only that of this process.
    Own,
    /// All: that of this process in [`Slot::OWN`], `others` in slots of their own, and the rest in
    /// [`Slot::OTHER`].
    All { others: u32 },
}

impl Namespaces {
    /// Number of slots.
    pub(super) fn slots(self) -> u32 {
        match self {
            Self::Own => 1,
            Self::All { others } => FIRST_FREE + others,
        }
    }

    /// The sizes of the maps that find the slots of other namespaces.
    pub(super) fn map_sizes(self) -> Vec<(&'static str, u32)> {
        match self {
            Self::Own => Vec::new(),
            Self::All { others } => vec![
                ("NETNS_TAGS", TAGS),
                // Namespaces without a slot of their own have an entry too.
                ("NETNS_SLOTS", others.saturating_mul(4).max(1024)),
                ("FREE_SLOTS", others.max(1)),
            ],
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is 2")]
const FIRST_FREE: u32 = FIRST_FREE_SLOT as u32;

/// What identifies a network namespace: its cookie, before Linux 5.12 its inode number.
pub(crate) type NetnsKey = u64;

/// Reading or changing the slots of namespaces failed.
#[derive(Debug, Error)]
#[error("{operation}: {cause}")]
pub(crate) struct SlotError {
    operation: &'static str,
    cause: MapError,
}

/// The maps of one kind of scope.
pub(super) struct SlotMaps {
    tags: &'static str,
    slots: &'static str,
    free: &'static str,
    /// How many slots the tracer has assigned.
    assigned: fn(&Switch) -> u64,
}

pub(super) const NETNS_MAPS: SlotMaps = SlotMaps {
    tags: "NETNS_TAGS",
    slots: "NETNS_SLOTS",
    free: "FREE_SLOTS",
    assigned: Switch::netns_assigned,
};

pub(super) const CGROUP_MAPS: SlotMaps = SlotMaps {
    tags: "CGROUP_TAGS",
    slots: "CGROUP_SLOTS",
    free: "FREE_CGROUP_SLOTS",
    assigned: Switch::cgroups_assigned,
};

/// The slots of other namespaces.
pub(crate) type NetnsSlots = KeyedSlots;

/// The slots of one kind of scope, by key. The programs assign them, and so does this process.
///
/// The hash map decides which slot a scope has: the first one who inserts the key. Tags repeat its entries, so
/// each can be made, left out and removed at any time.
pub(crate) struct KeyedSlots {
    slots: HashMap<MapData, NetnsKey, u64>,
    free: Queue<MapData, u64>,
    tags: Tags,
    switch: Switch,
    assigned: fn(&Switch) -> u64,
    seen: Seen<NetnsKey, Slot>,
    /// How many slots the tracer had assigned when the map was read.
    read_at: u64,
    /// As [`Self::read_at`], when [`Self::note_known`] was called.
    known_at: u64,
}

/// `BPF_NOEXIST`
const IF_ABSENT: u64 = 1;

impl KeyedSlots {
    /// Takes the maps of a loaded object, and makes `others` slots free.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) fn new(ebpf: &mut Ebpf, maps: &SlotMaps, others: u32) -> Result<Self, LoadError> {
        let at_maps = |error: MapError| refusal(Step::CreateMaps, error.into());
        let tags = Tags::map(map(ebpf, maps.tags)?)
            .map_err(|error| refusal(Step::MapMemory("the tags of scopes"), error.into()))?;
        let switch = Switch::map(map(ebpf, "CONTROL")?)
            .map_err(|error| refusal(Step::MapMemory("the control page"), error.into()))?;
        let mut take = |name| ebpf.take_map(name).ok_or(LoadError::WrongObject(name));
        let slots = HashMap::try_from(take(maps.slots)?).map_err(at_maps)?;
        let mut free = Queue::try_from(take(maps.free)?).map_err(at_maps)?;
        for number in 0..u64::from(others) {
            free.push(FIRST_FREE_SLOT + number, 0).map_err(at_maps)?;
        }
        let assigned = maps.assigned;
        Ok(Self { slots, free, tags, switch, assigned, seen: Seen::new(), read_at: 0, known_at: 0 })
    }

    /// The namespaces that got a slot from the tracer since the last call, in no order. Makes tags for them. One
    /// that gets its slot during the call can be left for the next one. Takes no system call if there is none.
    ///
    /// # Errors
    /// [`SlotError`]. The next call returns what this one has found.
    pub(crate) fn new_namespaces(&mut self) -> Result<Vec<(NetnsKey, Slot)>, SlotError> {
        let assigned = self.assigned();
        let mut new = Vec::new();
        if assigned == self.read_at {
            return Ok(new);
        }
        for entry in &self.slots {
            let (key, number) = entry.map_err(|cause| at("reading the slots", cause))?;
            if !self.seen.contains_key(&key) {
                new.push((key, Slot::from_number(number)));
            }
        }
        for &(key, slot) in &new {
            self.remember(key, slot);
        }
        self.read_at = assigned;
        Ok(new)
    }

    /// Notes that the caller knows what [`Self::new_namespaces`] has returned so far.
    pub(crate) fn note_known(&mut self) {
        self.known_at = self.read_at;
    }

    /// Whether the caller knows all that had a slot when the tracer had assigned so many.
    pub(crate) fn all_known(&self, assigned: u64) -> bool {
        assigned == self.known_at
    }

    /// How many slots the tracer has assigned.
    pub(crate) fn assigned(&self) -> u64 {
        (self.assigned)(&self.switch)
    }

    /// The slot of the namespace with this key. One that has none gets one: a free one, else [`Slot::OTHER`].
    ///
    /// # Errors
    /// [`SlotError`]; the map is full, for example.
    pub(crate) fn slot(&mut self, key: NetnsKey) -> Result<Slot, SlotError> {
        if let Some(&slot) = self.seen.get(&key) {
            return Ok(slot);
        }
        let free = match self.free.pop(0) {
            Ok(number) => Some(number),
            Err(MapError::ElementNotFound) => None,
            Err(cause) => return Err(at("taking a free slot", cause)),
        };
        let number = free.unwrap_or(Slot::OTHER.number());
        let slot = match self.slots.insert(key, number, IF_ABSENT) {
            Ok(()) => Slot::from_number(number),
            Err(refused) => {
                if let Some(number) = free {
                    self.free.push(number, 0).map_err(|cause| at("returning a slot", cause))?;
                }
                // The tracer was faster, or the map is full.
                match self.slots.get(&key, 0) {
                    Ok(number) => Slot::from_number(number),
                    Err(_) => return Err(at("assigning a slot", refused)),
                }
            }
        };
        self.remember(key, slot);
        Ok(slot)
    }

    /// Takes their slots from namespaces that are gone and have no sockets. Blocks until every program that can
    /// still use one has ended. Then nothing is counted in them, and their counters are the zero of the namespaces
    /// that get them next; [`KeyedSlots::make_free`] allows that. Returns those that had a slot of their own.
    ///
    /// If a namespace is not gone, its next event gives it a slot again.
    ///
    /// # Errors
    /// [`SlotError`]. The namespaces from the first that fails on have their slots still.
    pub(crate) fn retire(
        &mut self,
        keys: &[NetnsKey],
    ) -> (Vec<(NetnsKey, Slot)>, Option<SlotError>) {
        let mut retired = Vec::new();
        let mut refused = None;
        for &key in keys {
            let Some(&slot) = self.seen.get(&key) else { continue };
            self.tags.remove(key, slot);
            if let Err(cause) = self.slots.remove(&key) {
                self.tags.place(key, slot);
                refused = Some(at("removing a namespace", cause));
                break;
            }
            self.seen.remove(&key);
            if slot != Slot::OTHER {
                retired.push((key, slot));
            }
        }
        await_running_programs();
        (retired, refused)
    }

    /// Lets another namespace have a slot that [`KeyedSlots::retire`] returned.
    ///
    /// # Errors
    /// [`SlotError`]. Then no namespace gets it.
    pub(crate) fn make_free(&mut self, slot: Slot) -> Result<(), SlotError> {
        self.free.push(slot.number(), 0).map_err(|cause| at("returning a slot", cause))
    }

    /// Makes the programs count a key in `slot` from now on, which others may use too. Returns the slot that the key
    /// had, if that was another one and not [`Slot::OTHER`]; blocks as [`KeyedSlots::retire`] does then, so no program
    /// uses it any more for this key.
    ///
    /// # Errors
    /// [`SlotError`]. Then the key has its slot still, perhaps without a tag.
    pub(crate) fn move_to(&mut self, key: NetnsKey, slot: Slot) -> Result<Option<Slot>, SlotError> {
        let before = match self.seen.get(&key) {
            Some(&before) => Some(before),
            // The tracer may have been faster.
            None => self.slots.get(&key, 0).ok().map(Slot::from_number),
        };
        if let Some(before) = before {
            self.tags.remove(key, before);
        }
        self.slots.insert(key, slot.number(), 0).map_err(|cause| at("changing a slot", cause))?;
        self.remember(key, slot);
        let before = before.filter(|&before| before != slot && before != Slot::OTHER);
        if before.is_some() {
            await_running_programs();
        }
        Ok(before)
    }

    fn remember(&mut self, key: NetnsKey, slot: Slot) {
        self.tags.place(key, slot);
        self.seen.insert(key, slot);
    }
}

#[cfg(test)]
impl KeyedSlots {
    /// Removes the entry of the hash map, and leaves the tag.
    pub(super) fn leave_only_the_tag(&mut self, key: NetnsKey) {
        self.slots.remove(&key).unwrap();
    }

    /// Removes the tag, and leaves the entry of the hash map.
    pub(super) fn leave_only_the_entry(&mut self, key: NetnsKey) {
        self.tags.remove(key, self.seen[&key]);
    }

    /// Whether the hash map has an entry.
    pub(super) fn has_entry(&self, key: NetnsKey) -> bool {
        self.slots.get(&key, 0).is_ok()
    }
}

fn at(operation: &'static str, cause: MapError) -> SlotError {
    SlotError { operation, cause }
}
