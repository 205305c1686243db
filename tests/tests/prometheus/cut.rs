//! The way from a site to the centre is cut for a time: a Prometheus agent at the site keeps what it scrapes, and sends it
//! later.

use std::collections::BTreeMap;
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
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

/// Scrapes of each host during the cut, at least.
const SCRAPES: u64 = 8;

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
    let series = shape.counting.series();
    let fleet = Fleet { sites: 1, ..Fleet::quiet(HOSTS.into()) };
    let served = Served::start(fleet, vec![(Profile::Minimal, shape)])?;
    let sender = agent(
        (Ipv4Addr::LOCALHOST, 9091).into(),
        &config(&served.job(Profile::Minimal, None), address),
    )?;
    let all = format!("count(up == 1) == {HOSTS}");
    received.await_query(&all, DEADLINE, |answer| !answer.is_empty())?;

    let (since, before) = (Instant::now(), served.answers(0));
    network.set_way(&centre, false)?;
    let deadline = cut + DEADLINE;
    poll("samples that the agent sends in vain", deadline, REQUEST_INTERVAL, || {
        let retried = total(&sender, "prometheus_remote_storage_samples_retried_total")?;
        let scrapes = served.answers(0) - before;
        let is_enough = retried > 0.0 && scrapes > SCRAPES && since.elapsed() >= cut;
        let seen = || format!("{retried} samples sent again, {scrapes} scrapes of a host");
        Ok(if is_enough { Progress::Done(()) } else { Progress::NotYet(seen()) })
    })?;
    network.set_way(&centre, true)?;
    // Without scrapes, what the agent has of each series stays as it is.
    sender.reload("prometheus.yml", &config("", address))?;
    let of_agent = "prometheus_agent_samples_appended_total";
    let of_receiver = "prometheus_tsdb_head_samples_appended_total";
    poll("every sample at the centre", deadline, REQUEST_INTERVAL, || {
        let sent = total(&sender, of_agent)?;
        // The way may take a moment.
        let arrived = total(received.server(), of_receiver).unwrap_or_default();
        let is_all = arrived == sent && has_no_targets(&sender)?;
        let seen = || format!("{arrived} samples of {sent}");
        Ok(if is_all { Progress::Done(()) } else { Progress::NotYet(seen()) })
    })?;

    let minutes = cut.as_secs() / 60 + 5;
    let scrapes = counts(&received, "up{job=\"tcpstat\"}", minutes, |up| up == "1")?;
    assert_eq!(scrapes.len(), usize::try_from(HOSTS)?);
    let of_hosts = "{job=\"tcpstat\",__name__!~\"up|scrape_.*\"}";
    let counts = counts(&received, of_hosts, minutes, |_| true)?;
    for (instance, scrapes) in scrapes {
        assert_eq!(counts[&instance], vec![scrapes[0]; series], "{instance}");
    }
    Ok(())
}

/// Scrapes with `job`, an entry of `scrape_configs`. A way that is cut is seen after two seconds, and tried again each second.
fn config(job: &str, receiver: SocketAddr) -> String {
    let interval = INTERVAL.as_millis();
    format!(
        "global: {{scrape_interval: {interval}ms}}\nscrape_configs:\n{job}\
         remote_write: [{{url: 'http://{receiver}/api/v1/write', remote_timeout: 2s, \
         queue_config: {{max_backoff: 1s, batch_send_deadline: 500ms}}}}]\n"
    )
}

/// The sum of the samples of that name in what a server says of itself.
fn total(server: &Server, name: &str) -> Result<f64> {
    let scrape = Scrape::parse(&server.get("/metrics")?.body)?;
    Ok(scrape.family(name).iter().map(|sample| sample.value).sum())
}

fn has_no_targets(agent: &Server) -> Result<bool> {
    let answer: Value = serde_json::from_str(&agent.get("/api/v1/targets")?.body)?;
    let targets = answer["data"]["activeTargets"].as_array().context("no targets")?;
    Ok(targets.is_empty())
}

/// How many samples with a value of that kind the receiver has of each series of a selector, in so many minutes, by
/// instance.
fn counts(
    received: &Prometheus,
    selector: &str,
    minutes: u64,
    is_counted: impl Fn(&Value) -> bool,
) -> Result<BTreeMap<String, Vec<usize>>> {
    let data = received.api("query", &[("query", &format!("{selector}[{minutes}m]"))])?;
    let mut counts = BTreeMap::<_, Vec<_>>::new();
    for series in data["result"].as_array().context("no result")? {
        let instance = series["metric"]["instance"].as_str().context("no instance")?;
        let values = series["values"].as_array().context("no values")?;
        let count = values.iter().filter(|pair| is_counted(&pair[1])).count();
        counts.entry(instance.to_owned()).or_default().push(count);
    }
    Ok(counts)
}
