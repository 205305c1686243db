//! The dashboards: those of tcpstat, and the usual one for node_exporter.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcpstat_tests::binary::{output, path_from, printed, source};
use tcpstat_tests::harness::Test;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::{hermetic_tests, kernel_tests};
use tempfile::NamedTempFile;

use crate::scene::{DEADLINE, Scene, is_data};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        every_query_of_the_dashboard_has_data,
        every_variable_of_the_dashboard_finds_the_instance,
        a_panel_of_dashboard_1860_gets_exactly_one_series
    ];
    tests.extend(hermetic_tests![
        grafana_can_import_the_dashboards,
        grafana_knows_every_field_of_the_dashboards,
        every_panel_of_the_dashboards_has_description_unit_and_legend,
        the_panels_of_the_dashboards_do_not_overlap
    ]);
    tests
}

/// The panels that are zero if nothing is wrong. Every other panel must show the traffic.
const ZERO_WHEN_WELL: [&str; 7] = [
    "Resets in CLOSE_WAIT",
    "Connects that sent their SYN again",
    "Sockets in CLOSE_WAIT by age",
    "Dropped packets per second",
    "Drift",
    "Missed events and corrections",
    "Failed snapshots and rows",
];

/// What prints a dashboard, its uid, and its variables.
type Dashboard = (&'static [&'static str], &'static str, &'static [&'static str]);

const DASHBOARDS: [Dashboard; 2] = [
    (&["dashboard"], "tcpstat", &["cgroup", "datasource", "instance", "job", "netns", "port"]),
    (&["dashboard", "--fleet"], "tcpstat-fleet", &["datasource", "job", "site"]),
];

/// What Grafana knows without a definition in the dashboard.
const BUILT_IN: [&str; 4] = ["__rate_interval", "__all", "__data", "__url_time_range"];

pub(crate) fn dashboard() -> Result<Value> {
    parsed(DASHBOARDS[0].0)
}

/// The dashboard that `tcpstat print` prints with these arguments.
pub(crate) fn parsed(print: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&printed(print)?)?)
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("no list {key}"))
}

/// All panels without the rows.
pub(crate) fn panels(dashboard: &Value) -> Result<Vec<&Value>> {
    let panels = list(dashboard, "panels")?.iter().filter(|panel| panel["type"] != "row");
    let panels: Vec<_> = panels.collect();
    ensure!(!panels.is_empty(), "no panel");
    Ok(panels)
}

/// The title of the row whose panels are empty if no scopes are counted.
const SCOPES_ROW: &str = "Scopes";

/// The titles of the panels in that row.
fn scope_panels(dashboard: &Value) -> Result<BTreeSet<&str>> {
    let panels = list(dashboard, "panels")?.iter();
    let titles: BTreeSet<_> = panels
        .skip_while(|panel| panel["title"] != SCOPES_ROW)
        .skip(1)
        .take_while(|panel| panel["type"] != "row")
        .filter_map(|panel| panel["title"].as_str())
        .collect();
    ensure!(titles.len() == 9, "three panels for each kind of scope: {titles:?}");
    Ok(titles)
}

/// Panels' titles and queries.
pub(crate) fn queries(dashboard: &Value) -> Result<Vec<(&str, &str)>> {
    let mut queries = Vec::new();
    for panel in panels(dashboard)? {
        let title = panel["title"].as_str().context("no title")?;
        for target in list(panel, "targets")? {
            queries.push((title, target["expr"].as_str().context("no query")?));
        }
    }
    Ok(queries)
}

/// As Grafana does for a scrape every 500 ms and one chosen instance.
fn substituted(query: &str, instance: SocketAddr) -> String {
    query
        .replace("$__rate_interval", "2s")
        .replace("$job", "tcpstat")
        .replace("$instance", &instance.to_string().replace('.', "\\\\."))
        .replace("$netns", ".*")
        .replace("$cgroup", ".*")
        .replace("$port", ".*")
}

fn grafana_can_import_the_dashboards() -> Result<()> {
    DASHBOARDS.into_iter().try_for_each(grafana_can_import)
}

