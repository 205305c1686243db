//! Other network namespaces on the running kernel. The tests need the BPF object, CAP_BPF, CAP_PERFMON and
//! CAP_SYS_ADMIN. Where something is missing they say so, and end.

mod cgroup;
mod close_wait;
mod elsewhere;
mod held;
mod held_states;
mod holders;
mod listeners;
mod scopes;
mod stream;

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Mutex, MutexGuard, PoisonError},
};

use elsewhere::{Elsewhere, drop_other_capabilities, expected, netns_cookie};
use socket2::{Domain, Protocol, Socket};
use tcpstat_ebpf::TaskRecord;

use super::{
    Namespaces, Program, Reserved, Slot, Tracer,
    netns_slots::{NetnsKey, NetnsSlots},
    object::OBJECT,
    tasks::{ProcessIds, TaskIterator},
};
use crate::{
    procfs::{Capabilities, Procfs},
    states::{Family, Hooks, State},
    transitions::{TRANSITIONS, Transitions},
};

/// What full sockets did: where the kernel accepts hooks the counters also have mini-sockets and requests.
fn full(transitions: &Transitions) -> Transitions {
    let mut full = Transitions::default();
    for (family, old, new, times) in transitions.seen() {
        if TRANSITIONS.contains(&(old, new)) {
            full.add(family, old, new, times);
        }
    }
    full
}

fn counted(tracer: &Tracer, slot: Slot) -> Transitions {
    full(&tracer.counters.read(slot))
}

/// Mini-sockets and requests that appeared in the namespace of this slot.
fn hooked(tracer: &Tracer, slot: Slot) -> (u64, u64) {
    let transitions = tracer.counters.read(slot);
    let appeared = |state| transitions.get(Family::Ipv4, State::Close, state);
    let timewait = appeared(State::TimeWait) + appeared(State::FinWait2Mini);
    (timewait, appeared(State::NewSynRecv))
}

/// Each connection ends with one mini-socket, and begins with one request.
fn expected_by_hooks(tracer: &Tracer, connections: u64) -> (u64, u64) {
    let Hooks { timewait, requests } = tracer.hooks;
    (connections * u64::from(timewait), connections * u64::from(requests))
}

/// Where the tests can run, lets one after the other run. Elsewhere prints what is missing.
///
/// While another thread is in a bpf(2) call on a map, the kernel skips programs of a classic tracepoint on that
/// CPU.
/// A raw socket with the protocol of TCP, in what is ESTABLISHED by its number.
fn raw_socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, libc::SOCK_RAW.into(), Some(Protocol::TCP)).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket
}

fn can_run() -> Option<MutexGuard<'static, ()>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let capabilities = Capabilities::effective().unwrap();
    let missing = if OBJECT.is_empty() {
        "the BPF object: set TCPSTAT_BPF_OBJECT"
    } else if !(capabilities.bpf() && capabilities.perfmon()) {
        "CAP_BPF and CAP_PERFMON"
    } else if !capabilities.sys_admin() {
        "CAP_SYS_ADMIN, to make network namespaces"
    } else {
        return Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
    };
    println!("ignored: it lacks {missing}");
    None
}

/// Enough for the namespaces that other processes of this machine make meanwhile.
const OTHERS: u32 = 500;

fn load(program: Program, others: u32) -> Tracer {
    let inum = Procfs::new(Procfs::DEFAULT_ROOT).netns_inum().unwrap();
    Tracer::load(program, inum, Namespaces::All { others }).unwrap_or_else(|error| {
        error.write_kernel_log();
        panic!("{error}: {:?}", std::error::Error::source(&error))
    })
}

fn slots(tracer: &mut Tracer) -> &mut NetnsSlots {
    tracer.netns_slots.as_mut().unwrap()
}

fn new_namespaces(tracer: &mut Tracer) -> HashMap<NetnsKey, Slot> {
    slots(tracer).new_namespaces().unwrap().into_iter().collect()
}

