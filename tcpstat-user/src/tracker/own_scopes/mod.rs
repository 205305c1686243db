//! The scopes inside the exporter's own namespace: its sockets by cgroup and by local port.
//!
//! Their gauges have the same base and the same cut as those of the namespace: each exact snapshot sets them. What
//! is in no scope of a kind is the rest of the namespace, so the sum over a kind is always the total.

mod cgroups;
mod count;
mod ports;
mod publication;

use std::sync::Arc;

use cgroups::Cgroups;
use ports::Ports;
pub(crate) use publication::{PublishedScopes, Totals};

use crate::{
    kernel::{Counters, Reserved, ScopeCut, ScopeKinds, ScopeMaps, Tracer},
    ledger::rewind::{PortSet, ScopedSnapshot},
    procfs::CgroupHierarchy,
    scopes::CgroupPattern,
    states::Hooks,
};

/// Which scopes of the own namespace are counted.
#[derive(Clone, Debug)]
pub(crate) struct OwnScopes {
    /// The cgroups that one of the patterns fits; `None` if cgroups are not counted.
    pub(crate) cgroups: Option<(Vec<CgroupPattern>, CgroupHierarchy)>,
    /// The ports; none if ports are not counted.
    pub(crate) ports: Vec<u16>,
    /// Maximum number of scopes of a kind.
    pub(crate) max: u32,
}

/// Slots for cgroups that are counted before it is known that no pattern fits them.
const SPARE_SLOTS: u32 = 64;

impl OwnScopes {
    /// What the tracer has to count.
    pub(crate) fn kinds(&self) -> ScopeKinds {
        let cgroups = self.cgroups.is_some().then(|| self.max.saturating_add(SPARE_SLOTS));
        ScopeKinds { cgroups, ports: self.ports.clone() }
    }
}

/// The scopes that a tracer counts.
pub(super) struct TracedScopes {
    settings: OwnScopes,
    /// The counters of the tracer that counts; `None` before the first one.
    counters: Option<Arc<Counters>>,
    hooks: Hooks,
    cgroups: Option<Cgroups>,
    ports: Option<Ports>,
}

/// What a snapshot shows of scopes.
#[derive(Debug)]
pub(super) struct RewoundScopes {
    pub(super) snapshot: ScopedSnapshot,
    /// Whether the rows have cgroups.
    pub(super) has_cgroups: bool,
    pub(super) cut: ScopeCut,
    /// Whether log and rewind leave no doubt about any socket.
    pub(super) exact: bool,
}

impl TracedScopes {
    pub(super) fn new(settings: OwnScopes) -> Self {
        Self { settings, counters: None, hooks: Hooks::default(), cgroups: None, ports: None }
    }

    /// The ports that rows are counted by.
    pub(super) fn port_set(&self) -> Arc<PortSet> {
        self.ports.as_ref().map(Ports::set).unwrap_or_default()
    }

    /// Whether the numbers are those of this tracer; begins with its counters if there was no tracer before.
    pub(super) fn is_of(&mut self, tracer: &Tracer) -> bool {
        let Some(maps) = &tracer.scopes else { return false };
        if let Some(counters) = &self.counters {
            return Arc::ptr_eq(counters, &maps.counters);
        }
        self.begin(maps, tracer.hooks);
        true
    }

    fn begin(&mut self, maps: &ScopeMaps, hooks: Hooks) {
        self.counters = Some(Arc::clone(&maps.counters));
        self.hooks = hooks;
        self.ports = Ports::new(maps, hooks);
        let max = self.settings.max as usize;
        self.cgroups = self
            .settings
            .cgroups
            .clone()
            .filter(|_| maps.cgroups.is_some())
            .map(|(patterns, hierarchy)| Cgroups::new(patterns, hierarchy, max));
    }

    /// Learns of new cgroups.
    pub(super) fn refresh(&mut self, tracer: &mut Tracer) {
        if self.is_of(tracer)
            && let (Some(cgroups), Some(maps)) = (&mut self.cgroups, &mut tracer.scopes)
        {
            cgroups.refresh(maps, None);
        }
    }

    /// Sets the gauges from a snapshot.
    pub(super) fn seed(&mut self, maps: &mut ScopeMaps, rewound: &RewoundScopes) {
        let RewoundScopes { snapshot, has_cgroups, cut, exact } = rewound;
        if let Some(ports) = &mut self.ports {
            ports.seed(snapshot, cut, *exact);
        }
        if let (Some(cgroups), true) = (&mut self.cgroups, *has_cgroups) {
            cgroups.seed(maps, snapshot, cut, *exact);
        }
    }

    /// Adds the slots of the cgroups.
    pub(super) fn reserve(&self, reserved: &mut Reserved) {
        if let Some(cgroups) = &self.cgroups {
            cgroups.reserve(reserved);
        }
    }

    /// Continues with the counters of another tracer. The next snapshot sets the gauges.
    pub(super) fn rebind(&mut self, old: &Tracer, new: &mut Tracer) {
        let hooks = new.hooks;
        let (Some(old), Some(new)) = (&old.scopes, &mut new.scopes) else { return };
        self.counters = Some(Arc::clone(&new.counters));
        self.hooks = hooks;
        if let Some(ports) = &mut self.ports {
            ports.rebind(old, new, hooks);
        }
        if let Some(cgroups) = &mut self.cgroups {
            cgroups.rebind(old, new);
        }
    }
}
