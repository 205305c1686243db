//! The same numbers as node_exporter's collector tcpstat, in the same namespace.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::Addressing;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::node_exporter::NodeExporter;
use tcpstat_tests::proc_view;
use tcpstat_tests::states::ALL;
use tcpstat_tests::wire::Wire;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        kernel_test("node_exporter_gives_the_same_values", same_values_as_node_exporter),
        kernel_test("node_exporter_takes_the_textfile_unchanged_and_once", textfile_is_taken),
    ]
}

/// Every value must be the same, but for:
/// - a state without sockets, which node_exporter leaves out and tcpstat gives as 0;
/// - `tx_queued_bytes`, in which node_exporter counts each listener's backlog limit as bytes (for a
///   listener, inet_diag's wqueue is `sk_max_ack_backlog`), and the request it is answering as long
///   as its kernel has not acknowledged it. It must be above tcpstat's by just that.
fn same_values_as_node_exporter(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut held = Vec::new();
    for (_, hold) in ALL {
        for addressing in Addressing::ALL {
            held.push(hold(&wire, addressing)?);
        }
    }
    let mut exporter = Exporter::start(&["--snapshot-interval=100ms"])?;
    let mut peer = NodeExporter::start(["--collector.tcpstat"])?;
    let told = wait_until("the same values twice", DEADLINE, || {
        await_agreement(&mut exporter)?;
        // An answer stays in the send queue until it is acknowledged, some 40 ms later. The snapshot
        // that tells of the queues is to be one from a time without scrapes, and to wait for it by
        // scraping would undo it.
        thread::sleep(Duration::from_millis(400));
        let ours = states(&exporter.scrape()?);
        await_acknowledgement(ours["tx_queued_bytes"])?;
        let theirs = states(&peer.scraper.scrape()?);
        let limits = f64::from(listener_backlog_limits()?);
        assert!(limits > 0.0, "listeners with a limit are part of the test");
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
    assert_eq!(told.len(), 13);
    assert!(told["time_wait"] > 0.0 && told["syn_recv"] > 0.0 && told["closing"] > 0.0, "{told:?}");
    Ok(())
}

/// The series arrive as they were written, byte for byte.
fn textfile_is_taken(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let held = ALL.into_iter().map(|(_, hold)| hold(&wire, Addressing::Ipv4));
    let _held = held.collect::<Result<Vec<_>>>()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tcpstat.prom");
    let textfile = format!("--textfile={}", path.display());
    let _exporter = Exporter::start(&["--snapshot-interval=100ms", &textfile])?;
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

/// The sum of what `ss` shows as Send-Q of listeners: their backlog limits.
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
