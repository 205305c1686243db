//! Every state in a namespace that is not the exporter's own, before and after the start.

use anyhow::{Context, Result, ensure};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::scopes::{Counts, Distant, FREQUENT, await_right};
use tcpstat_tests::states::{ALL, Hold};
use tcpstat_tests::wire::Wire;

/// After the start, only transitions can change the gauges.
const NO_SNAPSHOT: &str = "--snapshot-interval=1h";

/// Those that no transition shows: mini-sockets and requests. Without hooks that takes a snapshot.
const MINI: [&str; 4] = ["syn_recv", "fin_wait2_orphan", "time_wait", "time_wait_after_closing"];

/// A state by its name.
type Named = (&'static str, Hold);

/// A test of some states.
type Promise = fn(&Namespace, &[&str], &[Named]) -> Result<()>;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    let promises: [(&str, Promise); 2] = [
        ("that_exist_at_the_start_are_counted_in_another_namespace", before_the_start),
        ("that_appear_and_end_are_counted_in_another_namespace", after_the_start),
    ];
    for (promise, test) in promises {
        for program in ["btf", "tracepoint"] {
            tests.push(kernel_test(
                format!("full_sockets_{promise}_with_{program}"),
                move |namespace| test(namespace, &["--tracer", program, NO_SNAPSHOT], &full()),
            ));
        }
        tests.push(kernel_test(format!("mini_sockets_and_requests_{promise}"), move |namespace| {
            test(namespace, &FREQUENT, &mini())
        }));
    }
    tests
}

fn full() -> Vec<Named> {
    ALL.into_iter().filter(|(name, _)| !MINI.contains(name)).collect()
}

fn mini() -> Vec<Named> {
    ALL.into_iter().filter(|(name, _)| MINI.contains(name)).collect()
}

/// Sockets in each of the states, which then end one after the other: so each of them was counted.
fn before_the_start(namespace: &Namespace, args: &[&str], states: &[Named]) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut held: Vec<(&str, Held)> = Vec::new();
    for (name, hold) in states {
        for addressing in [Addressing::Ipv4, Addressing::Ipv6] {
            held.push((name, hold(&wire, addressing)?));
        }
    }
    let mut exporter = Distant::start(args)?;
    let mut before = right(&mut exporter)?;
    for (name, socket) in held {
        socket.end()?;
        let without_it = right(&mut exporter).with_context(|| format!("the end of {name}"))?;
        ensure!(without_it != before, "{name} changes no gauge");
        before = without_it;
    }
    Ok(())
}

/// One socket in each of the states, one after the other.
fn after_the_start(namespace: &Namespace, args: &[&str], states: &[Named]) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut exporter = Distant::start(args)?;
    let at_start = right(&mut exporter)?;
    for (name, hold) in states {
        for addressing in [Addressing::Ipv4, Addressing::Ipv6] {
            let held = hold(&wire, addressing)?;
            let with_it = right(&mut exporter).with_context(|| (*name).to_owned())?;
            ensure!(with_it != at_start, "{name} changes no gauge");
            held.end()?;
            let without_it = right(&mut exporter).with_context(|| format!("the end of {name}"))?;
            ensure!(without_it == at_start, "{name}: {at_start:?}, then {without_it:?}");
        }
    }
    Ok(())
}

/// Waits until the gauges of the test's namespace, where this process is, are right.
fn right(distant: &mut Distant) -> Result<Counts> {
    let found = await_right(&mut distant.exporter, std::process::id());
    Ok(found.with_context(|| distant.exporter.log())?.1)
}
