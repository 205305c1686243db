//! The recording rules on a real Prometheus, and the metrics that rules, dashboard and documents name.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tcpstat_tests::binary::{printed, source};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::rules::shipped;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::{hermetic_tests, kernel_tests};

use crate::rule_files::{folder_with_rules, promtool};
use crate::scene::{DEADLINE, Scene, is_data};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests =
        kernel_tests![every_recording_rule_has_data, every_metric_that_is_named_is_exported];
    tests.extend(hermetic_tests![
        a_rule_or_a_dashboard_reads_each_recorded_series,
        sixty_units_and_ports_in_close_wait_are_no_more_series_than_the_budget
    ]);
    tests
}

/// What the rules record for each host without scopes, and for each job: docs/fleet.md has the numbers.
const OF_A_HOST: usize = 24;
const OF_A_JOB: usize = 20;

/// The most that they may record for each.
const BUDGET: usize = 40;

/// The units and ports that they may record besides, for each job.
const OF_SCOPES: usize = 10;

/// The rules that record nothing of a healthy host without scopes, or one series of all hosts. The dashboard of the fleet
/// shows what they record: its test asks for it.
const OF_FAULTS_AND_SCOPES: [&str; 9] = [
    "instance:tcpstat_up:silent",
    "instance:tcpstat_tracer_up:blind",
    "instance:tcpstat_build_info:topk1",
    "instance_netns:tcpstat_close_wait_aged:any",
    "instance_netns_port:tcpstat_accept_queue_fullest:ratio",
    "job:tcpstat_alerting_hosts:count",
    "job_alertname:tcpstat_alerting_hosts:count",
    "job_cgroup:tcpstat_close_wait:sum",
    "job_port:tcpstat_close_wait:sum",
];

fn every_recording_rule_has_data(namespace: &Namespace) -> Result<()> {
    let scene = Scene::start(namespace)?;
    let mut recorded: Vec<_> = shipped()?.into_iter().filter_map(|rule| rule.record).collect();
    ensure!(!recorded.is_empty(), "no recording rule");
    for rule in OF_FAULTS_AND_SCOPES {
        ensure!(recorded.iter().any(|metric| metric == rule), "no rule {rule}");
    }
    recorded.retain(|metric| !OF_FAULTS_AND_SCOPES.contains(&metric.as_str()));
    let (mut of_host, mut of_job) = (0, 0);
    for metric in recorded {
        let answer = scene.prometheus.await_query(&metric, DEADLINE, is_data);
        let answer = answer.with_context(|| scene.prometheus.log())?;
        for series in answer {
            assert_eq!(series.labels["job"], "tcpstat", "{metric}");
            assert_eq!(series.labels.contains_key("instance"), metric.starts_with("instance"));
            let of_one = if metric.starts_with("instance") { &mut of_host } else { &mut of_job };
            *of_one += 1;
        }
    }
    assert_eq!((of_host, of_job), (OF_A_HOST, OF_A_JOB), "docs/fleet.md has the numbers");
    ensure!(of_host <= BUDGET && of_job <= BUDGET, "{of_host} of a host, {of_job} of a job");
    Ok(())
}

fn a_rule_or_a_dashboard_reads_each_recorded_series() -> Result<()> {
    let rules = shipped()?;
    let mut texts = vec![printed(&["dashboard"])?, printed(&["dashboard", "--fleet"])?];
    for rule in &rules {
        // What a rule reads of its own result does not count.
        let own = rule.record.as_deref().unwrap_or_default();
        texts.push(words(&rule.expr).filter(|word| *word != own).collect::<Vec<_>>().join(" "));
        texts.extend(rule.annotations.values().cloned());
    }
    let read: BTreeSet<_> = texts.iter().flat_map(|text| words(text)).collect();
    for metric in rules.iter().filter_map(|rule| rule.record.as_deref()) {
        assert!(read.contains(metric), "nothing reads {metric}");
    }
    Ok(())
}

