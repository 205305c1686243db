//! The API beside the metrics: both show the same numbers.

use anyhow::{Context, Result};
use serde_json::Value;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::tcp::Family;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_history_ends_with_the_numbers_of_the_metrics,
        the_status_names_program_and_hooks_and_reports_agreement
    ]
}

fn the_history_ends_with_the_numbers_of_the_metrics(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--snapshot-interval=1h"])?;
    for family in Family::ALL {
        Churn { threads: 1, connections: 100, family, resets: true }.run()?;
    }
    proc_view::await_quiet(DEADLINE)?;
    wait_until("history that ends as the metrics say", DEADLINE, || {
        let history = json(&mut exporter, "/api/v1/history")?;
        let difference = difference(&history, &exporter.scrape()?)?;
        Ok(difference.map_or(Progress::Done(()), Progress::NotYet))
    })
}

/// The first series of the metrics that differs from the newest sample.
fn difference(history: &Value, scrape: &Scrape) -> Result<Option<String>> {
    let last = |column: &Value| column.as_array()?.last()?.as_f64();
    for name in ["tcpstat_connections", "tcpstat_transitions_total"] {
        let series = scrape.family(name);
        assert!(series.len() >= 22, "{name}");
        for sample in series {
            let label = |label: &str| {
                sample.labels.get(label).with_context(|| format!("{name} without {label}"))
            };
            let family = label("family")?;
            let newest = if name == "tcpstat_connections" {
                last(&history["connections"][family][label("state")?])
            } else {
                let transitions = &history["transitions"][family];
                // The history omits transitions that have not occurred.
                last(&transitions[label("from")?][label("to")?]).or(Some(0.0))
            };
            if newest != Some(sample.value) {
                return Ok(Some(format!("{newest:?} instead of {sample:?}")));
            }
        }
    }
    Ok(None)
}

fn the_status_names_program_and_hooks_and_reports_agreement(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--tracer=btf,tracepoint"])?;
    let hooks = exporter.hooks()?;
    let status = wait_until("agreement with the kernel", DEADLINE, || {
        let status = json(&mut exporter, "/api/v1/status")?;
        let agreed = status["tracer"]["agreed_ms_ago"].is_u64();
        Ok(if agreed { Progress::Done(status) } else { Progress::NotYet(status.to_string()) })
    })?;
    let tracer = &status["tracer"];
    assert_eq!(tracer["program"], "tp_btf");
    assert_eq!(tracer["consistent"], true);
    assert_eq!(tracer["drift"], Value::Array(Vec::new()));
    let groups = tracer["hooks"].as_array().context("no list of hooks")?;
    let groups: Vec<_> = groups.iter().filter_map(Value::as_str).collect();
    assert_eq!(if groups.is_empty() { "none".to_owned() } else { groups.join(",") }, hooks);
    Ok(())
}

fn json(exporter: &mut Exporter, path: &str) -> Result<Value> {
    let response = exporter.get(path)?;
    assert_eq!(response.status, 200, "{path}: {}", response.body);
    Ok(serde_json::from_str(&response.body)?)
}
