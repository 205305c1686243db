//! The queries of the dashboards, and how long they take.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::Value;
use tcpstat_tests::binary::{printed, tcpstat};
use tcpstat_tests::prometheus::Prometheus;

/// A query of a panel.
pub(crate) struct Query {
    /// The dashboard and the panel.
    pub(crate) name: String,
    expression: String,
    is_instant: bool,
}

/// The host whose dashboard is shown.
const INSTANCE: &str = "host-3:10048";

/// What a panel shows: that time, in that many steps.
const SHOWN: Duration = Duration::from_hours(1);
const STEPS: u64 = 240;

/// Every query of the dashboard of one host, and of that of the fleet.
pub(crate) fn of_dashboards() -> Result<Vec<Query>> {
    let mut queries = of("host", &printed(&["dashboard"])?, INSTANCE)?;
    let fleet = tcpstat(["print", "dashboard", "--fleet"])?;
    if fleet.status == Some(0) {
        queries.extend(of("fleet", &fleet.stdout, ".*")?);
    }
    Ok(queries)
}

fn of(dashboard: &str, text: &str, instance: &str) -> Result<Vec<Query>> {
    let text: Value = serde_json::from_str(text)?;
    let variables = text["templating"]["list"].as_array().into_iter().flatten();
    let variables: Vec<_> = variables.filter_map(|variable| variable["name"].as_str()).collect();
    let panels = text["panels"].as_array().context("no panels")?;
    let inner = panels.iter().flat_map(|panel| panel["panels"].as_array().into_iter().flatten());
    let mut queries = Vec::new();
    for panel in panels.iter().chain(inner) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().context("a target has no expression")?;
            let title = panel["title"].as_str().unwrap_or_default();
            queries.push(Query {
                name: format!("{dashboard}: {title}"),
                expression: filled(expression, &variables, instance),
                is_instant: target["instant"] == true,
            });
        }
    }
    Ok(queries)
}

/// As Grafana asks for this instance, with everything chosen in the other variables.
fn filled(expression: &str, variables: &[&str], instance: &str) -> String {
    let mut filled = expression.replace("$__rate_interval", "4m").replace("$__range", "1h");
    for name in variables {
        let value = if *name == "instance" { instance } else { ".*" };
        filled = filled.replace(&format!("${name}"), value).replace(&format!("${{{name}}}"), value);
    }
    filled
}

impl Query {
    /// The seconds of each of so many runs, after one that warms up.
    pub(crate) fn times(&self, database: &Prometheus, runs: usize) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for _ in 0..=runs {
            let started = Instant::now();
            self.ask(database).with_context(|| format!("{}: {}", self.name, self.expression))?;
            times.push(started.elapsed().as_secs_f64());
        }
        times.remove(0);
        Ok(times)
    }

    fn ask(&self, database: &Prometheus) -> Result<()> {
        let query = ("query", self.expression.as_str());
        if self.is_instant {
            return database.api("query", &[query]).map(drop);
        }
        let end = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let [start, end, step] =
            [end - SHOWN.as_secs(), end, SHOWN.as_secs() / STEPS].map(|number| number.to_string());
        let range = [query, ("start", &start), ("end", &end), ("step", &step)];
        database.api("query_range", &range).map(drop)
    }
}
