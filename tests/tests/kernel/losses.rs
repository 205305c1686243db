//! A tracer that loses transitions without counting them, as kernels do. The exporter notices in calm that some
//! are lost, and corrects the gauges. The snapshot interval is an hour, so that no snapshot finds them by chance.

use anyhow::{Context, Result, ensure};
use tcpstat_tests::agreement::await_agreement_between_snapshots;
use tcpstat_tests::binary::path_from;
use tcpstat_tests::corrections::corrections;
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::flow::Rest;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::Addressing;
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::states;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::wire::Wire;

/// The binary whose tracer loses the transitions that `TCPSTAT_LOSE` names.
pub(crate) const LOSING_BINARY_VARIABLE: &str = "TCPSTAT_LOSING_BIN";

/// From, to, and the number of such transitions of which one is lost.
const TRANSITIONS: [(&str, &str, u32); 19] = [
    ("close", "syn_sent", 100),
    ("close", "listen", 2),
    ("syn_sent", "established", 100),
    ("syn_sent", "close", 1),
    ("listen", "syn_recv", 100),
    ("listen", "close", 2),
    ("syn_recv", "established", 100),
    ("established", "fin_wait1", 100),
    ("established", "close_wait", 100),
    ("established", "close", 100),
    ("fin_wait1", "fin_wait2", 100),
    ("fin_wait1", "closing", 1),
    ("fin_wait1", "close", 1),
    ("fin_wait2", "close", 100),
    ("close_wait", "last_ack", 100),
    ("close_wait", "close", 1),
    ("last_ack", "close", 100),
    ("closing", "close", 1),
    // Of all transitions.
    ("any", "", 1000),
];

pub(crate) fn tests() -> Vec<Test> {
    let test = |(from, to, one_in): (&'static str, &'static str, u32)| {
        let (lost, name) = if to.is_empty() {
            (format!("{from}:{one_in}"), "transitions_of_every_kind".to_owned())
        } else {
            (format!("{from}:{to}:{one_in}"), format!("transitions_from_{from}_to_{to}"))
        };
        kernel_test(format!("lost_{name}_are_noticed_in_calm_and_corrected"), move |namespace| {
            lost_transitions_are_corrected(namespace, &lost)
        })
    };
    let without_cell = ["btf", "tracepoint"].map(|tracer| {
        let name = format!("transitions_that_{tracer}_has_no_counter_for_are_missed_and_corrected");
        kernel_test(name, move |_: &Namespace| unknown_transitions_are_corrected(tracer))
    });
    TRANSITIONS.into_iter().map(test).chain(without_cell).collect()
}

fn lost_transitions_are_corrected(namespace: &Namespace, lost: &str) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut exporter = Options::default()
        .binary(path_from(LOSING_BINARY_VARIABLE)?)
        .env("TCPSTAT_LOSE", lost)
        .args(["--snapshot-interval=1h"])
        .start()?;
    let mut held = Vec::new();
    for (_, hold) in states::ALL {
        held.push(hold(&wire, Addressing::Ipv4)?);
    }
    churn()?;
    await_agreement_between_snapshots(&mut exporter)?;
    for socket in held {
        socket.end()?;
    }
    churn()?;
    await_agreement_between_snapshots(&mut exporter)?;
    assert_corrected(&mut exporter)
}

/// The tracer has a counter for each transition that TCP makes. This one lacks some on purpose.
fn unknown_transitions_are_corrected(tracer: &str) -> Result<()> {
    let mut exporter = Options::default()
        .binary(path_from(LOSING_BINARY_VARIABLE)?)
        .env("TCPSTAT_LOSE", "without_cell:established:close_wait:10")
        .args(["--tracer", tracer, "--snapshot-interval=1h"])
        .start()?;
    let before = Rest::await_with(&mut exporter)?;
    let churn = Churn { threads: 1, connections: 200, family: Family::Ipv6, resets: false };
    let made: u64 = churn.run()?.transitions().values().sum();
    await_agreement_between_snapshots(&mut exporter)?;
    let counted = Rest::await_with(&mut exporter)?.counted_since(&before);
    let scrape = exporter.scrape()?;
    let missed = scrape.family("tcpstat_events_missed_total").first().and_then(|it| it.count());
    let missed = missed.context("no tcpstat_events_missed_total")?;
    let uncounted = made - counted;
    ensure!(uncounted > 0, "every transition was counted");
    // The kernel also reports events of other namespaces that it skips, such as the end of their mini-sockets.
    ensure!(missed >= uncounted, "{uncounted} uncounted, {missed} missed: {}", exporter.log());
    assert_corrected(&mut exporter)
}

/// So many transitions that the exporter checks the tracer, then calm.
fn churn() -> Result<()> {
    Churn { threads: 8, connections: 250, family: Family::Ipv4, resets: true }.run()?;
    proc_view::await_quiet(DEADLINE)?;
    Ok(())
}

/// There was a correction, and the numbers are consistent.
fn assert_corrected(exporter: &mut Exporter) -> Result<()> {
    let scrape = exporter.scrape()?;
    ensure!(corrections(&scrape)? > 0.0, "nothing was corrected: {}", exporter.log());
    ensure!(scrape.value("tcpstat_consistent", &[])? > 0.0, "{}", exporter.log());
    Ok(())
}
