//! A storm in several namespaces at once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{all_namespaces, await_right, transitions};

/// Limits the sockets in TIME_WAIT. They end a minute after the storm, and would be all that still changes.
const MAX_TIME_WAITS: u32 = 1_000;

/// Threads of each family, in each namespace.
const THREADS: usize = 2;

/// Every second connection ends by a reset. The snapshot interval is an hour, so that only what the exporter
/// notices is healed.
pub(crate) fn healed_in_three_at_once(length: Duration) -> Result<()> {
    let mut residents = Vec::new();
    for _ in 0..3 {
        let mut resident = Resident::in_new_namespace()?;
        let limit = Order::Sysctl("net.ipv4.tcp_max_tw_buckets".to_owned(), MAX_TIME_WAITS);
        resident.order(&limit)?;
        resident.order(&Order::Connect(5))?;
        residents.push(resident);
    }
    let mut exporter = all_namespaces(&["--snapshot-interval=1h"]).start()?;
    for resident in &mut residents {
        resident.begin(&Order::Churn(THREADS, length))?;
    }
    for resident in &mut residents {
        resident.finish()?;
    }
    for resident in &residents {
        let (name, _) =
            await_right(&mut exporter, resident.pid()).with_context(|| exporter.log())?;
        let counted: u64 = transitions(&exporter.scrape()?, &name)?.values().sum();
        ensure!(counted > 1000, "{name}: {counted} transitions in {length:?}");
        wait_until("consistent namespace", DEADLINE, || {
            let labels = [("netns", name.as_str())];
            let consistent = exporter.scrape()?.value("tcpstat_netns_consistent", &labels)?;
            let done = consistent > 0.0;
            Ok(if done { Progress::Done(()) } else { Progress::NotYet(name.clone()) })
        })?;
    }
    // The exporter's own, in which there was calm.
    await_right(&mut exporter, std::process::id())?;
    Ok(())
}