fn processes() -> HashMap<u32, TaskRecord> {
    processes_by(ProcessIds::Initial)
}

fn processes_by(ids: ProcessIds) -> HashMap<u32, TaskRecord> {
    let mut found = HashMap::new();
    let mut iterator = TaskIterator::load(ids).unwrap();
    assert_eq!(iterator.ids, ids);
    iterator.each_process(|task| assert_eq!(found.insert(task.pid, task), None)).unwrap();
    found
}

fn keys<const LENGTH: usize>(elsewhere: [&Elsewhere; LENGTH]) -> [NetnsKey; LENGTH] {
    let processes = processes();
    elsewhere.map(|it| processes[&it.process.id()].netns_key)
}

/// Takes the slot of a namespace.
fn retired(tracer: &mut Tracer, key: NetnsKey) -> Vec<(NetnsKey, Slot)> {
    let (retired, refused) = slots(tracer).retire(&[key]);
    assert!(refused.is_none(), "{refused:?}");
    retired
}

#[test]
fn process_ids_are_those_of_a_level() {
    let Some(_alone) = can_run() else { return };
    let elsewhere = Elsewhere::new();
    let ids = [std::process::id(), elsewhere.process.id()];
    let of_process = |processes: HashMap<u32, TaskRecord>| ids.map(|id| processes[&id]);
    let own_level = of_process(processes_by(ProcessIds::LevelsUp(0)));
    if Procfs::in_initial_pid_namespace() == Some(true) {
        assert_eq!(of_process(processes()), own_level);
        assert_eq!(processes_by(ProcessIds::LevelsUp(1)), HashMap::new(), "there is no such level");
    }
}

#[test]
fn processes_are_listed_with_their_namespaces() {
    let Some(_alone) = can_run() else { return };
    let own_inum = Procfs::new(Procfs::DEFAULT_ROOT).netns_inum().unwrap();
    let own_cookie = netns_cookie(&UdpSocket::bind("127.0.0.1:0").unwrap());
    let (one, other) = (Elsewhere::new(), Elsewhere::new());
    let processes = processes();
    let own = processes[&std::process::id()];
    let [one, other] = [&one, &other].map(|it| (it.cookie, processes[&it.process.id()]));
    assert_eq!(own.netns_inum, own_inum);
    assert_eq!(own_cookie, own_cookie.and(Some(own.netns_key)));
    for (cookie, task) in [one, other] {
        assert_eq!(cookie, cookie.and(Some(task.netns_key)));
        assert_ne!(task.netns_inum, own_inum);
        assert_eq!(task.cgroup, own.cgroup, "a child is in the cgroup of its parent");
    }
    assert_ne!(one.1.netns_inum, other.1.netns_inum);
    assert_ne!(one.1.netns_key, other.1.netns_key);
}

#[test]
fn cap_bpf_and_cap_perfmon_suffice_to_list_processes_and_to_count_namespaces() {
    let Some(_alone) = can_run() else { return };
    let elsewhere = Elsewhere::new();
    let unprivileged = std::thread::spawn(move || {
        drop_other_capabilities();
        let [key] = keys([&elsewhere]);
        assert_eq!(elsewhere.cookie, elsewhere.cookie.and(Some(key)));
        let mut tracer = load(Program::TpBtf, OTHERS);
        elsewhere.connect(1);
        let slot = new_namespaces(&mut tracer)[&key];
        assert_eq!(counted(&tracer, slot), expected(1, 1));
    });
    unprivileged.join().unwrap();
}

