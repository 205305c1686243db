//! The exporter counts TCP sockets of its own namespace, and nothing else.

use anyhow::Result;
use tcpstat_tests::agreement::{assert_agreement, await_agreement};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::{Churn, Pairs, mptcp_pair};
use tcpstat_tests::netns::{Namespace, elsewhere};
use tcpstat_tests::tcp::{Family, State};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for tracer in ["btf", "tracepoint"] {
        tests.push(kernel_test(
            format!("sockets_of_another_namespace_are_not_counted_with_{tracer}"),
            move |_: &Namespace| another_namespace(tracer),
        ));
        tests.push(kernel_test(
            format!("mptcp_is_counted_by_its_subflows_with_{tracer}"),
            move |_: &Namespace| mptcp(tracer),
        ));
    }
    tests.extend(kernel_tests![two_exporters_at_once_are_both_right]);
    tests
}

fn another_namespace(tracer: &str) -> Result<()> {
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    let at_start = assert_agreement(&mut exporter)?;
    let transitions = |exporter: &mut Exporter| -> Result<f64> {
        let scrape = exporter.scrape()?;
        Ok(scrape.family("tcpstat_transitions_total").iter().map(|sample| sample.value).sum())
    };
    let before = transitions(&mut exporter)?;
    let _other = elsewhere(|_| {
        Churn { threads: 1, connections: 50, family: Family::Ipv4, resets: false }.run()?;
        Pairs::connect(10, Family::Ipv4)
    })?;
    assert_eq!(transitions(&mut exporter)?, before);
    assert_eq!(assert_agreement(&mut exporter)?, at_start);
    Ok(())
}

fn mptcp(tracer: &str) -> Result<()> {
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    let at_start = assert_agreement(&mut exporter)?;
    let pair = mptcp_pair()?;
    let with_it = await_agreement(&mut exporter)?;
    let more = |state| with_it[&(Family::Ipv4, state)] - at_start[&(Family::Ipv4, state)];
    assert_eq!((more(State::Established), more(State::Listen)), (2, 1));
    drop(pair);
    await_agreement(&mut exporter)?;
    Ok(())
}

fn two_exporters_at_once_are_both_right(_: &Namespace) -> Result<()> {
    let mut first = Exporter::start(&["--snapshot-interval=1h"])?;
    let mut second = Options::default()
        .listen("127.0.0.1:10049".parse()?)
        .args(["--snapshot-interval=1h", "--tracer=tracepoint"])
        .start()?;
    let pairs = Pairs::connect(10, Family::Ipv6)?;
    await_agreement(&mut first)?;
    assert_agreement(&mut second)?;
    pairs.close()?;
    await_agreement(&mut first)?;
    await_agreement(&mut second)?;
    Ok(())
}
