//! The exposition, byte for byte, in both formats.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::{compare_with_golden, path_from};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;

use crate::web::anywhere;

/// A fixture with everything that exists without a tracer, with limits.
const CASE: &str = "host-6.18";

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        the_classic_exposition_equals_the_golden_file,
        the_openmetrics_exposition_equals_the_golden_file,
        promtool_reports_no_problem,
        node_exporters_metric_is_exported_byte_for_byte,
        without_a_tracer_there_are_no_transitions,
        limits_are_exported_if_they_can_be_read,
        a_broken_sockstat_removes_only_its_own_metrics,
        a_scrape_gets_the_groups_it_asks_for,
        a_scrape_of_all_has_every_family_and_series,
        a_filter_that_makes_no_sense_is_refused_in_one_line
    ]
}

fn the_classic_exposition_equals_the_golden_file() -> Result<()> {
    let response = anywhere(CASE)?.start()?.get("/metrics")?;
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    compare_with_golden("metrics/host-6.18.prom", &masked(&response.body))
}

fn the_openmetrics_exposition_equals_the_golden_file() -> Result<()> {
    let mut exporter = anywhere(CASE)?.start()?;
    let response = exporter.scraper().get_as("/metrics", OPENMETRICS)?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(response.header("content-type"), Some(content_type));
    assert!(response.body.ends_with("\n# EOF\n"));
    compare_with_golden("metrics/host-6.18.openmetrics", &masked(&response.body))
}

fn promtool_reports_no_problem() -> Result<()> {
    let body = anywhere(CASE)?.start()?.get("/metrics")?.body;
    let mut promtool = Command::new(path_from("TCPSTAT_PROMTOOL")?)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start promtool")?;
    promtool.stdin.take().context("its standard input")?.write_all(body.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && text.is_empty(), "{}: {text}", output.status);
    Ok(())
}

