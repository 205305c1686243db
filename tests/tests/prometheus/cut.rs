//! The way from a site to the centre is cut for a time: a Prometheus agent at the site keeps what it scrapes, and sends it
//! later.

use std::collections::BTreeMap;
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::deadline::{Progress, poll};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::fleet::{Fleet, Profile, Served};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::network::Network;
use tcpstat_tests::prometheus::Prometheus;
use tcpstat_tests::remote_write::{agent, receiver};
use tcpstat_tests::server::{REQUEST_INTERVAL, Server};

use crate::scene::DEADLINE;

/// Overrides [`CUT`], in seconds.
const CUT_VARIABLE: &str = "TCPSTAT_CUT_SECONDS";

/// How long the way is cut at least.
const CUT: Duration = Duration::from_secs(3);

const HOSTS: u32 = 10;

/// Of the scrapes.
const INTERVAL: Duration = Duration::from_millis(250);

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![a_cut_between_an_agent_and_its_receiver_loses_nothing]
}

fn a_cut_between_an_agent_and_its_receiver_loses_nothing(namespace: &Namespace) -> Result<()> {
    let cut = env::var(CUT_VARIABLE).ok().map(|seconds| seconds.parse().context(CUT_VARIABLE));
    let cut = cut.transpose()?.map_or(CUT, Duration::from_secs);
    let mut network = Network::create(namespace)?;
    let centre = network.host()?;
    let address = SocketAddr::from((centre.address, 9090));
    let received = centre.inside.run(move || receiver(address, "groups: []\n", INTERVAL))?;

    let shape = Profile::Minimal.shape()?;
    let series = u64::from(HOSTS) * u64::try_from(shape.counting.series())?;
    let fleet = Fleet { sites: 1, ..Fleet::quiet(HOSTS.into()) };
    let served = Served::start(fleet, vec![(Profile::Minimal, shape)])?;
    let sender = agent((Ipv4Addr::LOCALHOST, 9091).into(), &config(&served, address))?;
    let all = format!("count(up == 1) == {HOSTS}");
    received.await_query(&all, DEADLINE, |answer| !answer.is_empty())?;

    let (since, before) = (Instant::now(), served.answers(0));
    network.set_way(&centre, false)?;
    let deadline = cut + DEADLINE;
    poll("samples that the agent sends in vain", deadline, REQUEST_INTERVAL, || {
        let (retried, scrapes) = (retried(&sender)?, served.answers(0) - before);
        let is_enough = retried > 0.0 && scrapes > 8 && since.elapsed() >= cut;
        let seen = || format!("{retried} samples sent again, {scrapes} scrapes of a host");
        Ok(if is_enough { Progress::Done(()) } else { Progress::NotYet(seen()) })
    })?;
    network.set_way(&centre, true)?;
    // No host answers from now on.
    served.change(|fleet| fleet.lost_site = Some(0));

    let minutes = cut.as_secs() / 60 + 5;
    poll("every sample at the centre", deadline, REQUEST_INTERVAL, || {
        // The way may take a moment.
        let counts = match counts(&received, minutes) {
            Ok(counts) => counts,
            Err(error) => return Ok(Progress::NotYet(format!("{error:#}"))),
        };
        let wrong: Vec<_> = counts
            .iter()
            .filter(|((instance, _), count)| {
                host(instance).map(|host| served.answers(host)) != Some(**count)
            })
            .take(5)
            .collect();
        if u64::try_from(counts.len())? == series && wrong.is_empty() {
            return Ok(Progress::Done(()));
        }
        let (found, answers) = (counts.len(), served.answers(0));
        Ok(Progress::NotYet(format!(
            "{found} of {series} series, {answers} scrapes of a host: {wrong:?}"
        )))
    })?;
    ensure!(served.answers(0) - before > 8, "too few scrapes during the cut");
    Ok(())
}

/// A way that is cut is seen after two seconds, and tried again each second.
fn config(served: &Served, receiver: SocketAddr) -> String {
    let (interval, job) = (INTERVAL.as_millis(), served.job(Profile::Minimal, None));
    format!(
        "global: {{scrape_interval: {interval}ms}}\nscrape_configs:\n{job}\
         remote_write: [{{url: 'http://{receiver}/api/v1/write', remote_timeout: 2s, \
         queue_config: {{max_backoff: 1s}}}}]\n"
    )
}

fn retried(agent: &Server) -> Result<f64> {
    let scrape = Scrape::parse(&agent.get("/metrics")?.body)?;
    Ok(scrape
        .family("prometheus_remote_storage_samples_retried_total")
        .iter()
        .map(|of| of.value)
        .sum())
}

/// Instance and name with labels of a series.
type Key = (String, String);

/// How many samples the receiver has of each series that a host sends, over so many minutes.
fn counts(received: &Prometheus, minutes: u64) -> Result<BTreeMap<Key, u64>> {
    let query = format!("{{job=\"tcpstat\",__name__!~\"up|scrape_.*\"}}[{minutes}m]");
    let data = received.api("query", &[("query", &query)])?;
    let series = data["result"].as_array().context("no result")?;
    series
        .iter()
        .map(|series| {
            let instance = series["metric"]["instance"].as_str().context("no instance")?;
            let values = series["values"].as_array().context("no values")?;
            let key = (instance.to_owned(), series["metric"].to_string());
            Ok((key, u64::try_from(values.len())?))
        })
        .collect()
}

fn host(instance: &str) -> Option<u64> {
    instance.strip_prefix("host-")?.split(':').next()?.parse().ok()
}
