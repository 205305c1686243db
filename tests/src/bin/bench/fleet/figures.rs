//! What was measured of fleets, in this run and in those before, as a table and a plot.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::plot::{Line, Plot};

/// Profile, number of hosts, and engine.
pub(crate) type Case = (String, u64, String);

/// The values of each case, by what they are.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    cases: BTreeMap<Case, BTreeMap<String, f64>>,
}

/// Seconds of a query, of a rule, and of a group of rules.
pub(crate) const QUERY: &str = "query ";
pub(crate) const RULE: &str = "rule ";
pub(crate) const GROUP: &str = "group ";

/// Bytes and cores of a server.
pub(crate) const MEMORY: &str = "memory ";
pub(crate) const CORES: &str = "cores ";

pub(crate) const SERIES: &str = "series";
pub(crate) const SAMPLES: &str = "samples a second";
pub(crate) const BYTES: &str = "bytes a sample";
pub(crate) const PER_SERIES: &str = "samples a series";
pub(crate) const INTERVAL: &str = "interval";

const FILE: &str = "fleet.csv";

/// The lines of the plot: profile, engine, server.
const LINES: [(&str, &str, &str, &str, &str); 7] = [
    ("minimal", "one", "Prometheus", "minimal", "#57606a"),
    ("standard", "one", "Prometheus", "standard", "#1a7f37"),
    ("scopes", "one", "Prometheus", "scopes", "#cf222e"),
    ("standard", "remote-write", "agent", "agent", "#9a6700"),
    ("standard", "remote-write", "Prometheus", "its receiver", "#bf3989"),
    ("standard", "victoria-metrics", "VictoriaMetrics", "VictoriaMetrics", "#8250df"),
    ("standard", "shards", "Prometheus", "one of two shards", "#0969da"),
];

impl Figures {
    /// Those of earlier runs.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut figures = Self::default();
        let Ok(text) = fs::read_to_string(folder.join(FILE)) else { return Ok(figures) };
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split(';').collect();
            let [profile, hosts, engine, what, value] = fields[..] else {
                anyhow::bail!("{FILE} has the line {line}: remove the file")
            };
            let case = (profile.to_owned(), hosts.parse()?, engine.to_owned());
            figures.cases.entry(case).or_default().insert(what.to_owned(), value.parse()?);
        }
        Ok(figures)
    }

    /// Replaces what an earlier run has of this case.
    pub(crate) fn put(&mut self, case: Case, values: BTreeMap<String, f64>) {
        self.cases.insert(case, values);
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let files = [(FILE, self.csv()), ("fleet.md", self.table()), ("fleet.svg", self.plot())];
        for (name, text) in files {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    fn csv(&self) -> String {
        let mut text = "profile;hosts;engine;what;value\n".to_owned();
        for ((profile, hosts, engine), values) in &self.cases {
            for (what, value) in values {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{profile};{hosts};{engine};{what};{value}");
            }
        }
        text
    }

    /// Of all cases, then every query and every group of rules of each.
    pub(crate) fn table(&self) -> String {
        let mut text = "| profile | hosts | engine | interval | series | samples a second | bytes a sample (samples a series) | \
             memory | cores | slowest group of rules | slowest query of a host | slowest query of the fleet |\n\
             | --- | ---: | --- | ---: | ---: | ---: | ---: | --- | --- | --- | --- | --- |\n"
            .to_owned();
        for ((profile, hosts, engine), values) in &self.cases {
            let value = |name: &str| values.get(name).copied().unwrap_or_default();
            let each = |prefix: &str, unit: f64, suffix: &str| {
                let all = values.iter().filter_map(|(what, value)| {
                    let name = what.strip_prefix(prefix)?;
                    Some(format!("{name} {}{suffix}", rounded(value / unit)))
                });
                all.collect::<Vec<_>>().join(", ")
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {profile} | {hosts} | {engine} | {} s | {:.0} | {} | {:.1} ({:.0}) | {} | {} | {} | {} | {} |",
                value(INTERVAL),
                value(SERIES),
                rounded(value(SAMPLES)),
                value(BYTES),
                value(PER_SERIES),
                each(MEMORY, 1e6, " MB"),
                each(CORES, 1.0, ""),
                slowest(values, GROUP),
                slowest(values, &format!("{QUERY}host: ")),
                slowest(values, &format!("{QUERY}fleet: ")),
            );
        }
        text.push_str("\n| profile | hosts | engine | group of rules, rule, or query (p95) | seconds |\n| --- | ---: | --- | --- | ---: |\n");
        for ((profile, hosts, engine), values) in &self.cases {
            for (what, value) in values {
                if [QUERY, RULE, GROUP].iter().any(|prefix| what.starts_with(prefix)) {
                    let _ =
                        writeln!(text, "| {profile} | {hosts} | {engine} | {what} | {value:.4} |");
                }
            }
        }
        text
    }

    fn plot(&self) -> String {
        let line = |(profile, engine, server, name, color)| {
            let points = self.cases.iter().filter_map(|((of, hosts, with), values)| {
                let memory = values.get(&format!("{MEMORY}{server}"))?;
                (of == profile && with == engine).then_some((*hosts as f64, *memory))
            });
            Line { name, color, points: points.collect() }
        };
        let lines = LINES.into_iter().map(line).filter(|line| !line.points.is_empty());
        let plot = Plot {
            title: "Memory over the number of hosts, by profile of metrics and by server",
            below: "hosts",
            across: (1, 4),
            lowest: 7,
            labels: &["10 MB", "100 MB", "1 GB", "10 GB", "100 GB"],
            lines: lines.collect(),
        };
        plot.svg()
    }
}

fn slowest(values: &BTreeMap<String, f64>, prefix: &str) -> String {
    let all = values.iter().filter_map(|(what, value)| Some((what.strip_prefix(prefix)?, value)));
    let slowest = all.max_by(|(_, one), (_, other)| one.total_cmp(other));
    slowest.map_or_else(String::new, |(what, value)| format!("{what} {} s", rounded(*value)))
}

/// With two digits that say something.
fn rounded(value: f64) -> String {
    match value {
        value if value >= 10.0 => format!("{value:.0}"),
        value if value >= 0.1 => format!("{value:.2}"),
        value => format!("{value:.4}"),
    }
}
