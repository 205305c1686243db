//! Cgroups and ports of one network namespace on the running kernel.

use std::collections::HashMap;

use tcpstat_ebpf::ROOT_CGROUP;

use super::{
    can_run,
    cgroup::Cgroup,
    elsewhere::{Elsewhere, expected},
    full,
};
use crate::{
    dwell::DwellChoice,
    kernel::{
        Namespaces, Program, Reserved, ScopeKinds, ScopeMaps, Slot, SocketIterator, Tracer,
        WantedIterators,
    },
    snapshot::{BrokenRow, Kind, Row, RowSink},
    states::{Family, State},
    transitions::Transitions,
};

/// Counts cgroups and this port in the namespace.
fn load(program: Program, elsewhere: &Elsewhere, port: u16) -> Tracer {
    load_kinds(program, elsewhere, ScopeKinds { cgroups: Some(8), ports: vec![port] })
}

fn load_kinds(program: Program, elsewhere: &Elsewhere, kinds: ScopeKinds) -> Tracer {
    Tracer::load_with(
        program,
        elsewhere.inum(),
        Namespaces::Own,
        kinds,
        DwellChoice::default(),
        WantedIterators::default(),
    )
    .unwrap_or_else(|error| {
        error.write_kernel_log();
        panic!("{error}: {:?}", std::error::Error::source(&error))
    })
}

fn scopes(tracer: &mut Tracer) -> &mut ScopeMaps {
    tracer.scopes.as_mut().unwrap()
}

fn counted(tracer: &Tracer, slot: Slot) -> Transitions {
    full(&tracer.scopes.as_ref().unwrap().counters.read(slot))
}

fn new_cgroups(tracer: &mut Tracer) -> HashMap<u64, Slot> {
    let cgroups = scopes(tracer).cgroups.as_mut().unwrap();
    cgroups.new_namespaces().unwrap().into_iter().collect()
}

/// The sum of two.
fn plus(all: &[Transitions]) -> Transitions {
    all.iter().fold(Transitions::default(), |sum, each| sum.plus(each))
}

const PORT: u16 = 443;

#[test]
fn each_cgroup_and_each_port_is_counted_in_its_own_slot() {
    let Some(_alone) = can_run() else { return };
    let Some((one, other)) = Cgroup::new("one").zip(Cgroup::new("other")) else {
        return println!("ignored: it lacks cgroups (v2) that can be made");
    };
    for program in Program::in_order() {
        let elsewhere = Elsewhere::new();
        let mut tracer = load(program, &elsewhere, PORT);
        one.inside(|| elsewhere.connect_to(PORT, 3));
        other.inside(|| elsewhere.connect_to(PORT + 1, 5));
        let found = new_cgroups(&mut tracer);
        let slots = [one.id(), other.id()].map(|id| found[&id]);
        let by_cgroup = slots.map(|slot| counted(&tracer, slot));
        assert_eq!(by_cgroup, [expected(1, 3), expected(1, 5)], "{program:?}");
        // Now by tags.
        one.inside(|| elsewhere.connect_to(PORT, 2));
        other.inside(|| elsewhere.connect_to(PORT, 1));
        let by_cgroup = slots.map(|slot| counted(&tracer, slot));
        assert_eq!(by_cgroup, [expected(2, 5), expected(2, 6)], "{program:?}");

        let port = scopes(&mut tracer).ports[&PORT];
        let [by_port, other_ports] =
            [port, ScopeMaps::OTHER_PORTS].map(|slot| counted(&tracer, slot));
        let server = [
            (State::Listen, State::SynRecv),
            (State::SynRecv, State::Established),
            (State::Established, State::CloseWait),
            (State::CloseWait, State::LastAck),
            (State::LastAck, State::Close),
        ];
        for (old, new) in server {
            assert_eq!(by_port.get(Family::Ipv4, old, new), 6, "{program:?}: {old:?} {new:?}");
        }
        assert_eq!(by_port.get(Family::Ipv4, State::Close, State::SynSent), 0);
        let own = full(&tracer.counters.read(Slot::OWN));
        assert_eq!(plus(&[by_port, other_ports]), own, "{program:?}");
        assert_eq!(plus(&by_cgroup), own, "{program:?}");
        assert_eq!(counted(&tracer, ScopeMaps::OTHER_CGROUPS), Transitions::default());
    }
}