/// The output of node_exporter's collector tcpstat, plus the states without sockets, which it omits.
fn node_exporters_metric_is_exported_byte_for_byte() -> Result<()> {
    let body = anywhere("debian-7.2")?.start()?.get("/metrics")?.body;
    let expected = "\
# HELP node_tcp_connection_states Number of connection states.
# TYPE node_tcp_connection_states gauge
node_tcp_connection_states{state=\"close\"} 0
node_tcp_connection_states{state=\"close_wait\"} 15
node_tcp_connection_states{state=\"closing\"} 3
node_tcp_connection_states{state=\"established\"} 30
node_tcp_connection_states{state=\"fin_wait1\"} 6
node_tcp_connection_states{state=\"fin_wait2\"} 15
node_tcp_connection_states{state=\"last_ack\"} 6
node_tcp_connection_states{state=\"listen\"} 18
node_tcp_connection_states{state=\"rx_queued_bytes\"} 40815
node_tcp_connection_states{state=\"syn_recv\"} 9
node_tcp_connection_states{state=\"syn_sent\"} 6
node_tcp_connection_states{state=\"time_wait\"} 12
node_tcp_connection_states{state=\"tx_queued_bytes\"} 24642
";
    let start = body.find("# HELP node_tcp_connection_states").context("no such metric")?;
    assert_eq!(&body[start..start + expected.len()], expected);
    let after = body[start + expected.len()..].contains("node_tcp_connection_states");
    assert!(!after, "the metric appears twice");
    Ok(())
}

fn without_a_tracer_there_are_no_transitions() -> Result<()> {
    let mut exporter = anywhere("debian-7.2")?.start()?;
    let scrape = exporter.scrape()?;
    assert_eq!(scrape.value("tcpstat_tracer_up", &[])?, 0.0);
    let none = [("program", "none"), ("snapshot", "procfs"), ("hooks", "none")];
    assert_eq!(scrape.value("tcpstat_tracer_info", &none)?, 1.0);
    assert!(scrape.family("tcpstat_transitions_total").is_empty());
    let warnings: Vec<_> =
        exporter.log().lines().filter(|l| l.contains("WARN")).map(str::to_owned).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("using snapshots only"), "{warnings:?}");
    Ok(())
}

fn limits_are_exported_if_they_can_be_read() -> Result<()> {
    let scrape = anywhere(CASE)?.start()?.scrape()?;
    assert_eq!(scrape.value("tcpstat_time_wait_limit", &[])?, 131_072.0);
    assert_eq!(scrape.value("tcpstat_ephemeral_ports", &[])?, 28_232.0);
    assert_eq!(scrape.value("tcpstat_ephemeral_ports_fullest_destination", &[])?, 10.0);
    let scrape = anywhere("debian-7.2")?.start()?.scrape()?;
    for limit in [
        "tcpstat_time_wait_limit",
        "tcpstat_ephemeral_ports",
        "tcpstat_ephemeral_ports_fullest_destination",
    ] {
        assert!(scrape.family(limit).is_empty(), "{limit}");
    }
    Ok(())
}

fn a_broken_sockstat_removes_only_its_own_metrics() -> Result<()> {
    for case in ["broken-sockstat", "broken-sockstat-number"] {
        let scrape = anywhere(case)?.start()?.scrape()?;
        assert!(scrape.family("tcpstat_sockstat_sockets").is_empty(), "{case}");
        assert_eq!(scrape.connections()?.len(), 22, "{case}");
    }
    Ok(())
}

fn a_scrape_gets_the_groups_it_asks_for() -> Result<()> {
    let mut exporter = anywhere(CASE)?.start()?;
    let families = |body: &str| -> Vec<String> {
        let types = body.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let all = families(&exporter.get("/metrics")?.body);
    for query in
        ["collect[]=connections&collect[]=tracer", "collect%5B%5D=tracer&collect[]=connections"]
    {
        let some = families(&exporter.get(&format!("/metrics?{query}"))?.body);
        let expected = ["tcpstat_connections", "tcpstat_connections_peak", "tcpstat_tracer_up"];
        assert_eq!(some, expected, "{query}");
    }
    let others = families(&exporter.get("/metrics?exclude[]=connections&exclude[]=process")?.body);
    let expected = all
        .iter()
        .filter(|name| !name.starts_with("tcpstat_connections") && !name.starts_with("process_"));
    assert_eq!(others.iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    // Groups that are off are empty, so that all hosts can have one scrape configuration.
    assert_eq!(exporter.get("/metrics?collect[]=netns&collect[]=cadvisor")?.body, "");
    let openmetrics = exporter.scraper().get_as("/metrics?collect[]=build", OPENMETRICS)?.body;
    assert_eq!(families(&openmetrics), ["tcpstat_build_info"]);
    assert!(openmetrics.ends_with("\n# EOF\n"), "{openmetrics}");
    // As in node_exporter, other parameters do nothing.
    assert_eq!(families(&exporter.get("/metrics?name=none&x")?.body), all);
    Ok(())
}

fn a_scrape_of_all_has_every_family_and_series() -> Result<()> {
    let mut exporter = anywhere(CASE)?.start()?;
    let mut series = |query: &str| -> Result<BTreeSet<String>> {
        let body = exporter.get(&format!("/metrics{query}"))?.body;
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| Ok(line.rsplit_once(' ').context("no value")?.0.to_owned())).collect()
    };
    let (plain, all) = (series("")?, series("?collect[]=all")?);
    assert_eq!(series("?collect[]=default&collect[]=details")?, all);
    assert_eq!(series("?collect[]=default")?, plain);
    assert_eq!(series("?exclude[]=details")?, plain);
    assert!(plain.is_subset(&all));
    for detail in [
        r#"tcpstat_connections{family="ipv6",state="close"}"#,
        r#"tcpstat_connections_peak{state="listen"}"#,
        r#"tcpstat_snapshot_connections{family="ipv4",state="listen"}"#,
        r#"tcpstat_sockstat_sockets{kind="inuse",family="ipv4"}"#,
        "process_open_fds",
    ] {
        assert!(all.contains(detail) && !plain.contains(detail), "{detail}");
    }
    Ok(())
}

fn a_filter_that_makes_no_sense_is_refused_in_one_line() -> Result<()> {
    let mut exporter = anywhere(CASE)?.start()?;
    for (query, reason) in [
        ("collect[]=connections&exclude[]=process", "cannot be combined"),
        ("collect=connections", "unknown parameter `collect`: write `collect[]`"),
        (
            "collect[]=netstat",
            "collect[]=netstat: there is no such group; the groups are connections, ",
        ),
        ("exclude[]=", "exclude[]=: there is no such group; the groups are connections, "),
        ("exclude[]=all", "exclude[]=all: there is no such group"),
        (&"x".repeat(4096), "the query has 4096 bytes"),
    ] {
        let response = exporter.get(&format!("/metrics?{query}"))?;
        assert_eq!(response.status, 400, "{query}");
        assert_eq!(response.body.lines().count(), 1, "{}", response.body);
        assert!(response.body.contains(reason), "{}", response.body);
    }
    Ok(())
}

/// The exposition with `*` for the values that differ between two runs.
fn masked(body: &str) -> String {
    let varies = [
        "process_",
        "tcpstat_build_info{",
        "tcpstat_snapshot_timestamp_seconds{",
        "tcpstat_snapshot_duration_seconds{",
    ];
    let mask = |line: &str| match line.split_once([' ', '{']) {
        Some((name, _)) if varies.iter().any(|prefix| line.starts_with(prefix)) => {
            format!("{name} *\n")
        }
        _ => match line.split_once("kernel=\"") {
            Some((before, release)) => {
                let end = release.find('"').unwrap_or(release.len());
                format!("{before}kernel=\"*{}\n", &release[end..])
            }
            None => format!("{line}\n"),
        },
    };
    body.lines().map(mask).collect()
}
