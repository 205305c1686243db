//! Scopes of the model: cgroups and ports.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::ledger::rewind::{PortSet, ScopedEvents, ScopedRows, ScopedSnapshot};

/// What scopes count, and what the snapshots show of them.
#[derive(Default)]
pub(super) struct Scopes {
    counted: BTreeMap<Scope, Transitions>,
    snapshots: Vec<Shown>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Cgroup(u64),
    Port(u16),
}

type Sockets = BTreeMap<Scope, PerState<u64>>;

/// A snapshot of all scopes.
struct Shown {
    /// What scopes had counted at the cut.
    cut: BTreeMap<Scope, Transitions>,
    /// The sockets at the cut.
    truth: Sockets,
    /// `None` before the snapshot has ended, and if it is not exact.
    snapshot: Option<ScopedSnapshot>,
}

/// A snapshot that is being taken.
pub(super) struct Listed {
    rows: ScopedRows,
    events: ScopedEvents,
}

impl Listed {
    pub(super) fn row(&mut self, row: &Row, id: Option<u64>) {
        self.rows.row(row, id);
    }

    pub(super) fn event(&mut self, event: &Event) {
        self.events.event(event);
    }
}

/// The ports that scopes count: none of a client.
fn ports() -> Arc<PortSet> {
    Arc::new((0..u16::MAX).step_by(10).collect())
}

/// The scopes of a socket.
fn scopes_of(cgroup: u64, sport: u16) -> impl Iterator<Item = Scope> {
    let cgroup = (cgroup != 0).then_some(Scope::Cgroup(cgroup));
    let port = (sport != 0 && sport.is_multiple_of(10)).then_some(Scope::Port(sport));
    cgroup.into_iter().chain(port)
}

impl Scopes {
    pub(super) fn count(&mut self, event: &Event) {
        for scope in scopes_of(event.cgroup, event.tuple.sport) {
            let counted = self.counted.entry(scope).or_default();
            counted.add(Family::Ipv4, event.old, event.new, 1);
        }
    }
}

impl Model {
    fn sockets_of_scopes(&self) -> Sockets {
        let mut sockets = Sockets::new();
        for Socket { state, tuple, cgroup } in self.sockets.values() {
            if self.hooks.counts(Object::in_state(*state)) {
                for scope in scopes_of(*cgroup, tuple.sport) {
                    sockets.entry(scope).or_default()[(Family::Ipv4, *state)] += 1;
                }
            }
        }
        sockets
    }

    pub(super) fn begin_scopes(&mut self) -> Listed {
        let (cut, truth) = (self.scopes.counted.clone(), self.sockets_of_scopes());
        self.scopes.snapshots.push(Shown { cut, truth, snapshot: None });
        Listed { rows: ScopedRows::new(ports()), events: ScopedEvents::default() }
    }

    pub(super) fn end_scopes(
        &mut self,
        listed: Listed,
        exact: bool,
        has_events: impl Fn(u64) -> bool,
    ) {
        let snapshot = listed.rows.at_cut(&listed.events, has_events);
        if let (Some(shown), true) = (self.scopes.snapshots.last_mut(), exact) {
            shown.snapshot = Some(snapshot);
        }
    }

    /// Whether nothing makes a snapshot wrong without a doubt.
    fn shows_the_truth(&self) -> bool {
        let Faults { event_lost, row_skipped, row_doubled, .. } = self.faults;
        [event_lost, row_skipped, row_doubled] == [0; 3]
    }
}

fn sockets(snapshot: &ScopedSnapshot) -> Sockets {
    let cgroups = snapshot.cgroups.iter().map(|(&id, &sockets)| (Scope::Cgroup(id), sockets));
    let ports = snapshot.ports.iter().map(|(&port, &sockets)| (Scope::Port(port), sockets));
    cgroups.chain(ports).collect()
}

/// Compares every exact snapshot with the model, and the gauges that begin with the last one. Returns the number of
/// exact snapshots.
fn run_scopes(seed: u64) -> usize {
    let mut model = Model::new(seed);
    model.faults = Faults { event_lost: 0, row_skipped: 0, row_doubled: 0, ..model.faults };
    assert!(model.shows_the_truth());
    let Ok((mut audit, _)) = Audit::seed(model.hooks, &mut model);
    for _ in 0..model.random.below(6) {
        model.pace = model.random.below(8);
        model.run(model.pace * 20);
        let Ok(_) = audit.reconcile(&mut model);
    }
    let transitions = model.random.below(60);
    model.run(transitions);
    let (mut exact, mut last) = (0, None);
    for Shown { cut, truth, snapshot } in std::mem::take(&mut model.scopes.snapshots) {
        let Some(snapshot) = snapshot else { continue };
        assert_eq!(sockets(&snapshot), truth, "seed {seed}: sockets at the cut");
        exact += 1;
        last = Some((cut, truth));
    }
    let Some((cut, truth)) = last else { return exact };
    let now = model.sockets_of_scopes();
    let hooks = Hooks { timewait: true, requests: true };
    for (scope, counted) in &model.scopes.counted {
        let at_cut = cut.get(scope).cloned().unwrap_or_default();
        let base = truth.get(scope).copied().unwrap_or_default();
        let gauges = Ledger::seeded(hooks, &at_cut, &base).counted(counted);
        let expected = now.get(scope).copied().unwrap_or_default();
        for (family, state, sockets) in expected.iter() {
            assert_eq!(
                gauges[(family, state)],
                sockets.cast_signed(),
                "seed {seed}: {scope:?} {state:?}"
            );
        }
    }
    exact
}

#[test]
fn after_an_exact_snapshot_every_scope_equals_the_model() {
    let exact: usize = (0..SEEDS).map(run_scopes).sum();
    assert!(exact > usize::try_from(SEEDS).unwrap(), "{exact} snapshots were exact");
}
