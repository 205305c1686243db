//! The configurations of Prometheus in the documentation: promtool accepts each, and those of an agent and of the centre that
//! receives from it work together.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcpstat_tests::alertmanager;
use tcpstat_tests::binary::{Run, output, path_from, printed, source};
use tcpstat_tests::deadline::{Progress, poll};
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::Test;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::prometheus::Prometheus;
use tcpstat_tests::remote_write::{RECEIVER, agent_with_files};
use tcpstat_tests::rules::scaled;
use tcpstat_tests::server::REQUEST_INTERVAL;
use tcpstat_tests::{hermetic_tests, kernel_tests};
use tempfile::TempDir;

use crate::scene::{DEADLINE, DIVISOR, is_data};

const DOCS: &str = "tcpstat-user/docs";

/// The first line of a configuration of Prometheus after comments, and of no other example.
const FIRST: [&str; 3] = ["global:", "scrape_configs:", "alerting:"];

/// The section of fleet.md with a configuration of an agent and one of the centre.
const SECTION: &str = "\n### If the site needs no rules of its own\n";

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![an_agent_and_the_centre_work_as_documented];
    tests.extend(hermetic_tests![
        promtool_accepts_the_configurations_in_the_documentation,
        an_agent_needs_the_configuration_of_its_own
    ]);
    tests
}

/// The configurations of Prometheus in a text.
fn configurations(text: &str) -> Vec<&str> {
    let blocks = text.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let is_one = |block: &&str| {
        let first = block.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
        FIRST.contains(&first)
    };
    blocks.filter(is_one).collect()
}

/// Those of an agent and of the centre.
fn of_agent_and_centre(page: &str) -> Result<[&str; 2]> {
    let (_, section) = page.split_once(SECTION).context(SECTION)?;
    let section = section.split("\n##").next().unwrap_or_default();
    let found = configurations(section);
    <[&str; 2]>::try_from(found).ok().context("one for the agent, and one for the centre")
}

fn fleet_page() -> Result<String> {
    Ok(fs::read_to_string(source(DOCS)?.join("fleet.md"))?)
}

fn checked(config: &str, more: &[&str]) -> Result<Run> {
    let folder = TempDir::new()?;
    fs::write(folder.path().join("prometheus.yml"), config)?;
    let mut promtool = Command::new(path_from("TCPSTAT_PROMTOOL")?);
    promtool.args(["check", "config", "--syntax-only"]).args(more).arg("prometheus.yml");
    output(promtool.current_dir(folder.path()))
}

fn promtool_accepts_the_configurations_in_the_documentation() -> Result<()> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(source(DOCS)?)? {
        let path = entry?.path();
        if path.extension() != Some("md".as_ref()) {
            continue;
        }
        let page = fs::read_to_string(&path)?;
        let found = configurations(&page);
        for config in &found {
            let run = checked(config, &[])?;
            let said = || format!("{}:\n{config}\n{}{}", path.display(), run.stdout, run.stderr);
            ensure!(run.status == Some(0), said());
        }
        if !found.is_empty() {
            let name = path.file_name().map(Path::new).context("no name")?;
            pages.push((name.display().to_string(), found.len()));
        }
    }
    pages.sort();
    let expected = [("access.md", 1), ("alerts.md", 1), ("fleet.md", 4), ("metrics.md", 1)];
    assert_eq!(pages, expected.map(|(name, count)| (name.to_owned(), count)));
    Ok(())
}

fn an_agent_needs_the_configuration_of_its_own() -> Result<()> {
    let page = fleet_page()?;
    let [agent, centre] = of_agent_and_centre(&page)?;
    let run = checked(agent, &["--agent"])?;
    ensure!(run.status == Some(0), "{}{}", run.stdout, run.stderr);
    let first = configurations(&page)[0];
    for config in [first, centre] {
        let run = checked(config, &["--agent"])?;
        assert_eq!(run.status, Some(1), "{config}");
        let refused = "field alerting is not allowed in agent mode";
        assert!(run.stderr.contains(refused), "{}", run.stderr);
    }
    Ok(())
}

/// With other addresses, and shorter times. The alert is about a host that stops answering: the agent sends that too.
fn an_agent_and_the_centre_work_as_documented(_: &Namespace) -> Result<()> {
    let page = fleet_page()?;
    let [agent, centre] = of_agent_and_centre(&page)?;
    let exporter = Options::default().start()?;
    let nowhere: SocketAddr = ([127, 0, 0, 1], 9).into();
    let config = alertmanager::shipped(nowhere, nowhere)?;
    let alertmanager = alertmanager::start(&PrivateMounts::enter()?, &config)?;
    let central: SocketAddr = ([127, 0, 0, 1], 9090).into();
    let centre = with(
        centre,
        &[
            ("15s", "500ms"),
            ("tcpstat-rules.yml", "rules.yml"),
            ("alertmanager.example:9093", &alertmanager.address().to_string()),
        ],
    )?;
    let rules = scaled(&printed(&["rules"])?, DIVISOR)?;
    let centre = Prometheus::start_at(central, &RECEIVER, &centre, &rules)?;
    // By default it waits five seconds for more samples.
    let sends = format!("{central}/api/v1/write\n    queue_config: {{batch_send_deadline: 500ms}}");
    let words = [("15s", "500ms"), ("centre.example:9090/api/v1/write", &sends)];
    let hosts = format!("- targets: ['{}']\n", exporter.address());
    let agent = with(agent, &words)?;
    let files = [("prometheus.yml", agent.as_str()), ("tcpstat-hosts.yml", hosts.as_str())];
    let _agent = agent_with_files(([127, 0, 0, 1], 9091).into(), &files)?;

    let counts = "job:tcpstat_tracer_up:sum{job=\"tcpstat\",site=\"berlin\"} == 1";
    centre.await_query(counts, DEADLINE, is_data).with_context(|| centre.log())?;
    let instance = exporter.address().to_string();
    ensure!(exporter.stop()?.success(), "the exporter failed");
    poll("alert in Alertmanager", DEADLINE, REQUEST_INTERVAL, || {
        let body = alertmanager.get("/api/v2/alerts")?.body;
        let alerts: Vec<Value> = serde_json::from_str(&body)?;
        let is_it = |alert: &Value| {
            let labels = &alert["labels"];
            labels["alertname"] == "TcpstatDown"
                && labels["instance"] == *instance
                && labels["site"] == "berlin"
        };
        let has_it = alerts.iter().any(is_it);
        Ok(if has_it { Progress::Done(()) } else { Progress::NotYet(body) })
    })
}

/// `text` with each of the first words, which it must have, replaced.
fn with(text: &str, words: &[(&str, &str)]) -> Result<String> {
    let mut text = text.to_owned();
    for (from, to) in words {
        ensure!(text.contains(from), "no {from} in\n{text}");
        text = text.replace(from, to);
    }
    Ok(text)
}
