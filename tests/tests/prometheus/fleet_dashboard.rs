//! The dashboard of the fleet: what it reads, and where its tables lead.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpstat_tests::binary::printed;
use tcpstat_tests::deadline::{Progress, poll};
use tcpstat_tests::fleet::{Fleet, Profile, Served};
use tcpstat_tests::harness::Test;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::prometheus::{Prometheus, Series};
use tcpstat_tests::remote_write::{remote_write, victoria_metrics, vmalert};
use tcpstat_tests::rules::{scaled, shipped};
use tcpstat_tests::server::REQUEST_INTERVAL;
use tcpstat_tests::{hermetic_tests, kernel_tests};
use tempfile::TempDir;

use crate::dashboard::{dashboard, list, panels, parsed, queries};
use crate::rule_files::promtool;
use crate::scene::{DEADLINE, DIVISOR, Scene, Traffic, is_data, refused};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        every_query_of_the_fleet_and_every_rule_has_the_same_answer_in_victoria_metrics
    ];
    tests.extend(hermetic_tests![
        the_dashboard_of_the_fleet_reads_what_the_rules_record,
        tables_of_hosts_lead_to_the_dashboard_of_the_host,
        a_table_without_rows_says_why,
        all_instances_of_a_fleet_are_no_list_in_a_query,
        hosts_of_two_clusters_with_the_same_instance_are_two_hosts_on_the_dashboards
    ]);
    tests
}

/// Hosts of two sites, one of which does not answer; some leak, some are blind.
const HOSTS: u64 = 12;

/// Where VictoriaMetrics listens.
const VICTORIA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8428);

/// Where vmalert listens.
const VMALERT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8880);

/// A port that a service of the real host leaks at.
const PORT: u16 = 8080;

fn fleet_dashboard() -> Result<Value> {
    parsed(&["dashboard", "--fleet"])
}

/// A simulated fleet, and a real host with scopes. Prometheus scrapes them, and sends all that it has to VictoriaMetrics.
fn every_query_of_the_fleet_and_every_rule_has_the_same_answer_in_victoria_metrics(
    namespace: &Namespace,
) -> Result<()> {
    let fleet = Fleet {
        sites: 2,
        #[expect(clippy::cast_precision_loss, reason = "it is small")]
        speed: DIVISOR as f64,
        leak_every: Some(4),
        blind_every: Some(4),
        lost_site: Some(1),
        ..Fleet::quiet(HOSTS)
    };
    let victoria = victoria_metrics(VICTORIA)?;
    let served = Served::start(fleet, vec![(Profile::Standard, Profile::Standard.shape()?)])?;
    let job = served.job(Profile::Standard, None);
    let job = job.replace("job_name: tcpstat", "job_name: tcpstat/fleet");
    let job = format!("  {}\n", job.trim_end().replace('\n', "\n  "));
    let more = format!("{job}{}", remote_write(VICTORIA));
    let ports = format!("--ports={PORT}");
    let scene = Scene::with(namespace, &["--cgroups=**", &ports], &more)?;
    let _leaked = leak_at(PORT)?;
    // More than the connects that succeed over the other family.
    let _refused = Traffic::every(Duration::from_millis(5), refused);
    let dashboard = fleet_dashboard()?;
    for (title, query) in queries(&dashboard)? {
        let query = query.replace("$job", ".+").replace("$site", ".*");
        let answer = scene.prometheus.await_query(&query, DEADLINE, |answer| {
            is_data(answer) && answer.iter().any(|series| series.value != 0.0)
        });
        let answer =
            answer.with_context(|| format!("panel {title}\n{}", scene.prometheus.log()))?;
        ensure_alike(&victoria, &query, &answer).with_context(|| format!("panel {title}"))?;
    }
    // The variables, as Grafana asks for their values. No host of the second site answers.
    for (name, expected) in [("job", ["tcpstat", "tcpstat/fleet"]), ("site", ["site-0", "site-1"])]
    {
        let (selector, label) = variable(&dashboard, name)?;
        let selector = selector.replace("$job", ".+");
        for database in [&scene.prometheus, &victoria] {
            assert_eq!(database.label_values(&selector, &label)?, expected, "{name}");
        }
    }

    // What the rules ask. vmalert asks the same.
    for rule in shipped()? {
        let query = scaled(&rule.expr, DIVISOR)?;
        let answer = scene.prometheus.query(&query)?;
        // An alert can end between the two.
        let answer = if rule.alert.is_some() { Vec::new() } else { answer };
        ensure_alike(&victoria, &query, &answer).with_context(|| format!("{rule:?}"))?;
    }
    every_alert_fires_in_vmalert(&scene.prometheus)
}