#[test]
fn each_namespace_is_counted_in_its_own_slot() {
    let Some(_alone) = can_run() else { return };
    for program in Program::in_order() {
        let mut tracer = load(program, OTHERS);
        let (one, other) = (Elsewhere::new(), Elsewhere::new());
        one.connect(3);
        other.connect(5);
        let found = new_namespaces(&mut tracer);
        let keys = keys([&one, &other]);
        let slots = keys.map(|key| found[&key]);
        let before = slots.map(|slot| counted(&tracer, slot));
        assert_eq!(before, [expected(1, 3), expected(1, 5)], "{program:?}");

        // Now by tags.
        one.connect(7);
        other.connect(11);
        let after = slots.map(|slot| counted(&tracer, slot));
        assert_eq!(after, [expected(2, 10), expected(2, 16)], "{program:?}");
        for (slot, connections) in slots.into_iter().zip([10, 16]) {
            assert_eq!(
                hooked(&tracer, slot),
                expected_by_hooks(&tracer, connections),
                "{program:?}"
            );
        }
        let again = new_namespaces(&mut tracer);
        assert!(!keys.iter().any(|key| again.contains_key(key)), "{again:?}");
    }
}

/// Also one that shares its slot, and one that came between the reading and the cut of a log.
#[test]
fn a_namespace_that_has_not_been_read_is_noticed() {
    let Some(_alone) = can_run() else { return };
    let mut tracer = load(Program::TpBtf, 0);
    let (one, other) = (Elsewhere::new(), Elsewhere::new());
    one.connect(1);
    let assigned = tracer.netns_assigned();
    assert!(!slots(&mut tracer).all_known(assigned));
    let [key, other_key] = keys([&one, &other]);
    assert_eq!(new_namespaces(&mut tracer)[&key], Slot::OTHER);
    slots(&mut tracer).note_known();
    let known = tracer.netns_assigned();
    assert!(slots(&mut tracer).all_known(known));

    other.connect(1);
    let log = tracer.log.open(Slot::OTHER).unwrap();
    let at_cut = log.close(|_| {}).netns_assigned;
    assert!(at_cut > known && !slots(&mut tracer).all_known(at_cut));
    assert_eq!(new_namespaces(&mut tracer)[&other_key], Slot::OTHER);
    slots(&mut tracer).note_known();
    let assigned = tracer.netns_assigned();
    assert!(slots(&mut tracer).all_known(assigned));
}

fn connect_in_all(all: &[Elsewhere], threads: u32, count: u32) {
    for elsewhere in all {
        elsewhere.begin(threads, count);
    }
    for elsewhere in all {
        elsewhere.finish();
    }
}

#[test]
fn many_namespaces_whose_sockets_appear_at_once_have_a_slot_each() {
    let Some(_alone) = can_run() else { return };
    // Since 7.0 `tp_btf` misses events of threads that preempt one another.
    let [program, _] = Program::in_order();
    let mut tracer = load(program, OTHERS);
    let all: [Elsewhere; 50] = std::array::from_fn(|_| Elsewhere::new());
    connect_in_all(&all, 3, 1);
    let found = new_namespaces(&mut tracer);
    let slots = keys(all.each_ref()).map(|key| found[&key]);
    assert_eq!(HashSet::from(slots).len(), all.len());
    for slot in slots {
        assert_eq!(counted(&tracer, slot), expected(3, 3), "{slot:?}");
    }
    // Some find their slots by tags now, and some can have no tag.
    connect_in_all(&all, 2, 2);
    for slot in slots {
        assert_eq!(counted(&tracer, slot), expected(5, 7), "{slot:?}");
    }
}

#[test]
fn a_slot_is_found_by_its_tag_alone_and_by_its_entry_alone() {
    let Some(_alone) = can_run() else { return };
    for program in Program::in_order() {
        let mut tracer = load(program, OTHERS);
        let elsewhere = Elsewhere::new();
        let [key] = keys([&elsewhere]);
        let slot = slots(&mut tracer).slot(key).unwrap();

        slots(&mut tracer).leave_only_the_entry(key);
        elsewhere.connect(1);
        assert_eq!(counted(&tracer, slot), expected(1, 1), "{program:?}");
        assert_eq!(new_namespaces(&mut tracer).get(&key), None, "it is not new");

        assert_eq!(retired(&mut tracer, key), [(key, slot)]);
        let slot = slots(&mut tracer).slot(key).unwrap();
        slots(&mut tracer).leave_only_the_tag(key);
        elsewhere.connect(2);
        assert_eq!(counted(&tracer, slot), expected(1, 2), "{program:?}");
        assert!(!slots(&mut tracer).has_entry(key), "no program has searched for it");
    }
}

