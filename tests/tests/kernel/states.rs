//! Every state, over every kind of address, before and after the start.

use anyhow::Result;
use tcpstat_tests::agreement::{assert_agreement, await_agreement};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::Addressing;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::states::{ALL, Hold};
use tcpstat_tests::wire::Wire;

/// Only transitions can tell of what happens after the start.
const NO_SNAPSHOT: &str = "--snapshot-interval=1h";

/// What transitions cannot tell of is as fresh as this.
const FREQUENT_SNAPSHOTS: &str = "--snapshot-interval=200ms";

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (name, hold) in ALL {
        for addressing in Addressing::ALL {
            let socket = format!("{name}_socket_over_{}", word(addressing));
            tests.push(kernel_test(
                format!("a_{socket}_counts_when_it_was_there_before_the_start"),
                move |namespace| before_the_start(namespace, hold, addressing),
            ));
            tests.push(kernel_test(
                format!("a_{socket}_counts_when_it_comes_and_when_it_goes"),
                move |namespace| after_the_start(namespace, hold, addressing, told_by(name)),
            ));
        }
    }
    tests.push(kernel_test("all_states_count_at_once_with_the_classic_tracepoint", |namespace| {
        all_at_once(namespace, "tracepoint")
    }));
    tests.push(kernel_test("all_states_count_at_once_with_tp_btf", |namespace| {
        all_at_once(namespace, "btf")
    }));
    tests
}

fn word(addressing: Addressing) -> &'static str {
    match addressing {
        Addressing::Ipv4 => "ipv4",
        Addressing::Ipv6 => "ipv6",
        Addressing::Ipv4Mapped => "ipv4_mapped",
    }
}

/// The hooks without which a listing is needed to tell of the socket, where there are such.
fn told_by(name: &str) -> Option<&'static str> {
    match name {
        "syn_recv" => Some("requests"),
        "fin_wait2_orphan" => Some("timewait"),
        _ => None,
    }
}

fn before_the_start(namespace: &Namespace, hold: Hold, addressing: Addressing) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let _held = hold(&wire, addressing)?;
    let mut exporter = Exporter::start(&[NO_SNAPSHOT])?;
    assert_agreement(&mut exporter)?;
    assert_no_correction(&mut exporter)
}

fn after_the_start(
    namespace: &Namespace,
    hold: Hold,
    addressing: Addressing,
    told_by: Option<&str>,
) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut exporter = Exporter::start(&[NO_SNAPSHOT])?;
    let hooks = exporter.hooks()?;
    if told_by.is_some_and(|group| !hooks.contains(group)) {
        drop(exporter);
        exporter = Exporter::start(&[FREQUENT_SNAPSHOTS])?;
    }
    let at_start = assert_agreement(&mut exporter)?;
    let held = hold(&wire, addressing)?;
    let with_it = await_agreement(&mut exporter)?;
    assert_ne!(with_it, at_start, "it made a difference");
    held.end()?;
    proc_view::await_quiet(tcpstat_tests::deadline::DEADLINE)?;
    await_agreement(&mut exporter)?;
    assert_no_correction(&mut exporter)
}

fn all_at_once(namespace: &Namespace, tracer: &str) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let everything = || -> Result<Vec<_>> {
        let mut held = Vec::new();
        for (_, hold) in ALL {
            for addressing in Addressing::ALL {
                held.push(hold(&wire, addressing)?);
            }
        }
        Ok(held)
    };
    let _before = everything()?;
    let mut exporter = Exporter::start(&["--tracer", tracer, FREQUENT_SNAPSHOTS])?;
    let at_start = assert_agreement(&mut exporter)?;
    let after = everything()?;
    let with_all = await_agreement(&mut exporter)?;
    assert_eq!(with_all.values().sum::<u64>() - at_start.values().sum::<u64>(), 2 * 39 - 39 + 3);
    drop(after);
    await_agreement(&mut exporter)?;
    assert_no_correction(&mut exporter)
}

/// The numbers were right by themselves: no snapshot had to mend them.
fn assert_no_correction(exporter: &mut Exporter) -> Result<()> {
    let scrape = exporter.scrape()?;
    for sample in scrape.family("tcpstat_corrections_total") {
        assert_eq!(sample.value, 0.0, "{sample:?}\n{}", exporter.log());
    }
    Ok(())
}
