//! The programs of `tcpstat events` on the running kernel.

use std::{net::IpAddr, ops::ControlFlow};

use super::{
    super::{Program, TransitionStream},
    can_run,
    elsewhere::{Elsewhere, expected},
};
use crate::{
    procfs::Procfs,
    states::State,
    stream::{Filter, StatePair, Transition},
    transitions::Transitions,
};

/// Enough for every test but one.
const RING_BYTES: u32 = 1 << 20;

fn load(program: Program, filter: &Filter, bytes: u32) -> TransitionStream {
    TransitionStream::load_first(&[program], filter, bytes)
        .unwrap_or_else(|refused| panic!("{program:?}: {refused:?}"))
}

/// What the ring buffer has after the program has ended.
fn rest(stream: &mut TransitionStream) -> Vec<Transition> {
    stream.stop();
    let mut all = Vec::new();
    let is_empty = stream.read(|transition| {
        all.push(transition);
        ControlFlow::Continue(())
    });
    assert!(is_empty);
    all
}

fn sum(all: &[Transition]) -> Transitions {
    let mut transitions = Transitions::default();
    for it in all {
        transitions.add(it.family, it.old, it.new, 1);
    }
    transitions
}

#[test]
fn each_program_writes_every_transition_of_a_namespace_with_the_process_that_makes_it() {
    let Some(_alone) = can_run() else { return };
    for program in Program::in_order() {
        let (elsewhere, other) = (Elsewhere::new(), Elsewhere::new());
        let filter = Filter { netns: Some(elsewhere.inum()), ..Filter::default() };
        let mut stream = load(program, &filter, RING_BYTES);
        other.connect(1);
        elsewhere.connect(3);
        let all = rest(&mut stream);
        assert_eq!(sum(&all), expected(1, 3), "{program:?}");
        assert_eq!(stream.lost(), 0);
        assert!(all.iter().all(|it| it.netns_inum == elsewhere.inum()), "{all:?}");
        assert!(all.iter().all(|it| it.local.ip() == IpAddr::from([127, 0, 0, 1])), "{all:?}");
        assert!(all.iter().all(|it| it.time != 0 && it.skaddr != 0), "{all:?}");
        let own = Procfs::in_initial_pid_namespace().unwrap().then(std::process::id);
        for it in &all {
            let pid = it.process.map(|process| process.pid);
            match (it.old, it.new) {
                (State::Close, _) => assert_eq!(pid, own, "{it:?}"),
                (State::Listen, State::SynRecv) => assert_eq!(pid, None, "{it:?}"),
                _ => {}
            }
            let heard = it.old == State::CloseWait;
            assert!(!heard || it.silence.is_some(), "{it:?}");
            assert_eq!(it.cause.is_some(), it.new == State::Close, "{it:?}");
        }
    }
}

#[test]
fn each_filter_leaves_out_what_does_not_fit() {
    let Some(_alone) = can_run() else { return };
    let pairs = |text: &str| {
        let mut filter = Filter::default();
        filter.keep(&[], &[StatePair::parse(text).unwrap()]);
        filter
    };
    let prefixes = |text: &str| vec![text.parse().unwrap()];
    // A connection makes ten transitions, five at each end, and a listener two.
    for (filter, transitions) in [
        (Filter::default(), 12),
        (pairs("syn_sent:*"), 1),
        (pairs("*:close"), 3),
        (Filter { ports: vec![8080..=8080], ..Filter::default() }, 12),
        (Filter { ports: vec![1..=8079, 8081..=8081], ..Filter::default() }, 0),
        (Filter { local_ports: vec![8000..=8080], ..Filter::default() }, 7),
        (Filter { remote_ports: vec![8080..=9000], ..Filter::default() }, 5),
        (Filter { addresses: prefixes("127.0.0.1"), ..Filter::default() }, 12),
        (Filter { addresses: prefixes("127.0.0.0/8"), ..Filter::default() }, 12),
        (Filter { addresses: prefixes("10.0.0.0/8"), ..Filter::default() }, 0),
        (Filter { addresses: prefixes("2001:db8::/32"), ..Filter::default() }, 0),
        (Filter { causes: vec![tcpstat_ebpf::Cause::None], ..Filter::default() }, 3),
        (Filter { causes: vec![tcpstat_ebpf::Cause::Reset], ..Filter::default() }, 0),
    ] {
        // Both programs have the same filters.
        let [program, _] = Program::in_order();
        let elsewhere = Elsewhere::new();
        let filter = Filter { netns: Some(elsewhere.inum()), ..filter };
        let mut stream = load(program, &filter, RING_BYTES);
        elsewhere.connect_to(8080, 1);
        assert_eq!(rest(&mut stream).len(), transitions, "{filter:?}");
    }
}

#[test]
fn what_does_not_fit_in_the_ring_buffer_is_lost_and_counted() {
    let Some(_alone) = can_run() else { return };
    for program in Program::in_order() {
        let elsewhere = Elsewhere::new();
        let filter = Filter { netns: Some(elsewhere.inum()), ..Filter::default() };
        let mut stream = load(program, &filter, 4096);
        elsewhere.connect(100);
        let all = rest(&mut stream);
        assert_eq!(all.len() as u64 + stream.lost(), expected(1, 100).total(), "{program:?}");
        assert!(stream.lost() > 100 && all.iter().all(|it| it.lost == 0), "{program:?}");
    }
}

#[test]
fn a_cgroup_that_is_not_wanted_is_left_out_and_one_without_a_verdict_is_not() {
    let Some(_alone) = can_run() else { return };
    for program in Program::in_order() {
        let elsewhere = Elsewhere::new();
        let filter = Filter { netns: Some(elsewhere.inum()), by_cgroup: true, ..Filter::default() };
        let mut stream = load(program, &filter, RING_BYTES);
        elsewhere.connect(1);
        let mut cgroups = Vec::new();
        stream.read(|transition| {
            cgroups.extend(transition.cgroup);
            ControlFlow::Continue(())
        });
        assert_eq!(cgroups.len(), 12, "{program:?}");
        stream.set_cgroup(cgroups[0], false);
        elsewhere.connect(1);
        assert_eq!(rest(&mut stream), [], "{program:?}");
    }
}
