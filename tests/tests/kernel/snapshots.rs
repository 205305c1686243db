//! The two sources of snapshots: /proc, and the iterator.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use tcpstat_tests::agreement::{assert_agreement, await_agreement};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS, Options};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::held::Addressing;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::states::ALL;
use tcpstat_tests::unprivileged::ReachableBinary;
use tcpstat_tests::wire::Wire;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        both_sources_list_the_same_sockets,
        with_few_sockets_snapshots_come_from_procfs,
        a_short_interval_selects_the_iterator_and_is_stretched_if_that_is_too_slow,
        a_source_that_is_named_keeps_the_interval,
        limits_are_those_of_the_namespace_at_the_last_snapshot,
        a_requested_iterator_that_is_refused_causes_one_warning_and_procfs_takes_over
    ]
}

/// Every state, over every kind of address, with bytes in the queues as the states bring them.
fn both_sources_list_the_same_sockets(namespace: &Namespace) -> Result<()> {
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
    // Both see the connections to each other's exporter, whose queues are empty between two scrapes.
    wait_until("equal snapshots", DEADLINE, || {
        let [by_procfs, by_iterator] = &mut exporters;
        let (by_procfs, by_iterator) = (by_procfs.scrape()?, by_iterator.scrape()?);
        assert_eq!(source(&by_procfs).as_deref(), Some("procfs"));
        assert_eq!(source(&by_iterator).as_deref(), Some("iter"));
        let (by_procfs, by_iterator) = (samples(&by_procfs), samples(&by_iterator));
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

/// The samples of the last snapshot, by series.
fn samples(scrape: &Scrape) -> BTreeMap<String, String> {
    ["snapshot_connections", "receive_queue_bytes", "send_queue_bytes"]
        .into_iter()
        .flat_map(|name| scrape.family(&format!("tcpstat_{name}")))
        .map(|sample| (format!("{}{:?}", sample.name, sample.labels), sample.value.to_string()))
        .collect()
}

fn with_few_sockets_snapshots_come_from_procfs(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&[])?;
    let scrape = exporter.scrape()?;
    assert_eq!(source(&scrape), Some("procfs".to_owned()));
    assert_stretched(&scrape, "procfs", 15.0)
}

/// A snapshot of /proc takes more than 1 % of 100 ms, because the kernel walks its whole table.
fn a_short_interval_selects_the_iterator_and_is_stretched_if_that_is_too_slow(
    _: &Namespace,
) -> Result<()> {
    let mut exporter = Exporter::start(&["--snapshot-interval=100ms"])?;
    assert_agreement(&mut exporter)?;
    let scrape = exporter.scrape()?;
    assert_eq!(source(&scrape), Some("iter".to_owned()), "{}", exporter.log());
    assert_stretched(&scrape, "iter", 0.1)
}

/// Fails unless the interval is `requested`, in seconds, or a hundred times the CPU time of the snapshot if that is
/// longer. The CPU time is not exported; on a busy machine the duration is longer than that.
fn assert_stretched(scrape: &Scrape, source: &str, requested: f64) -> Result<()> {
    let duration = scrape.value("tcpstat_snapshot_duration_seconds", &[("source", source)])?;
    let interval = scrape.value("tcpstat_snapshot_interval_seconds", &[])?;
    let longest = (100.0 * duration).max(requested) + 1e-6;
    ensure!((requested..=longest).contains(&interval), "{interval} {duration}");
    Ok(())
}

fn a_source_that_is_named_keeps_the_interval(_: &Namespace) -> Result<()> {
    for named in ["procfs", "iter"] {
        let mut exporter = Exporter::start(&["--snapshot", named, "--snapshot-interval=100ms"])?;
        wait_until("three snapshots", DEADLINE, || {
            let scrape = exporter.scrape()?;
            assert_eq!(source(&scrape).as_deref(), Some(named));
            assert_eq!(scrape.value("tcpstat_snapshot_interval_seconds", &[])?, 0.1);
            let made = scrape.value("tcpstat_reconciles_total", &[("reason", "interval")])?;
            Ok(if made >= 3.0 { Progress::Done(()) } else { Progress::NotYet(made.to_string()) })
        })?;
    }
    Ok(())
}

fn a_requested_iterator_that_is_refused_causes_one_warning_and_procfs_takes_over(
    _: &Namespace,
) -> Result<()> {
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

/// The source of the last snapshot.
pub(crate) fn source(scrape: &Scrape) -> Option<String> {
    let rows = scrape.family("tcpstat_snapshot_rows");
    rows.first()?.labels.get("source").cloned()
}

fn limits_are_those_of_the_namespace_at_the_last_snapshot(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", 1234)?;
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "40000 40099")?;
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    await_limits(&mut exporter, [1234.0, 100.0])?;
    namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", 5)?;
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
    await_limits(&mut exporter, [5.0, 64_512.0])
}

fn await_limits(exporter: &mut Exporter, expected: [f64; 2]) -> Result<()> {
    wait_until("limits that equal the sysctls", DEADLINE, || {
        let scrape = exporter.scrape()?;
        let value = |name| scrape.value(name, &[]);
        let limits = [value("tcpstat_time_wait_limit")?, value("tcpstat_ephemeral_ports")?];
        Ok(if limits == expected {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{limits:?}"))
        })
    })
}
