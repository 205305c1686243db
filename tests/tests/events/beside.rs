//! A stream beside the exporter, which keeps every gauge right.

use anyhow::Result;
use tcpstat_tests::agreement::await_agreement_between_snapshots;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::transition_stream::Stream;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for tracer in ["btf", "tracepoint"] {
        for (name, start) in [
            ("read", Stream::start as fn(&[&str]) -> Result<Stream>),
            ("unread", Stream::start_unread),
        ] {
            tests.push(kernel_test(
                format!(
                    "every_gauge_of_{tracer}_is_right_after_churn_beside_a_stream_that_is_{name}"
                ),
                move |_: &Namespace| every_gauge_is_right(tracer, start),
            ));
        }
    }
    tests
}

/// No snapshot corrects a gauge: the next one is an hour away.
fn every_gauge_is_right(tracer: &str, start: fn(&[&str]) -> Result<Stream>) -> Result<()> {
    let _open = Pairs::connect(30, Family::Ipv4)?;
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    let stream = start(&[])?;
    for family in Family::ALL {
        Churn { threads: 4, connections: 500, family, resets: true }.run()?;
    }
    let exported = await_agreement_between_snapshots(&mut exporter)?;
    // The exporter has a connection, too.
    assert_eq!(exported[&(Family::Ipv4, State::Established)], 62, "{exported:?}");
    drop(stream);
    await_agreement_between_snapshots(&mut exporter)?;
    Ok(())
}
