//! Scopes inside the own network namespace, which the tracer counts by cgroup and by local port.

use std::{collections::BTreeMap, sync::Arc};

use aya::{
    Ebpf,
    maps::{Array, MapError},
};
use tcpstat_ebpf::{
    FAMILY_CELLS, FIRST_FREE_SLOT, OTHER_PORTS_SLOT, PORT_ENTRIES, PORTS_OF_ENTRY, TAGS,
};

use super::{
    counters::{Counters, OwnRows},
    error::{LoadError, refusal},
    netns_slots::{CGROUP_MAPS, KeyedSlots},
    object::map,
    slot::Slot,
    step::Step,
};

/// Which scopes of the own namespace the tracer counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScopeKinds {
    /// How many cgroups have a slot of their own at a time; `None` if cgroups are not counted.
    pub(crate) cgroups: Option<u32>,
    /// The ports that have a slot of their own; none if ports are not counted.
    pub(crate) ports: Vec<u16>,
}

impl ScopeKinds {
    /// Whether a kind is counted.
    pub(crate) fn any(&self) -> bool {
        self.cgroups.is_some() || !self.ports.is_empty()
    }

    /// Number of slots.
    pub(super) fn slots(&self) -> usize {
        if self.any() { self.first_port() + self.ports.len() } else { 1 }
    }

    fn first_port(&self) -> usize {
        FIRST_FREE + self.cgroups.unwrap_or(0) as usize
    }

    /// The sizes of the maps.
    pub(super) fn map_sizes(&self, cpus: u32) -> Vec<(&'static str, u32)> {
        let mut sizes = Vec::new();
        if self.any() {
            let slots = u32::try_from(self.slots()).unwrap_or(u32::MAX);
            sizes.push(("SCOPE_ROWS", slots.saturating_mul(cpus)));
        }
        if let Some(cgroups) = self.cgroups {
            // Cgroups without a slot of their own have an entry too.
            let entries = cgroups.saturating_mul(8).max(4096);
            sizes.extend([
                ("CGROUP_TAGS", TAGS),
                ("CGROUP_SLOTS", entries),
                ("FREE_CGROUP_SLOTS", cgroups.max(1)),
            ]);
        }
        if !self.ports.is_empty() {
            sizes.push(("PORT_SLOTS", PORT_ENTRIES));
        }
        sizes
    }
}

/// What the tracer has counted by scope, and the slots of the scopes.
pub(crate) struct ScopeMaps {
    /// The counters. All cells are those of IPv4: scopes have no family.
    pub(crate) counters: Arc<Counters>,
    /// The slots of cgroups, if they are counted.
    pub(crate) cgroups: Option<KeyedSlots>,
    /// The slot of each port that has one.
    pub(crate) ports: BTreeMap<u16, Slot>,
}

impl ScopeMaps {
    /// The slot of all cgroups that have none of their own.
    pub(crate) const OTHER_CGROUPS: Slot = Slot::OTHER;

    /// The slot of all ports that have none of their own.
    pub(crate) const OTHER_PORTS: Slot = Slot::from_number(OTHER_PORTS_SLOT);

    /// Takes the maps of a loaded object; `None` if no kind is counted.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) fn new(
        ebpf: &mut Ebpf,
        kinds: &ScopeKinds,
        cpus: usize,
    ) -> Result<Option<Self>, LoadError> {
        if !kinds.any() {
            return Ok(None);
        }
        let rows = map(ebpf, "SCOPE_ROWS")?;
        let counters = Counters::map(rows, kinds.slots(), cpus, FAMILY_CELLS, OwnRows::default())
            .map_err(|error| {
            refusal(Step::MapMemory("the counters of scopes"), error.into())
        })?;
        let cgroups = match kinds.cgroups {
            Some(slots) => Some(KeyedSlots::new(ebpf, &CGROUP_MAPS, slots)?),
            None => None,
        };
        let numbers = kinds.first_port() as u64..;
        let ports: BTreeMap<_, _> =
            kinds.ports.iter().copied().zip(numbers.map(Slot::from_number)).collect();
        if !ports.is_empty() {
            write_ports(ebpf, &ports)?;
        }
        Ok(Some(Self { counters: Arc::new(counters), cgroups, ports }))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is 2")]
const FIRST_FREE: usize = FIRST_FREE_SLOT as usize;

fn write_ports(ebpf: &mut Ebpf, ports: &BTreeMap<u16, Slot>) -> Result<(), LoadError> {
    let at_maps = |error: MapError| refusal(Step::CreateMaps, error.into());
    let map = ebpf.map_mut("PORT_SLOTS").ok_or(LoadError::WrongObject("PORT_SLOTS"))?;
    let mut map = Array::<_, [u16; PORTS_OF_ENTRY]>::try_from(map).map_err(at_maps)?;
    for entry in 0..PORT_ENTRIES {
        let slots = std::array::from_fn(|index| {
            let port = u16::try_from(entry as usize * PORTS_OF_ENTRY + index).ok();
            let slot = port
                .and_then(|port| ports.get(&port))
                .map_or(OTHER_PORTS_SLOT, |slot| slot.number());
            u16::try_from(slot).unwrap_or_default()
        });
        if slots.iter().any(|&slot| slot != 0) {
            map.set(entry, slots, 0).map_err(at_maps)?;
        }
    }
    Ok(())
}
