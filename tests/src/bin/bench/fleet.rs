//! What fleets of 10, 100, … hosts cost a Prometheus with the rules, in three profiles of metrics. The hosts are simulated,
//! from what a real exporter answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcpstat_tests::binary::printed;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::fleet::{Fleet, Template, serve};
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::prometheus::Prometheus;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::tcp::Family;

use crate::Effort;
use crate::samples::Samples;

/// Where the simulated hosts are, and where Prometheus measures itself.
const HOSTS: &str = "127.0.0.1:10000";
const PROMETHEUS: &str = "127.0.0.1:9090";

/// The groups of metrics that a profile asks for, by its name; without groups all.
const PROFILES: [(&str, &str); 3] = [
    ("minimal", "/metrics?collect[]=node_exporter&collect[]=tracer"),
    ("standard", "/metrics"),
    ("scopes", "/metrics"),
];

/// Network namespaces of the profile with scopes.
const NAMESPACES: usize = 20;

/// How often each query is asked.
const QUERIES: usize = 10;

/// One row of the table.
struct Row {
    profile: &'static str,
    hosts: usize,
    series: f64,
    samples_per_second: f64,
    bytes_per_sample: f64,
    memory: f64,
    cores: f64,
    /// Seconds of the slowest of all groups of rules, and its name.
    rules: (f64, String),
    /// Seconds of the slowest query of the dashboard over all hosts, 95 % of times, and its panel.
    query: (f64, String),
}

/// Writes a table to standard output.
pub(crate) fn measure(effort: Effort, samples: &mut Samples) -> Result<()> {
    let profiles = PROFILES.map(|(name, path)| Ok((name.to_owned(), template(name, path)?)));
    let profiles: BTreeMap<_, _> = profiles.into_iter().collect::<Result<_>>()?;
    for (name, template) in &profiles {
        eprintln!("profile {name}: {} series a host", template.series());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let fleet = Fleet { hosts: u64::try_from(effort.hosts)?, began: now };
    let listener = TcpListener::bind(HOSTS).context(HOSTS)?;
    // It ends with the process.
    thread::spawn(move || serve(&listener, fleet, profiles));
    let mut rows = Vec::new();
    for (profile, _) in PROFILES {
        let mut hosts = 10;
        while hosts <= effort.hosts {
            eprintln!("fleet of {hosts} hosts, {profile} ...");
            rows.push(row(profile, hosts, effort)?);
            hosts *= 10;
        }
    }
    for row in &rows {
        samples.add("fleet_memory", row.hosts, row.memory);
    }
    println!("{}", table(&rows));
    Ok(())
}

/// What a real exporter answers: with traffic, and in the profile with scopes with namespaces that have some too.
fn template(profile: &str, path: &str) -> Result<Template> {
    let mut residents = Vec::new();
    let with_scopes = profile == "scopes";
    for _ in 0..if with_scopes { NAMESPACES } else { 0 } {
        let mut resident = Resident::in_new_namespace()?;
        resident.order(&Order::Connect(10))?;
        residents.push(resident);
    }
    let netns = if with_scopes { "--netns=all" } else { "--netns=self" };
    let mut exporter = Exporter::start(&["--snapshot-interval=1s", netns])?;
    let _pairs = Pairs::connect(200, Family::Ipv4)?;
    for family in [Family::Ipv4, Family::Ipv6] {
        Churn { threads: 1, connections: 300, family, resets: true }.run()?;
    }
    Template::parse(&exporter.get(path)?.body)
}

fn row(profile: &'static str, hosts: usize, effort: Effort) -> Result<Row> {
    let interval = Duration::from_secs(if effort.short { 1 } else { 60 });
    let prometheus = Prometheus::start(&config(profile, hosts, interval), &printed(&["rules"])?)?;
    // The first interval has all targets once; rates and rules need some more.
    sleep(interval * 6);
    let one = |query: &str| -> Result<f64> {
        let answer = prometheus.query(query)?;
        Ok(answer.first().with_context(|| format!("no answer to {query}"))?.value)
    };
    let up = one("sum(up{job=\"tcpstat\"})")?;
    ensure!((up - hosts as f64).abs() < 0.5, "{up} of {hosts} hosts answer: {}", prometheus.log());
    let window = interval.as_secs() * 4;
    let appended = one("sum(prometheus_tsdb_head_samples_appended_total)")?;
    let groups = prometheus.query("topk(1, prometheus_rule_group_last_duration_seconds)")?;
    let rules = groups.first().context("no group of rules")?;
    let name = rules.labels.get("rule_group").cloned().unwrap_or_default();
    Ok(Row {
        profile,
        hosts,
        series: one("prometheus_tsdb_head_series")?,
        samples_per_second: one(&format!(
            "sum(rate(prometheus_tsdb_head_samples_appended_total[{window}s]))"
        ))?,
        bytes_per_sample: one("prometheus_tsdb_wal_storage_size_bytes")? / appended,
        memory: one("process_resident_memory_bytes{job=\"prometheus\"}")?,
        cores: one(&format!("rate(process_cpu_seconds_total{{job=\"prometheus\"}}[{window}s])"))?,
        rules: (rules.value, name.rsplit(';').next().unwrap_or_default().to_owned()),
        query: slowest_query(&prometheus)?,
    })
}

/// Every query of the dashboard, over all hosts. Some have no data in a profile.
fn slowest_query(prometheus: &Prometheus) -> Result<(f64, String)> {
    let dashboard: Value = serde_json::from_str(&printed(&["dashboard"])?)?;
    let mut slowest = (0.0, String::new());
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let inner = panels.iter().flat_map(|panel| panel["panels"].as_array().into_iter().flatten());
    for panel in panels.iter().chain(inner) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = expression(target["expr"].as_str().context("no expression")?);
            let mut times = Vec::new();
            // The first one warms up.
            for _ in 0..=QUERIES {
                let started = Instant::now();
                prometheus.query(&query)?;
                times.push(started.elapsed().as_secs_f64());
            }
            times.remove(0);
            times.sort_by(f64::total_cmp);
            let p95 = times[times.len() * 95 / 100];
            if p95 > slowest.0 {
                slowest = (p95, panel["title"].as_str().unwrap_or_default().to_owned());
            }
        }
    }
    Ok(slowest)
}

