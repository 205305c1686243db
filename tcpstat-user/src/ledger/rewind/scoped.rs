//! The sockets of each cgroup and of each port at the cut, from the rows and events of a snapshot.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::FixedState;

use crate::{
    ledger::rules::is_birth,
    snapshot::{Row, Tally},
    states::{Family, Object, PerState, State},
    transitions::Event,
};

/// The ports that are counted.
pub type PortSet = std::collections::BTreeSet<u16>;

/// The scopes of one socket: the id of its cgroup, or 0, and its local port, or 0 if that is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keys {
    cgroup: u64,
    port: u16,
}

impl Keys {
    fn new(cgroup: u64, port: u16, state: State, ports: &PortSet) -> Self {
        // Mini-sockets and requests have no cgroup.
        let cgroup = if Object::in_state(state) == Object::Full { cgroup } else { 0 };
        Self { cgroup, port: if ports.contains(&port) { port } else { 0 } }
    }

    fn any(self) -> bool {
        self.cgroup != 0 || self.port != 0
    }
}

/// The rows of a snapshot whose sockets a scope counts.
#[derive(Debug, Default)]
pub struct ScopedRows {
    ports: Arc<PortSet>,
    /// 16 bytes for each row.
    rows: Vec<KeptRow>,
    /// The index of each cgroup in `ids`.
    indexes: HashMap<u64, u32, FixedState>,
    /// The cgroups; the first one is none.
    ids: Vec<u64>,
    uncounted: HashMap<u16, Tally>,
}

#[derive(Clone, Copy, Debug)]
struct KeptRow {
    /// As [`super::Rewind::row_id`] gives it.
    id: u64,
    cgroup: u32,
    port: u16,
    state: State,
}

impl ScopedRows {
    /// No rows yet.
    #[must_use]
    pub fn new(ports: Arc<PortSet>) -> Self {
        Self { ports, ids: vec![0], ..Self::default() }
    }

    /// Takes a row. `id` identifies it to the rewind; `None` for an object whose transitions are not logged.
    pub fn row(&mut self, row: &Row, id: Option<u64>) {
        let state = row.kind.state();
        let Keys { cgroup, port } = Keys::new(row.cgroup, row.sport, state, &self.ports);
        let Some(id) = id else {
            if port != 0 {
                self.uncounted.entry(port).or_default().add(&Row { family: FAMILY, ..*row });
            }
            return;
        };
        if state == State::Close || (cgroup == 0 && port == 0) {
            return;
        }
        let cgroup = if cgroup == 0 { 0 } else { self.index(cgroup) };
        self.rows.push(KeptRow { id, cgroup, port, state });
    }

    fn index(&mut self, cgroup: u64) -> u32 {
        *self.indexes.entry(cgroup).or_insert_with(|| {
            self.ids.push(cgroup);
            u32::try_from(self.ids.len() - 1).unwrap_or(0)
        })
    }

    /// Computes the sockets at the cut. `has_events` says of a row, by its id, whether its socket is in the log.
    #[must_use]
    pub fn at_cut(self, events: &ScopedEvents, has_events: impl Fn(u64) -> bool) -> ScopedSnapshot {
        let mut snapshot = ScopedSnapshot { uncounted: self.uncounted, ..Default::default() };
        for row in self.rows {
            if !has_events(row.id) {
                let cgroup = self.ids[row.cgroup as usize];
                snapshot.count(Keys { cgroup, port: row.port }, row.state);
            }
        }
        for &(state, cgroup, sport) in events.first.values() {
            if let Some(state) = state {
                snapshot.count(Keys::new(cgroup, sport, state, &self.ports), state);
            }
        }
        snapshot
    }
}

/// The sockets that have events in the log.
#[derive(Debug, Default)]
pub struct ScopedEvents {
    /// By address: the state at the cut (`None` for a socket that was born later), the cgroup, and the local port.
    first: HashMap<u64, (Option<State>, u64, u16)>,
}

impl ScopedEvents {
    /// Takes a logged transition. They must come in their order.
    pub fn event(&mut self, event: &Event) {
        let state = (!is_birth(event.old, event.new)).then_some(event.old);
        self.first.entry(event.skaddr).or_insert((state, event.cgroup, event.tuple.sport));
    }
}

/// The counted sockets of each scope at the cut, and the others of each port. Scopes have no family: all is in the
/// places of IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopedSnapshot {
    /// Full sockets by the id of their cgroup.
    pub cgroups: HashMap<u64, PerState<u64>>,
    /// Sockets by local port.
    pub ports: HashMap<u16, PerState<u64>>,
    /// Mini-sockets and requests that no hook counts, by local port.
    pub uncounted: HashMap<u16, Tally>,
}

/// The family in whose places scopes have their numbers.
const FAMILY: Family = Family::Ipv4;

impl ScopedSnapshot {
    fn count(&mut self, keys: Keys, state: State) {
        if !keys.any() {
            return;
        }
        if keys.cgroup != 0 {
            self.cgroups.entry(keys.cgroup).or_default()[(FAMILY, state)] += 1;
        }
        if keys.port != 0 {
            self.ports.entry(keys.port).or_default()[(FAMILY, state)] += 1;
        }
    }
}
