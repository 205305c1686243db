//! Every state, over every kind of address, before and after the start.

use anyhow::{Context, Result};
use tcpstat_tests::agreement::{assert_agreement, await_agreement};
use tcpstat_tests::corrections::{unexplained_corrections, without_corrections};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view::Connections;
use tcpstat_tests::states::{ALL, Hold};
use tcpstat_tests::wire::Wire;

/// After the start, only transitions and hooks can change the numbers.
const NO_SNAPSHOT: &str = "--snapshot-interval=1h";

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (name, hold) in ALL {
        tests.push(kernel_test(
            format!("a_{name}_socket_that_exists_at_the_start_is_counted"),
            move |namespace| before_the_start(namespace, hold, hooks_for(name)),
        ));
        tests.push(kernel_test(
            format!("a_{name}_socket_is_counted_when_it_appears_and_when_it_ends"),
            move |namespace| after_the_start(namespace, hold, hooks_for(name)),
        ));
    }
    for tracer in ["btf", "tracepoint"] {
        tests.push(kernel_test(
            format!("all_states_are_counted_at_once_with_{tracer}"),
            move |namespace| without_corrections(tracer, || all_at_once(namespace, tracer)),
        ));
    }
    tests
}

/// The hooks that count the socket in its family. Without them that takes a snapshot.
fn hooks_for(name: &str) -> Option<&'static str> {
    match name {
        "syn_recv" => Some("requests"),
        "fin_wait2_orphan" | "time_wait" | "time_wait_after_closing" => Some("timewait"),
        _ => None,
    }
}

/// One socket over each kind of address, which then end one after the other: so each of them was counted.
fn before_the_start(namespace: &Namespace, hold: Hold, hooks: Option<&str>) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let held = of_each_addressing(&wire, hold)?;
    let mut exporter = start(hooks)?;
    let at_start = assert_agreement(&mut exporter)?;
    let mut before = at_start;
    for socket in held {
        let addressing = socket.addressing();
        socket.end()?;
        let without_it = await_agreement(&mut exporter)?;
        assert_ne!(without_it, before, "a socket over {addressing:?} changes no gauge");
        before = without_it;
    }
    assert_no_correction(&mut exporter)
}

/// One socket over each kind of address, one after the other.
fn after_the_start(namespace: &Namespace, hold: Hold, hooks: Option<&str>) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut exporter = start(hooks)?;
    let at_start = assert_agreement(&mut exporter)?;
    for addressing in Addressing::ALL {
        let what = || format!("a socket over {addressing:?}");
        let held = hold(&wire, addressing)?;
        let with_it = await_agreement(&mut exporter).with_context(what)?;
        assert_ne!(with_it, at_start, "{} changes no gauge", what());
        held.end()?;
        let without_it = await_agreement(&mut exporter).with_context(what)?;
        assert_eq!(without_it, at_start, "{}", what());
    }
    assert_no_correction(&mut exporter)
}

/// An exporter without snapshots after the start; if these hooks are needed and do not attach, one with
/// frequent snapshots.
fn start(hooks: Option<&str>) -> Result<Exporter> {
    let mut exporter = Exporter::start(&[NO_SNAPSHOT])?;
    let attached = exporter.hooks()?;
    if hooks.is_none_or(|group| attached.contains(group)) {
        return Ok(exporter);
    }
    drop(exporter);
    Exporter::start(&FREQUENT_SNAPSHOTS)
}

fn of_each_addressing(wire: &Wire, hold: Hold) -> Result<Vec<Held>> {
    Addressing::ALL.into_iter().map(|addressing| hold(wire, addressing)).collect()
}

/// The corrections that no missed event explains.
fn all_at_once(namespace: &Namespace, tracer: &str) -> Result<f64> {
    let wire = Wire::open(namespace)?;
    let everything = || -> Result<Vec<_>> {
        let held = ALL.into_iter().map(|(_, hold)| of_each_addressing(&wire, hold));
        Ok(held.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    };
    let _before = everything()?;
    let args = [&["--tracer", tracer], &FREQUENT_SNAPSHOTS[..]].concat();
    let mut exporter = Exporter::start(&args)?;
    let at_start = assert_agreement(&mut exporter)?;
    let after = everything()?;
    let with_all = await_agreement(&mut exporter)?;
    let sum = |connections: &Connections| connections.values().sum::<u64>();
    // Each half-open request has a listener too.
    let made = after.len() + Addressing::ALL.len();
    assert_eq!(sum(&with_all) - sum(&at_start), u64::try_from(made)?);
    drop(after);
    await_agreement(&mut exporter)?;
    unexplained_corrections(&mut exporter)
}

/// The numbers were right without a correction by a snapshot, except for those of missed events.
fn assert_no_correction(exporter: &mut Exporter) -> Result<()> {
    assert_eq!(unexplained_corrections(exporter)?, 0.0);
    Ok(())
}