/// As Grafana asks with all hosts chosen.
fn expression(text: &str) -> String {
    let mut query = text.replace("$__rate_interval", "4m").replace("$__range", "1h");
    for variable in ["job", "instance", "netns", "cgroup", "port"] {
        query = query.replace(&format!("${variable}\""), ".*\"");
    }
    query
}

fn config(profile: &str, hosts: usize, interval: Duration) -> String {
    let mut config = format!(
        "global: {{scrape_interval: {0}s, evaluation_interval: {0}s}}\nrule_files: [rules.yml]\n\
         scrape_configs:\n- job_name: prometheus\n  static_configs: [{{targets: ['{PROMETHEUS}']}}]\n\
         - job_name: tcpstat\n  static_configs:\n",
        interval.as_secs()
    );
    for host in 0..hosts {
        // Writing to a String cannot fail.
        let _ = writeln!(
            config,
            "  - {{targets: ['{HOSTS}'], labels: {{instance: 'host-{host}:10048', \
             __metrics_path__: /{profile}/{host}/metrics}}}}"
        );
    }
    config
}

fn table(rows: &[Row]) -> String {
    let mut text = "| profile | hosts | series | samples a second | bytes of the WAL a sample | memory | cores | \
        slowest group of rules | slowest query, p95 |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |\n"
        .to_owned();
    for row in rows {
        let ((rules, group), (query, panel)) = (&row.rules, &row.query);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} | {:.0} | {:.1} | {:.0} MB | {:.2} | {group}: {rules:.3} s | {panel}: {query:.3} s |",
            row.profile,
            row.hosts,
            row.series,
            row.samples_per_second,
            row.bytes_per_sample,
            row.memory / 1e6,
            row.cores,
        );
    }
    text
}
