//! Several hosts, each with its tcpstat, and one Prometheus that scrapes them across the network.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::printed;
use tcpstat_tests::deadline::{Progress, poll};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::network::{Host, Network};
use tcpstat_tests::proc_view;
use tcpstat_tests::prometheus::Prometheus;
use tcpstat_tests::rules::scaled;
use tcpstat_tests::server::REQUEST_INTERVAL;
use tcpstat_tests::tcp::{Family, State};

use crate::scene::{DEADLINE, DIVISOR, config, is_data};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_numbers_of_the_fleet_are_the_sums_over_all_hosts,
        an_alert_names_a_host_that_stops_answering
    ]
}

/// Sockets by state, of all hosts and both families.
type Sums = BTreeMap<String, f64>;

/// Hosts, their exporters, and the Prometheus of the network.
struct Fleet {
    hosts: Vec<Host>,
    exporters: Vec<Exporter>,
    prometheus: Prometheus,
}

impl Fleet {
    fn start(namespace: &Namespace) -> Result<Self> {
        let mut network = Network::create(namespace)?;
        let hosts = [network.host()?, network.host()?, network.host()?];
        let start = |host: &Host| {
            let address = SocketAddr::from((host.address, 10048));
            host.inside.run(move || {
                Options::default().listen(address).args(["--snapshot-interval=1s"]).start()
            })
        };
        let exporters: Vec<_> = hosts.iter().map(start).collect::<Result<_>>()?;
        let targets: Vec<_> = exporters.iter().map(Exporter::address).collect();
        let rules = scaled(&printed(&["rules"])?, DIVISOR)?;
        let prometheus = Prometheus::start(&config(&targets, ""), &rules)?;
        Ok(Self { hosts: hosts.into(), exporters, prometheus })
    }

    /// The sums in /proc, without CLOSE: a plain scrape has no such series.
    fn in_proc(&self) -> Result<Sums> {
        let mut sums = Sums::new();
        for host in &self.hosts {
            let of_host = host.inside.run(proc_view::connections)?;
            for ((_, state), count) in
                of_host.into_iter().filter(|((_, it), _)| *it != State::Close)
            {
                *sums.entry(state.word().to_owned()).or_default() +=
                    f64::from(u32::try_from(count)?);
            }
        }
        Ok(sums)
    }

    /// The sums of the recording rule.
    fn recorded(&self) -> Result<Sums> {
        let series = self.prometheus.query("job_state:tcpstat_connections:sum{job=\"tcpstat\"}")?;
        let state = |labels: &BTreeMap<String, String>| labels.get("state").cloned();
        series
            .into_iter()
            .map(|series| Ok((state(&series.labels).context("no state")?, series.value)))
            .collect()
    }

    /// Waits until the recorded sums equal those in /proc, and `wanted` accepts them.
    fn await_sums(&self, wanted: impl Fn(&Sums) -> bool) -> Result<Sums> {
        poll("sums of the sockets of all hosts", DEADLINE, REQUEST_INTERVAL, || {
            let (recorded, in_proc) = (self.recorded()?, self.in_proc()?);
            if recorded == in_proc && wanted(&in_proc) {
                return Ok(Progress::Done(in_proc));
            }
            Ok(Progress::NotYet(format!("recorded {recorded:?}, in /proc {in_proc:?}")))
        })
    }
}

fn the_numbers_of_the_fleet_are_the_sums_over_all_hosts(namespace: &Namespace) -> Result<()> {
    let fleet = Fleet::start(namespace)?;
    let all = "job:tcpstat_tracer_up:count == 3 and job:tcpstat_tracer_up:sum == 3";
    fleet.prometheus.await_query(all, DEADLINE, is_data)?;
    let before = fleet.await_sums(|_| true)?;

    let mut kept = Vec::new();
    for (host, connections) in fleet.hosts.iter().zip([3, 5, 7]) {
        kept.push(host.inside.run(move || {
            let [ipv4, ipv6] = Family::ALL.map(|family| Pairs::connect(connections, family));
            let half_closed = Pairs::connect(connections, Family::Ipv4)?;
            for (client, _) in half_closed.streams() {
                client.shutdown(Shutdown::Write)?;
            }
            Ok([ipv4?, ipv6?, half_closed])
        })?);
    }
    fleet.await_sums(|after| {
        let more = |state: &str| after[state] - before[state];
        more("established") == 2.0 * 2.0 * 15.0
            && more("close_wait") == 15.0
            && more("fin_wait2") == 15.0
            && more("listen") == 3.0 * 3.0
    })?;
    // A reset leaves no socket.
    drop(kept);
    fleet.await_sums(|back| *back == before)?;
    Ok(())
}

fn an_alert_names_a_host_that_stops_answering(namespace: &Namespace) -> Result<()> {
    let mut fleet = Fleet::start(namespace)?;
    fleet.prometheus.await_query("job:tcpstat_tracer_up:count == 3", DEADLINE, is_data)?;
    let silent = fleet.exporters.remove(1);
    let instance = silent.address().to_string();
    ensure!(silent.stop()?.success(), "the exporter failed");
    fleet.prometheus.await_query("job:tcpstat_tracer_up:count == 2", DEADLINE, is_data)?;
    let firing = "ALERTS{alertname=\"TcpstatDown\",alertstate=\"firing\"}";
    let alerts = fleet.prometheus.await_query(firing, DEADLINE, is_data)?;
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0].labels["instance"], instance);
    Ok(())
}
