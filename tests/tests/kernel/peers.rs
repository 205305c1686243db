//! The same numbers as the collector tcpstat of node_exporter, in the same namespace.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::held::Addressing;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::node_exporter::NodeExporter;
use tcpstat_tests::proc_view;
use tcpstat_tests::states::ALL;
use tcpstat_tests::wire::Wire;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        node_exporter_exports_the_same_values,
        node_exporter_serves_the_textfile_unchanged_and_once
    ]
}

/// Every value must be the same, except
/// - a state without sockets, which node_exporter omits and tcpstat exports as 0;
/// - `tx_queued_bytes`, in which node_exporter counts each listener's backlog limit as bytes (for a
///   listener, inet_diag's wqueue is `sk_max_ack_backlog`), and the request that it answers until the kernel
///   acknowledges it. It must exceed tcpstat's by exactly that.
fn node_exporter_exports_the_same_values(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut held = Vec::new();
    for (_, hold) in ALL {
        for addressing in Addressing::ALL {
            held.push(hold(&wire, addressing)?);
        }
    }
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    let mut peer = NodeExporter::start(["--collector.tcpstat"])?;
    let exported = wait_until("the same values twice", DEADLINE, || {
        await_agreement(&mut exporter)?;
        // An answer stays in the send queue until it is acknowledged, some 40 ms later. So the queues must
        // come from a snapshot without a scrape shortly before it, and scrapes cannot wait for that.
        thread::sleep(Duration::from_millis(400));
        let ours = states(&exporter.scrape()?);
        await_acknowledgement(ours["tx_queued_bytes"])?;
        let theirs = states(&peer.scraper.scrape()?);
        let limits = f64::from(listener_backlog_limits()?);
        assert!(limits > 0.0, "no listener has a backlog limit");
        let request = f64::from(u32::try_from(peer.scraper.request_length("/metrics"))?);
        let agrees = [limits, limits + request].into_iter().any(|more| {
            let mut expected = ours.clone();
            expected.retain(|_, value| *value != 0.0);
            *expected.entry("tx_queued_bytes".to_owned()).or_default() += more;
            expected == theirs
        });
        Ok(if agrees {
            Progress::Done(ours)
        } else {
            Progress::NotYet(format!("ours {ours:?}, theirs {theirs:?}, limits {limits}"))
        })
    })?;
    assert_eq!(exported.len(), 13);
    for state in ["time_wait", "syn_recv", "closing"] {
        assert!(exported[state] > 0.0, "{state}: {exported:?}");
    }
    Ok(())
}

/// node_exporter serves the series as they were written, byte for byte.
fn node_exporter_serves_the_textfile_unchanged_and_once(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let held = ALL.into_iter().map(|(_, hold)| hold(&wire, Addressing::Ipv4));
    let _held = held.collect::<Result<Vec<_>>>()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tcpstat.prom");
    let textfile = format!("--textfile={}", path.display());
    let _exporter = Exporter::start(&[&FREQUENT_SNAPSHOTS[..], &[&textfile]].concat())?;
    let mut peer = NodeExporter::start([
        "--collector.textfile".to_owned(),
        format!("--collector.textfile.directory={}", folder.path().display()),
    ])?;
    let (theirs, file) = wait_until("scrape while the file stays as it is", DEADLINE, || {
        let before = fs::read_to_string(&path)?;
        let theirs = peer.scraper.get("/metrics")?.body;
        let after = fs::read_to_string(&path)?;
        Ok(if before == after {
            Progress::Done((theirs, after))
        } else {
            Progress::NotYet(format!("before {before}, after {after}"))
        })
    })?;
    let lines = theirs.split_inclusive('\n');
    let taken: String = lines.filter(|line| line.contains("node_tcp_connection_states")).collect();
    assert_eq!(taken, file);
    assert_eq!(file.lines().count(), 2 + 13, "{file}");
    assert!(file.contains("\nnode_tcp_connection_states{state=\"closing\"} 1\n"), "{file}");
    assert!(theirs.contains("\nnode_textfile_scrape_error 0\n"), "{theirs}");
    let age = format!("\nnode_textfile_mtime_seconds{{file=\"{}\"}} ", path.display());
    assert!(theirs.contains(&age), "{theirs}");
    Ok(())
}

/// Waits until the send queues hold no more than `bytes`: every answer has been acknowledged.
fn await_acknowledgement(bytes: f64) -> Result<()> {
    wait_until("acknowledgement of every answer", DEADLINE, || {
        let queued: u64 = proc_view::queues()?.values().map(|queues| queues.send).sum();
        let all = f64::from(u32::try_from(queued)?) <= bytes;
        Ok(if all { Progress::Done(()) } else { Progress::NotYet(format!("{queued} bytes")) })
    })
}

fn states(scrape: &Scrape) -> BTreeMap<String, f64> {
    let samples = scrape.family("node_tcp_connection_states").into_iter();
    samples.map(|sample| (sample.labels["state"].clone(), sample.value)).collect()
}

/// The sum of Send-Q of all listeners in `ss`: their backlog limits.
fn listener_backlog_limits() -> Result<u32> {
    let output = Command::new("ss").args(["-Htnl"]).output().context("start ss")?;
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| {
            let limit = line.split_whitespace().nth(2).with_context(|| line.to_owned())?;
            limit.parse::<u32>().with_context(|| line.to_owned())
        })
        .sum()
}