#[test]
fn the_log_of_a_slot_has_the_events_of_its_namespace_alone() {
    let Some(_alone) = can_run() else { return };
    let mut tracer = load(Program::TpBtf, OTHERS);
    let (one, other) = (Elsewhere::new(), Elsewhere::new());
    let [key] = keys([&one]);
    let slot = slots(&mut tracer).slot(key).unwrap();
    one.connect(2);
    let log = tracer.log.open(slot).unwrap();
    let cut = log.cut().clone();
    one.connect(3);
    other.connect(4);
    let mut events = Transitions::default();
    let closed = log.close(|event| events.add(event.tuple.family, event.old, event.new, 1));
    assert!(closed.complete(), "{closed:?}");
    assert_eq!(full(&cut), expected(1, 2));
    assert_eq!(full(&events), expected(1, 3));
    one.connect(1);
    assert_eq!(counted(&tracer, slot), expected(3, 6));
}

#[test]
fn a_namespace_without_a_free_slot_is_counted_with_the_others() {
    let Some(_alone) = can_run() else { return };
    let mut tracer = load(Program::TpBtf, 0);
    let elsewhere = Elsewhere::new();
    elsewhere.connect(2);
    let found = new_namespaces(&mut tracer);
    let [key] = keys([&elsewhere]);
    assert_eq!(found[&key], Slot::OTHER);
    // Other namespaces of this machine are counted there too.
    let counted = counted(&tracer, Slot::OTHER);
    assert!(counted.get(Family::Ipv4, State::Close, State::SynSent) >= 2, "{counted:?}");
    assert_eq!(retired(&mut tracer, key), [], "it is not its own");
}

#[test]
fn a_tracer_that_is_loaded_beside_another_keeps_the_slots_of_namespaces_for_them() {
    let Some(_alone) = can_run() else { return };
    let [known, faster] = [Elsewhere::new(), Elsewhere::new()];
    let [known_key, faster_key] = keys([&known, &faster]);
    let [first, second] = Program::in_order();
    let tracer = load(first, 1);
    let reserved = Reserved { netns: vec![known_key], ..Reserved::default() };
    let mut beside = tracer.load_beside(second, &reserved).unwrap();
    faster.connect(2);
    known.connect(3);
    let found = [known_key, faster_key].map(|key| slots(&mut beside).slot(key).unwrap());
    assert!(found[0] != Slot::OTHER && found[1] == Slot::OTHER, "{found:?}");
    assert_eq!(counted(&beside, found[0]), expected(1, 3));
}

#[test]
fn a_retired_slot_counts_nothing_until_it_is_free_again() {
    let Some(_alone) = can_run() else { return };
    let mut tracer = load(Program::TpBtf, OTHERS);
    let elsewhere = Elsewhere::new();
    let [key] = keys([&elsewhere]);
    elsewhere.connect(1);
    let slot = slots(&mut tracer).slot(key).unwrap();
    assert_eq!(slots(&mut tracer).slot(key).unwrap(), slot, "it stays the same");
    assert_eq!(retired(&mut tracer, key), [(key, slot)]);
    let zero = tracer.counters.read(slot);
    elsewhere.connect(1);
    assert_eq!(tracer.counters.read(slot), zero);
    let again = new_namespaces(&mut tracer)[&key];
    assert_ne!(again, slot);
    assert_eq!(counted(&tracer, again), expected(1, 1));
    slots(&mut tracer).make_free(slot).unwrap();
}
