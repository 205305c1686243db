//! The ports that are counted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::count::Count;
use crate::{
    kernel::{Counters, ScopeCut, ScopeMaps, Slot},
    ledger::{
        Ledger,
        rewind::{PortSet, ScopedSnapshot},
    },
    snapshot::Tally,
    states::{Hooks, PerState},
    transitions::Transitions,
};

/// The ports, and what is counted of all others.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    hooks: Hooks,
    scopes: BTreeMap<u16, PortScope>,
    other: Count,
}

#[derive(Clone, Debug)]
struct PortScope {
    count: Count,
    /// The gauges; `None` before the seed.
    gauges: Option<Gauges>,
}

#[derive(Clone, Debug)]
pub(super) struct Gauges {
    ledger: Ledger,
    /// Mini-sockets at the last snapshot.
    minis: u64,
}

impl Gauges {
    pub(super) fn seeded(
        hooks: Hooks,
        at_cut: &Transitions,
        sockets: &PerState<u64>,
        uncounted: &Tally,
    ) -> Self {
        let mut ledger = Ledger::seeded(hooks, at_cut, sockets);
        ledger.observe(at_cut, uncounted);
        Self { ledger, minis: uncounted.minis() }
    }

    /// Sockets by state. What no hook counts is that of the last snapshot.
    pub(super) fn connections(&self, now: &Transitions) -> PerState<u64> {
        self.ledger.connections(now, self.minis, 0)
    }
}

impl Ports {
    /// `None` if no port is counted.
    pub(super) fn new(maps: &ScopeMaps, hooks: Hooks) -> Option<Self> {
        let scope =
            |slot| PortScope { count: Count::new(slot, Transitions::default()), gauges: None };
        let scopes: BTreeMap<_, _> =
            maps.ports.iter().map(|(&port, &slot)| (port, scope(slot))).collect();
        let other = Count::new(ScopeMaps::OTHER_PORTS, Transitions::default());
        (!scopes.is_empty()).then_some(Self { hooks, scopes, other })
    }

    pub(super) fn set(&self) -> Arc<PortSet> {
        Arc::new(self.scopes.keys().copied().collect())
    }

    /// Sets the gauges from a snapshot. One that is not `exact` only sets those that have none.
    pub(super) fn seed(&mut self, snapshot: &ScopedSnapshot, cut: &ScopeCut, exact: bool) {
        fn of<T: Clone + Default>(by_port: &HashMap<u16, T>, port: u16) -> T {
            by_port.get(&port).cloned().unwrap_or_default()
        }
        for (&port, scope) in &mut self.scopes {
            if exact || scope.gauges.is_none() {
                let sockets = of(&snapshot.ports, port);
                let uncounted = of(&snapshot.uncounted, port);
                let at_cut = scope.count.at(cut);
                scope.gauges = Some(Gauges::seeded(self.hooks, &at_cut, &sockets, &uncounted));
            }
        }
    }

    /// Each port with its counters and its gauges.
    pub(super) fn scopes(&self) -> impl Iterator<Item = (u16, &Count, Option<&Gauges>)> {
        self.scopes.iter().map(|(&port, scope)| (port, &scope.count, scope.gauges.as_ref()))
    }

    pub(super) fn other(&self) -> &Count {
        &self.other
    }

    /// Continues with the counters of another tracer.
    pub(super) fn rebind(&mut self, old: &ScopeMaps, new: &ScopeMaps, hooks: Hooks) {
        self.hooks = hooks;
        for (port, scope) in &mut self.scopes {
            let slot = new.ports.get(port).copied().unwrap_or(ScopeMaps::OTHER_PORTS);
            scope.count = continued(&scope.count, &old.counters, &new.counters, slot);
            scope.gauges = None;
        }
        let other = ScopeMaps::OTHER_PORTS;
        self.other = continued(&self.other, &old.counters, &new.counters, other);
    }
}

/// The count of a scope that has `slot` in another tracer. That one has counted too, since it was attached; its
/// counters begin now.
pub(super) fn continued(count: &Count, old: &Counters, new: &Counters, slot: Slot) -> Count {
    let mut next = Count::new(slot, new.read(slot));
    next.carry(&count.now(old));
    next
}