/// The templates of an alert are evaluated when it fires only, so each alert that fires in Prometheus must do so in vmalert.
fn every_alert_fires_in_vmalert(prometheus: &Prometheus) -> Result<()> {
    let leak = "ALERTS{alertname=\"TcpCloseWaitLeak\",alertstate=\"firing\"}";
    prometheus.await_query(leak, DEADLINE, is_data)?;
    let firing = prometheus.query("count by (alertname) (ALERTS{alertstate=\"firing\"})")?;
    let rules = scaled(&printed(&["rules"])?, DIVISOR)?;
    let vmalert = vmalert(VMALERT, VICTORIA, &rules, Duration::from_millis(500))?;
    for series in firing {
        let name = series.labels.get("alertname").context("no name")?;
        poll(&format!("{name} of vmalert"), DEADLINE, REQUEST_INTERVAL, || {
            let answer: Value = serde_json::from_str(&vmalert.get("/api/v1/alerts")?.body)?;
            let fires = |alert: &Value| alert["name"] == **name && alert["state"] == "firing";
            let is_firing = list(&answer["data"], "alerts")?.iter().any(fires);
            Ok(if is_firing { Progress::Done(()) } else { Progress::NotYet(vmalert.log()) })
        })?;
    }
    Ok(())
}

/// The selector and the label of a variable of a dashboard.
fn variable(dashboard: &Value, name: &str) -> Result<(String, String)> {
    let variables = list(&dashboard["templating"], "list")?;
    let variable = variables.iter().find(|variable| variable["name"] == name);
    let query = variable.and_then(|found| found["query"]["query"].as_str()).context("no query")?;
    let arguments = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    let arguments = arguments.and_then(|arguments| arguments.rsplit_once(", "));
    let (selector, label) = arguments.with_context(|| query.to_owned())?;
    Ok((selector.to_owned(), label.to_owned()))
}

/// Waits until VictoriaMetrics has an answer to `query` whose series have the labels that all series of the other answer
/// have. Only the hosts of the simulated fleet have a site, and which hosts are at the top can differ.
fn ensure_alike(victoria: &Prometheus, query: &str, expected: &[Series]) -> Result<()> {
    let names = |series: &Series| -> BTreeSet<String> {
        series.labels.keys().filter(|label| *label != "site").cloned().collect()
    };
    let common = expected.iter().map(names).reduce(|all, next| &all & &next);
    let answer = victoria.await_query(query, DEADLINE, |answer| {
        let Some(common) = &common else { return true };
        !answer.is_empty() && answer.iter().all(|series| names(series).is_superset(common))
    });
    answer.map(drop).with_context(|| format!("VictoriaMetrics, expected {common:?}"))
}

/// A socket in CLOSE_WAIT with that local port.
fn leak_at(port: u16) -> Result<TcpStream> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    drop(client);
    Ok(accepted)
}

/// A query over what 10,000 hosts export would take seconds. ALERTS is what alerting rules record.
fn the_dashboard_of_the_fleet_reads_what_the_rules_record() -> Result<()> {
    let recorded: BTreeSet<_> = shipped()?.into_iter().filter_map(|rule| rule.record).collect();
    for (title, query) in queries(&fleet_dashboard()?)? {
        let is_name = |next: char| next.is_ascii_alphanumeric() || next == '_' || next == ':';
        let selectors = query.match_indices('{').map(|(brace, _)| {
            let before = &query[..brace];
            &before[before.rfind(|next| !is_name(next)).map_or(0, |end| end + 1)..]
        });
        let selectors: Vec<_> = selectors.collect();
        ensure!(!selectors.is_empty(), "{title}: {query}");
        for name in selectors {
            ensure!(recorded.contains(name) || name == "ALERTS", "{title} reads {name}: {query}");
        }
    }
    Ok(())
}