#[test]
fn a_cgroup_without_a_free_slot_and_one_that_is_moved_are_counted_with_the_others() {
    let Some(_alone) = can_run() else { return };
    let Some((one, other)) = Cgroup::new("moved").zip(Cgroup::new("late")) else {
        return println!("ignored: it lacks cgroups (v2) that can be made");
    };
    let elsewhere = Elsewhere::new();
    let kinds = ScopeKinds { cgroups: Some(1), ports: Vec::new() };
    let [program, _] = Program::in_order();
    let mut tracer = load_kinds(program, &elsewhere, kinds);
    one.inside(|| elsewhere.connect(2));
    other.inside(|| elsewhere.connect(3));
    let found = new_cgroups(&mut tracer);
    assert_eq!(found[&other.id()], ScopeMaps::OTHER_CGROUPS);
    let slot = found[&one.id()];
    assert_eq!(counted(&tracer, slot), expected(1, 2));
    assert_eq!(counted(&tracer, ScopeMaps::OTHER_CGROUPS), expected(1, 3));

    let cgroups = scopes(&mut tracer).cgroups.as_mut().unwrap();
    assert_eq!(cgroups.move_to(one.id(), Slot::OTHER).unwrap(), Some(slot));
    assert_eq!(cgroups.move_to(one.id(), Slot::OTHER).unwrap(), None, "it has none of its own");
    one.inside(|| elsewhere.connect(4));
    assert_eq!(counted(&tracer, slot), expected(1, 2));
    assert_eq!(counted(&tracer, ScopeMaps::OTHER_CGROUPS), expected(2, 7));
}

#[test]
fn a_tracer_that_is_loaded_beside_another_keeps_the_slots_of_cgroups_for_them() {
    let Some(_alone) = can_run() else { return };
    let cgroups = ["one", "restarted", "none", "faster"].map(Cgroup::new);
    let [Some(one), Some(restarted), Some(none), Some(faster)] = cgroups else {
        return println!("ignored: it lacks cgroups (v2) that can be made");
    };
    let elsewhere = Elsewhere::new();
    let kinds = ScopeKinds { cgroups: Some(1), ports: Vec::new() };
    let [first, second] = Program::in_order();
    let tracer = load_kinds(first, &elsewhere, kinds);
    let reserved = Reserved {
        cgroups: vec![vec![one.id(), restarted.id()]],
        other_cgroups: vec![none.id()],
        ..Reserved::default()
    };
    let mut beside = tracer.load_beside(second, &reserved).unwrap();
    for (cgroup, connections) in [(&none, 2), (&faster, 3), (&one, 4), (&restarted, 5)] {
        cgroup.inside(|| elsewhere.connect(connections));
    }
    let cgroups = scopes(&mut beside).cgroups.as_mut().unwrap();
    let slot = cgroups.slot(one.id()).unwrap();
    assert_eq!(cgroups.slot(restarted.id()).unwrap(), slot);
    assert_eq!(counted(&beside, slot), expected(2, 9));
    assert_eq!(counted(&beside, ScopeMaps::OTHER_CGROUPS), expected(2, 5));
}

#[test]
fn the_log_and_the_iterator_have_the_cgroup_and_the_local_port() {
    let Some(_alone) = can_run() else { return };
    let Some(cgroup) = Cgroup::new("rows") else {
        return println!("ignored: it lacks cgroups (v2) that can be made");
    };
    for program in Program::in_order() {
        let elsewhere = Elsewhere::new();
        let mut tracer = load(program, &elsewhere, PORT);
        let mut log = tracer.log.open(Slot::OWN).unwrap();
        cgroup.inside(|| elsewhere.connect_to(PORT, 2));
        let mut events = Vec::new();
        log.drain(|event| events.push(event));
        assert!(log.close(|event| events.push(event)).complete());
        let ports = events.iter().filter(|event| event.tuple.sport == PORT).count();
        assert!(ports >= 2 * 5, "{program:?}: {events:?}");
        let without = events.iter().filter(|event| event.cgroup != cgroup.id());
        assert!(without.clone().all(|event| event.cgroup == 0), "{events:?}");
        let full = |state| crate::states::Object::in_state(state) == crate::states::Object::Full;
        assert!(without.clone().all(|event| !full(event.old) || !full(event.new)), "{events:?}");
    }
    let elsewhere = Elsewhere::new();
    let rows = cgroup.inside(|| elsewhere.rows_while_connected(PORT));
    let kinds: Vec<_> =
        rows.iter().filter(|row| row.sport == PORT).map(|row| (row.kind, row.cgroup)).collect();
    assert!(kinds.contains(&(Kind::Full(State::Listen), cgroup.id())), "{rows:?}");
    assert!(kinds.contains(&(Kind::Full(State::Established), cgroup.id())), "{rows:?}");
    assert!(rows.iter().all(|row| row.cgroup != ROOT_CGROUP), "{rows:?}");
}

/// All rows.
#[derive(Default)]
pub(super) struct Rows(pub(super) Vec<Row>);

impl RowSink for Rows {
    fn listed(&mut self) {}

    fn row(&mut self, row: &Row) {
        self.0.push(*row);
    }

    fn broken(&mut self, row: BrokenRow<'_>) {
        panic!("{row:?}");
    }
}

/// The rows of the network namespace of the calling thread.
pub(super) fn rows_with_cgroups() -> Vec<Row> {
    let mut rows = Rows::default();
    SocketIterator::load_with(true).unwrap().each_socket(&mut rows).unwrap();
    rows.0
}