fn grafana_can_import((print, uid, expected): Dashboard) -> Result<()> {
    let dashboard = parsed(print)?;
    assert_eq!(dashboard["uid"], uid);
    // Grafana 10.0; later ones migrate it.
    assert_eq!(dashboard["schemaVersion"], 38);
    // By this tag each dashboard links to the other.
    assert!(list(&dashboard, "tags")?.contains(&"tcpstat".into()));
    assert_eq!(dashboard["links"][0]["tags"][0], "tcpstat");

    let variables: BTreeSet<_> = list(&dashboard["templating"], "list")?
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    assert_eq!(variables, expected.iter().copied().collect());
    let text = dashboard.to_string();
    // A dollar before a slash ends a regular expression.
    for name in text.split('$').skip(1).filter(|rest| !rest.starts_with('/')) {
        let name = name.trim_start_matches('{');
        let end = name.find(|next: char| next != '_' && !next.is_ascii_alphanumeric());
        let name = &name[..end.context("an open end")?];
        assert!(variables.contains(name) || BUILT_IN.contains(&name), "${name}");
    }

    let mut ids = BTreeSet::new();
    for panel in list(&dashboard, "panels")? {
        assert!(ids.insert(panel["id"].as_u64().context("no id")?), "{}", panel["id"]);
    }
    for panel in panels(&dashboard)? {
        for owner in [panel].into_iter().chain(list(panel, "targets")?) {
            assert_eq!(owner["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
    Ok(())
}

/// Validates them with the models that Grafana publishes.
fn grafana_knows_every_field_of_the_dashboards() -> Result<()> {
    for (print, _, _) in DASHBOARDS {
        let file = NamedTempFile::new()?;
        fs::write(file.path(), printed(print)?)?;
        let mut command = Command::new(path_from("TCPSTAT_SCHEMAS_PYTHON")?);
        let run = output(command.arg(source("tests/schemas/dashboard.py")?).arg(file.path()))?;
        ensure!(run.status == Some(0) && run.stdout.is_empty(), "{}{}", run.stdout, run.stderr);
    }
    Ok(())
}

fn every_panel_of_the_dashboards_has_description_unit_and_legend() -> Result<()> {
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    for (print, _, _) in DASHBOARDS {
        let dashboard = parsed(print)?;
        let mut titles = BTreeSet::new();
        for panel in panels(&dashboard)? {
            let title = panel["title"].as_str().context("no title")?;
            assert!(titles.insert(title), "{title} twice");
            assert!(text(&panel["description"]), "{title}: no description");
            assert!(text(&panel["fieldConfig"]["defaults"]["unit"]), "{title}: no unit");
            let targets = list(panel, "targets")?;
            let named =
                |target: &Value| target["format"] == "table" || text(&target["legendFormat"]);
            assert!(!targets.is_empty() && targets.iter().all(named), "{title}: no legend");
        }
    }
    let dashboard = dashboard()?;
    for title in ZERO_WHEN_WELL {
        assert!(panels(&dashboard)?.iter().any(|panel| panel["title"] == title), "no {title}");
    }
    Ok(())
}

fn the_panels_of_the_dashboards_do_not_overlap() -> Result<()> {
    for (print, _, _) in DASHBOARDS {
        let dashboard = parsed(print)?;
        let mut taken = BTreeSet::new();
        for panel in list(&dashboard, "panels")? {
            let place = |key: &str| panel["gridPos"][key].as_u64().context("no gridPos");
            let (x, y) = (place("x")?, place("y")?);
            assert!(x + place("w")? <= 24, "{} is too wide", panel["title"]);
            for column in x..x + place("w")? {
                for line in y..y + place("h")? {
                    assert!(taken.insert((column, line)), "{} overlaps", panel["title"]);
                }
            }
        }
    }
    Ok(())
}

fn every_query_of_the_dashboard_has_data(namespace: &Namespace) -> Result<()> {
    let scene = Scene::start(namespace)?;
    let dashboard = dashboard()?;
    let scope_panels = scope_panels(&dashboard)?;
    for (title, query) in queries(&dashboard)? {
        let query = substituted(query, scene.exporter.address());
        if scope_panels.contains(title) {
            scene
                .prometheus
                .await_query(&query, DEADLINE, <[_]>::is_empty)
                .with_context(|| format!("panel {title} without scopes"))?;
            continue;
        }
        let zero = ZERO_WHEN_WELL.contains(&title);
        scene
            .prometheus
            .await_query(&query, DEADLINE, |answer| {
                is_data(answer) && (zero || answer.iter().any(|series| series.value != 0.0))
            })
            .with_context(|| format!("panel {title}\n{}", scene.prometheus.log()))?;
    }
    Ok(())
}

fn every_variable_of_the_dashboard_finds_the_instance(namespace: &Namespace) -> Result<()> {
    let scene = Scene::start(namespace)?;
    scene.prometheus.await_query("tcpstat_build_info", DEADLINE, is_data)?;
    let dashboard = dashboard()?;
    for (name, expected) in
        [("job", "tcpstat".to_owned()), ("instance", scene.exporter.address().to_string())]
    {
        let variables = list(&dashboard["templating"], "list")?;
        let variable = variables.iter().find(|variable| variable["name"] == name);
        let query =
            variable.and_then(|found| found["query"]["query"].as_str()).context("no query")?;
        let (selector, label) = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|arguments| arguments.rsplit_once(", "))
            .with_context(|| query.to_owned())?;
        let selector = substituted(selector, scene.exporter.address());
        assert_eq!(scene.prometheus.label_values(&selector, label)?, [expected]);
    }
    Ok(())
}

/// "Node Exporter Full" has these queries, without aggregation: another label would double its legends.
fn a_panel_of_dashboard_1860_gets_exactly_one_series(namespace: &Namespace) -> Result<()> {
    let scene = Scene::start(namespace)?;
    let instance = scene.exporter.address();
    for state in ["established", "close_wait", "time_wait", "listen", "rx_queued_bytes"] {
        let query = format!(
            "node_tcp_connection_states{{state=\"{state}\",instance=\"{instance}\",job=\"tcpstat\"}}"
        );
        let answer = scene.prometheus.await_query(&query, DEADLINE, is_data)?;
        ensure!(answer.len() == 1, "{answer:?}");
    }
    Ok(())
}
