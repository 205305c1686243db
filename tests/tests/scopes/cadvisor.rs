//! cAdvisor's metrics of TCP sockets: those of real pods and containers.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use tcpstat_tests::container::{Container, Maker, random_uid};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{all_namespaces, await_right};

const METRICS: [&str; 2] =
    ["container_network_tcp_usage_total", "container_network_tcp6_usage_total"];

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![a_pod_and_a_container_have_the_series_that_cadvisor_gives_them]
}

fn a_pod_and_a_container_have_the_series_that_cadvisor_gives_them(_: &Namespace) -> Result<()> {
    let mut exporter = all_namespaces(&["--snapshot-interval=1h", "--compat.cadvisor"]).start()?;
    let mut pod = Container::run(Maker::Kubelet(random_uid()))?;
    let mut container = Container::run(Maker::Docker)?;
    // One that belongs to neither.
    let mut other = Resident::in_new_namespace()?;
    for (resident, sockets) in
        [(&mut pod.resident, 1), (&mut container.resident, 2), (&mut other, 3)]
    {
        resident.order(&Order::Connect(sockets))?;
        await_right(&mut exporter, resident.pid())?;
        resident.order(&Order::Leak(sockets))?;
    }
    let scrape = exporter.scrape()?;
    let id = container.id();
    for (container, name, label, pairs) in [(&pod, "", "POD", 1), (&container, id, id, 2)] {
        let of_it = [("id", &*container.scope_path()), ("name", name), ("container", label)];
        let ipv4 = states(&scrape, METRICS[0], &of_it)?;
        ensure!(ipv4.len() == 11, "{label}: {ipv4:?}");
        ensure!(ipv4["established"] == 2 * pairs && ipv4["closewait"] == pairs, "{ipv4:?}");
        let ipv6 = states(&scrape, METRICS[1], &of_it)?;
        ensure!(ipv6.len() == 11 && ipv6.values().sum::<u64>() == 0, "{label}: {ipv6:?}");
    }
    for metric in METRICS {
        ensure!(scrape.types[metric] == "gauge", "{:?}", scrape.types[metric]);
        let ids = scrape.family(metric).into_iter().map(|sample| sample.labels["id"].clone());
        let mut ids: Vec<_> = ids.filter(|id| *id != pod.scope_path()).collect();
        ids.dedup();
        assert_eq!(ids, [container.scope_path()], "{metric}");
    }
    Ok(())
}

/// The sockets of the series with these labels, by `tcp_state`.
fn states(scrape: &Scrape, metric: &str, labels: &[(&str, &str)]) -> Result<BTreeMap<String, u64>> {
    let mut states = BTreeMap::new();
    for sample in scrape.family(metric) {
        if labels.iter().all(|(name, value)| sample.labels[*name] == *value) {
            let count = sample.count().unwrap_or(u64::MAX);
            let twice = states.insert(sample.labels["tcp_state"].clone(), count);
            ensure!(twice.is_none(), "twice: {sample:?}");
        }
    }
    Ok(states)
}