fn tables_of_hosts_lead_to_the_dashboard_of_the_host() -> Result<()> {
    let host = dashboard()?;
    let variables: BTreeSet<_> = list(&host["templating"], "list")?
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    let uid = host["uid"].as_str().context("no uid")?;
    let mut leading = 0;
    for panel in panels(&fleet_dashboard()?)?.into_iter().filter(|panel| panel["type"] == "table") {
        let columns = &panel["transformations"][0]["options"];
        for override_ in list(&panel["fieldConfig"], "overrides")? {
            let Some(link) = override_["properties"][0]["value"][0]["url"].as_str() else {
                continue;
            };
            let (path, arguments) = link.split_once('?').context("no variables")?;
            assert_eq!(path, format!("/d/{uid}"));
            for argument in arguments.split('&').filter(|argument| argument.starts_with("var-")) {
                let (name, value) = argument[4..].split_once('=').context("no value")?;
                assert!(variables.contains(name), "{link}");
                // The value is that of a column, which must not be hidden.
                let column = value.strip_prefix("${__data.fields.");
                let Some(column) = column.and_then(|rest| rest.strip_suffix('}')) else {
                    assert_eq!((name, value), ("datasource", "${datasource}"));
                    continue;
                };
                assert_eq!(column, name);
                assert!(columns["indexByName"][column].is_u64(), "{}: {column}", panel["title"]);
                assert!(columns["excludeByName"][column].is_null());
            }
            leading += usize::from(override_["matcher"]["options"] == "instance");
        }
        let has_hosts = columns["indexByName"]["instance"].is_u64();
        let leads = panel["fieldConfig"]["overrides"][0]["matcher"]["options"] == "instance";
        assert_eq!(has_hosts, leads, "{}", panel["title"]);
    }
    ensure!(leading >= 5, "{leading} tables of hosts");
    Ok(())
}

fn a_table_without_rows_says_why() -> Result<()> {
    for panel in panels(&fleet_dashboard()?)? {
        let text = panel["fieldConfig"]["defaults"]["noValue"].as_str().unwrap_or_default();
        assert!(panel["type"] != "table" || text.len() > 10, "{}: {text:?}", panel["title"]);
    }
    Ok(())
}

/// Else Grafana puts the names of 10,000 hosts into each query. VictoriaMetrics refuses a query of more than 16 kB.
fn all_instances_of_a_fleet_are_no_list_in_a_query() -> Result<()> {
    let dashboard = dashboard()?;
    let variables = list(&dashboard["templating"], "list")?;
    let instance = variables.iter().find(|variable| variable["name"] == "instance");
    assert_eq!(instance.context("no instance")?["allValue"], ".+");
    Ok(())
}

/// At a centre that several Prometheus servers send to.
fn hosts_of_two_clusters_with_the_same_instance_are_two_hosts_on_the_dashboards() -> Result<()> {
    let mut series = Vec::new();
    for cluster in ["berlin", "oslo"] {
        let host = format!("cluster=\"{cluster}\",job=\"tcpstat\",instance=\"10.0.0.1:10048\"");
        series.extend([
            format!("ALERTS{{alertname=\"TcpSynFlood\",alertstate=\"firing\",{host}}}"),
            format!("tcpstat_tracer_info{{program=\"tp_btf\",{host}}}"),
            format!("tcpstat_build_info{{version=\"0.2.0\",{host}}}"),
        ]);
    }
    let series: Vec<_> =
        series.iter().map(|series| json!({"series": series, "values": "1"})).collect();
    let counted = |dashboard: &Value, title: &str| -> Result<String> {
        let query = queries(dashboard)?.into_iter().find(|(of, _)| *of == title);
        let (_, query) = query.with_context(|| title.to_owned())?;
        let all = ["$job", "$site", "$instance"];
        Ok(all.iter().fold(query.to_owned(), |query, variable| query.replace(variable, ".*")))
    };
    let faults = counted(&fleet_dashboard()?, "Faults")?;
    let info = format!("count({})", counted(&dashboard()?, "How tcpstat counts")?);
    let expected = |query: &str, labels: &str| json!({"expr": query, "exp_samples": [{"labels": labels, "value": 2}]});
    let file = json!({"tests": [{
        "input_series": series,
        "promql_expr_test": [expected(&faults, "{alertname=\"TcpSynFlood\"}"), expected(&info, "{}")],
    }]});
    let folder = TempDir::new()?;
    fs::write(folder.path().join("test.yml"), file.to_string())?;
    promtool(&["test", "rules", "test.yml"], &folder)
}
