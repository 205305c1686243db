//! The two sources of listings: /proc, and the iterator.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use tcpstat_tests::agreement::{assert_agreement, await_agreement};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::Addressing;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::states::ALL;
use tcpstat_tests::wire::Wire;

use crate::privileges::ReachableBinary;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        kernel_test("both_sources_list_the_same_sockets", both_sources_list_the_same),
        kernel_test("few_sockets_are_listed_by_procfs", few_sockets_are_listed_by_procfs),
        kernel_test(
            "an_interval_too_short_for_procfs_is_met_by_the_iterator_and_stretches_where_that_is_too_slow",
            a_short_interval,
        ),
        kernel_test("a_source_that_is_named_keeps_the_interval", a_named_source_keeps_the_interval),
        kernel_test("limits_are_those_of_the_namespace_at_the_last_listing", limits),
        kernel_test(
            "an_iterator_that_is_asked_for_and_refused_is_warned_of_and_procfs_serves",
            a_refused_iterator,
        ),
    ]
}

/// Every state, over every kind of address, with bytes in the queues as the states bring them.
fn both_sources_list_the_same(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut held = Vec::new();
    for (_, hold) in ALL {
        for addressing in Addressing::ALL {
            held.push(hold(&wire, addressing)?);
        }
    }
    let start = |source: &str, port: u16| {
        Options::default()
            .listen((Ipv4Addr::LOCALHOST, port).into())
            .args(["--snapshot", source, "--snapshot-interval=100ms"])
            .start()
    };
    let mut exporters = [start("procfs", 10048)?, start("iter", 10049)?];
    // Both see the connection to each, whose queues are at rest between two looks.
    wait_until("listings that are one", DEADLINE, || {
        let [by_procfs, by_iterator] = &mut exporters;
        let (by_procfs, by_iterator) = (by_procfs.scrape()?, by_iterator.scrape()?);
        assert_eq!(source(&by_procfs).as_deref(), Some("procfs"));
        assert_eq!(source(&by_iterator).as_deref(), Some("iter"));
        let (by_procfs, by_iterator) = (listed(&by_procfs), listed(&by_iterator));
        let differ = by_procfs.iter().filter(|(key, value)| by_iterator.get(*key) != Some(value));
        let differ: Vec<_> = differ.collect();
        ensure!(by_procfs.len() == 2 * 11 + 4, "{by_procfs:?}");
        Ok(if differ.is_empty() {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{differ:?}"))
        })
    })
}

/// What the last listing said, by series.
fn listed(scrape: &Scrape) -> BTreeMap<String, String> {
    ["snapshot_connections", "receive_queue_bytes", "send_queue_bytes"]
        .into_iter()
        .flat_map(|name| scrape.family(&format!("tcpstat_{name}")))
        .map(|sample| (format!("{}{:?}", sample.name, sample.labels), sample.value.to_string()))
        .collect()
}

fn few_sockets_are_listed_by_procfs(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&[])?;
    let scrape = exporter.scrape()?;
    assert_eq!(source(&scrape), Some("procfs".to_owned()));
    assert_stretched(&scrape, "procfs", 15.0)
}

/// No listing takes less than 1 % of 100 ms where the kernel has a table of usual size to walk.
fn a_short_interval(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--snapshot-interval=100ms"])?;
    assert_agreement(&mut exporter)?;
    let scrape = exporter.scrape()?;
    assert_eq!(source(&scrape), Some("iter".to_owned()), "{}", exporter.log());
    assert_stretched(&scrape, "iter", 0.1)
}

/// Holds that the interval is `asked`, in seconds, or a hundred times what the listing took if that is
/// longer.
fn assert_stretched(scrape: &Scrape, source: &str, asked: f64) -> Result<()> {
    let duration = scrape.value("tcpstat_snapshot_duration_seconds", &[("source", source)])?;
    let interval = scrape.value("tcpstat_snapshot_interval_seconds", &[])?;
    ensure!((interval - (100.0 * duration).max(asked)).abs() < 1e-6, "{interval} {duration}");
    Ok(())
}

fn a_named_source_keeps_the_interval(_: &Namespace) -> Result<()> {
    for named in ["procfs", "iter"] {
        let mut exporter = Exporter::start(&["--snapshot", named, "--snapshot-interval=100ms"])?;
        wait_until("three listings", DEADLINE, || {
            let scrape = exporter.scrape()?;
            assert_eq!(source(&scrape).as_deref(), Some(named));
            assert_eq!(scrape.value("tcpstat_snapshot_interval_seconds", &[])?, 0.1);
            let made = scrape.value("tcpstat_reconciles_total", &[("reason", "interval")])?;
            Ok(if made >= 3.0 { Progress::Done(()) } else { Progress::NotYet(made.to_string()) })
        })?;
    }
    Ok(())
}

fn a_refused_iterator(_: &Namespace) -> Result<()> {
    let binary = ReachableBinary::copy()?;
    let mut exporter =
        binary.serve(&["--tracer=off", "--snapshot=iter", "--snapshot-interval=200ms"])?;
    await_agreement(&mut exporter)?;
    assert_eq!(source(&exporter.scrape()?), Some("procfs".to_owned()));
    let log = exporter.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    ensure!(warnings.len() == 1 && warnings[0].contains("iter/tcp"), "{log}");
    ensure!(warnings[0].contains("CAP_BPF and CAP_PERFMON"), "{log}");
    Ok(())
}

/// The source that the last listing came from.
pub(crate) fn source(scrape: &Scrape) -> Option<String> {
    let rows = scrape.family("tcpstat_snapshot_rows");
    rows.first()?.labels.get("source").cloned()
}

fn limits(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", 1234)?;
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "40000 40099")?;
    let mut exporter = Exporter::start(&["--snapshot-interval=100ms"])?;
    await_limits(&mut exporter, [1234.0, 100.0])?;
    namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", 5)?;
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
    await_limits(&mut exporter, [5.0, 64_512.0])
}

fn await_limits(exporter: &mut Exporter, expected: [f64; 2]) -> Result<()> {
    wait_until("limits as sysctl has them", DEADLINE, || {
        let scrape = exporter.scrape()?;
        let value = |name| scrape.value(name, &[]);
        let told = [value("tcpstat_time_wait_limit")?, value("tcpstat_ephemeral_ports")?];
        Ok(if told == expected {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{told:?}"))
        })
    })
}