/// In each of two jobs. The first ones have most sockets.
fn sixty_units_and_ports_in_close_wait_are_no_more_series_than_the_budget() -> Result<()> {
    ensure!(OF_A_JOB + 2 * OF_SCOPES <= BUDGET);
    let mut series = Vec::new();
    for job in ["tcpstat", "tcpstat-edge"] {
        for number in 0..60 {
            let labels = format!("job=\"{job}\",instance=\"a:10048\",state=\"close_wait\"");
            for scope in [
                format!("tcpstat_cgroup_connections{{cgroup=\"/docker-{number}.scope\",{labels}}}"),
                format!("tcpstat_port_connections{{port=\"{}\",{labels}}}", 8000 + number),
            ] {
                series.push(json!({"series": scope, "values": (60 - number).to_string()}));
            }
        }
    }
    let mut cases = Vec::new();
    for metric in ["job_cgroup:tcpstat_close_wait:sum", "job_port:tcpstat_close_wait:sum"] {
        for (query, value) in [
            (format!("count({metric}{{job=\"tcpstat\"}})"), OF_SCOPES),
            (format!("count({metric})"), 2 * OF_SCOPES),
            (format!("min({metric})"), 60 - OF_SCOPES + 1),
        ] {
            cases.push(json!({"expr": query, "exp_samples": [{"labels": "{}", "value": value}]}));
        }
    }
    let file = json!({
        "rule_files": ["rules.yml"],
        "tests": [{"input_series": series, "promql_expr_test": cases}],
    });
    let folder = folder_with_rules()?;
    fs::write(folder.path().join("test.yml"), file.to_string())?;
    promtool(&["test", "rules", "test.yml"], &folder)
}

fn every_metric_that_is_named_is_exported(_: &Namespace) -> Result<()> {
    // A destination that the first snapshot finds.
    let _connection = Pairs::connect(1, Family::Ipv4)?;
    // An empty web configuration: plain HTTP, and the metrics of the configuration.
    let file = tempfile::NamedTempFile::new()?;
    let config = format!("--web.config.file={}", file.path().display());
    let scrape = Exporter::start(&["--ephemeral.destination", &config])?.scrape()?;
    let exported: BTreeSet<_> = scrape.samples.iter().map(|sample| sample.name.as_str()).collect();
    let metrics = fs::read_to_string(source("tcpstat-user/docs/metrics.md")?)?;
    let of_scopes = names_of_scopes(&metrics);
    ensure!(!of_scopes.is_empty(), "the groups of scopes have no metrics");
    let recorded: BTreeSet<_> = shipped()?.into_iter().filter_map(|rule| rule.record).collect();
    let fleet = fs::read_to_string(source("tcpstat-user/docs/fleet.md")?)?;
    let texts = [printed(&["rules"])?, printed(&["dashboard"])?, printed(&["runbook"])?, fleet];
    let texts = texts.into_iter().chain([printed(&["dashboard", "--fleet"])?]);
    for text in texts {
        let named: BTreeSet<_> = words(&text).filter(|word| is_metric(word)).collect();
        ensure!(!named.is_empty(), "no metric is named in {text}");
        for name in named {
            let is_known = exported.contains(name) || of_scopes.contains(name);
            assert!(is_known || recorded.contains(name), "{name} is in no scrape");
        }
    }
    Ok(())
}

/// What can be the name of a metric.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |next: char| next.is_ascii_alphanumeric() || next == '_' || next == ':';
    text.split(move |next: char| !is_name(next)).map(|word| word.trim_end_matches(':'))
}

/// The metrics of scopes, which this exporter does not count. A unit test compares the table with the exposition.
fn names_of_scopes(metrics: &str) -> BTreeSet<&str> {
    let groups = ["| `netns` |", "| `cgroup` |", "| `port` |", "| `scopes` |"];
    let rows = metrics.lines().filter(|line| groups.iter().any(|group| line.starts_with(group)));
    rows.flat_map(|row| row.split('`')).filter(|word| is_metric(word)).collect()
}

/// Whether `word` is the name of a metric, recorded or scraped.
fn is_metric(word: &str) -> bool {
    let prefixes = ["tcpstat_", "node_tcp_", "process_"];
    let named =
        word.contains(":tcpstat_") || prefixes.iter().any(|prefix| word.starts_with(prefix));
    // Otherwise it is the beginning of a regular expression.
    named && !word.ends_with('_')
}
