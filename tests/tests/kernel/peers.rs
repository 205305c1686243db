//! The same numbers as node_exporter's collector tcpstat, in the same namespace.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::binary::path_from;
use tcpstat_tests::deadline::{DEADLINE, Look, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::Addressing;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::scraper::Scraper;
use tcpstat_tests::states::ALL;
use tcpstat_tests::tcp::State;
use tcpstat_tests::wire::Wire;

pub(crate) fn tests() -> Vec<Test> {
    vec![kernel_test("node_exporter_gives_the_same_values", same_values_as_node_exporter)]
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
    let mut peer = NodeExporter::start()?;
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
            Look::Done(ours)
        } else {
            Look::NotYet(format!("ours {ours:?}, theirs {theirs:?}, limits {limits}"))
        })
    })?;
    assert_eq!(told.len(), 13);
    assert!(told["time_wait"] > 0.0 && told["syn_recv"] > 0.0 && told["closing"] > 0.0, "{told:?}");
    Ok(())
}

/// Waits until the send queues hold no more than `bytes`: every answer has been acknowledged.
fn await_acknowledgement(bytes: f64) -> Result<()> {
    wait_until("acknowledgement of every answer", DEADLINE, || {
        let queued: u64 = proc_view::queues()?.values().map(|queues| queues.send).sum();
        let all = f64::from(u32::try_from(queued)?) <= bytes;
        Ok(if all { Look::Done(()) } else { Look::NotYet(format!("{queued} bytes")) })
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

/// node_exporter with nothing but its collector tcpstat.
struct NodeExporter {
    child: Child,
    scraper: Scraper,
}

impl NodeExporter {
    fn start() -> Result<Self> {
        let address = "127.0.0.1:9100".parse()?;
        let child = Command::new(path_from("TCPSTAT_NODE_EXPORTER")?)
            .args(["--collector.disable-defaults", "--collector.tcpstat"])
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start node_exporter")?;
        let mut started = Started(Some(child));
        wait_until("node_exporter that listens", DEADLINE, || {
            let listens = proc_view::rows()?
                .iter()
                .any(|row| row.state == State::Listen && row.local_port == 9100);
            Ok(if listens { Look::Done(()) } else { Look::NotYet("it does not".to_owned()) })
        })?;
        let scraper = Scraper::connect(address)?;
        let child = started.0.take().context("it was started")?;
        Ok(Self { child, scraper })
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Ends the process where the start fails half-way.
struct Started(Option<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself; there is nothing to do about any other failure.
    let _ = child.kill();
    let _ = child.wait();
}
