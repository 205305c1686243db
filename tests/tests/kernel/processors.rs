//! CPU ids beyond what the number of possible CPUs suggests.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tcpstat_tests::agreement::await_agreement_between_snapshots;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::flow::Rest;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::receive_processor::run_on;
use tcpstat_tests::tcp::Family;
use tempfile::NamedTempFile;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for tracer in ["btf", "tracepoint"] {
        // The first list has a gap: one CPU, whose id is 1. In the second CPU 1 is not possible at all.
        for (name, possible) in [("after_a_gap", "1"), ("beyond_the_possible_ones", "0")] {
            tests.push(kernel_test(
                format!("a_cpu_whose_id_is_{name}_counts_every_transition_with_{tracer}"),
                move |_: &Namespace| every_transition_counts(tracer, possible),
            ));
        }
    }
    tests
}

fn every_transition_counts(tracer: &str, possible: &str) -> Result<()> {
    let list = NamedTempFile::new()?;
    fs::write(list.path(), possible)?;
    PrivateMounts::enter()?.replace(Path::new("/sys/devices/system/cpu/possible"), list.path())?;
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    for cpu in [1, 0] {
        let before = Rest::await_with(&mut exporter)?;
        run_on(cpu)?;
        let churn = Churn { threads: 1, connections: 200, family: Family::Ipv6, resets: true };
        let made: u64 = churn.run()?.transitions().values().sum();
        await_agreement_between_snapshots(&mut exporter)?;
        let after = Rest::await_with(&mut exporter)?;
        after
            .ensure_counted_since(&mut exporter, &before, made)
            .with_context(|| format!("on CPU {cpu}"))?;
    }
    Ok(())
}
