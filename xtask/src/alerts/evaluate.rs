//! What rules report of a scenario: promtool evaluates them over the series of its host.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use regex::Regex;

use super::export::export;
use super::host::Host;
use super::time::SECOND;

/// Records when each alert fires, after all other rules of an evaluation.
const TIMES: &str = "\
groups:
  - name: corpus
    rules:
      - record: corpus:alerts:timestamp
        expr: timestamp(ALERTS{alertstate=\"firing\"})
";

/// The queries for what fired: at how many evaluations, and when first. Without an alert there is no answer.
const COUNT: &str = "count_over_time(ALERTS{alertstate=\\\"firing\\\"}[1000h])";
const FIRST: &str = "min_over_time(corpus:alerts:timestamp[1000h])";

/// An alert that fired.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fired {
    pub(super) name: String,
    /// Its other labels, as PromQL has them.
    pub(super) labels: String,
    /// When first, and for how long in all, in milliseconds.
    pub(super) first: u64,
    pub(super) duration: u64,
}

/// What fires if `rules` are evaluated over what the host exports. Files go to `folder`.
pub(super) fn evaluate(
    promtool: &Path,
    rules: &str,
    host: &Host,
    folder: &Path,
) -> Result<Vec<Fired>> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("rules.yml"), rules)?;
    fs::write(folder.join("times.yml"), TIMES)?;
    fs::write(folder.join("test.yml"), test_file(rules, host))?;
    let mut command = Command::new(promtool);
    command.args(["test", "rules", "test.yml"]).current_dir(folder);
    let output = command.output().with_context(|| format!("cannot run {}", promtool.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if output.status.success() {
        return Ok(Vec::new());
    }
    parse(&text, host.scrape)
}

/// A file for `promtool test rules`. The queries have no expected answer, so promtool prints what they give.
fn test_file(rules: &str, host: &Host) -> String {
    let names = rules.lines().filter_map(|line| line.trim_start().strip_prefix("- name: "));
    let order = names.chain(["corpus"]).collect::<Vec<_>>().join(", ");
    let (interval, end) = (host.scrape / SECOND, host.duration / SECOND);
    let mut text = format!(
        "\
rule_files: [rules.yml, times.yml]
evaluation_interval: {interval}s
group_eval_order: [{order}]
tests:
  - interval: {interval}s
    input_series:
"
    );
    for series in export(host) {
        let metric = series.name.split('{').next().unwrap_or_default();
        if rules.contains(metric) {
            let values = series.notation();
            writeln!(text, "      - series: '{}'\n        values: '{values}'", series.name)
                .expect("a string takes all");
        }
    }
    text.push_str("    promql_expr_test:\n");
    for query in [COUNT, FIRST] {
        writeln!(text, "      - expr: \"{query}\"\n        eval_time: {end}s")
            .expect("a string takes all");
    }
    text
}

/// The answers to both queries in what promtool prints.
fn parse(text: &str, interval: u64) -> Result<Vec<Fired>> {
    let answer = |query: &str| -> Result<Vec<(String, String, f64)>> {
        let at = text.find(query).with_context(|| format!("promtool: {text}"))?;
        let got = text[at..].lines().find_map(|line| line.trim().strip_prefix("got:"));
        samples(got.with_context(|| format!("promtool: {text}"))?)
    };
    let firsts = answer("min_over_time(")?;
    let counts = answer("count_over_time(")?;
    ensure!(firsts.len() == counts.len(), "not as many times as alerts: {text}");
    let mut fired = Vec::new();
    for (name, labels, count) in counts {
        let first = firsts.iter().find(|other| (&other.0, &other.1) == (&name, &labels));
        let (_, _, first) = first.with_context(|| format!("{name} without a time: {text}"))?;
        let (first, duration) = (whole(*first) * SECOND, whole(count) * interval);
        fired.push(Fired { name, labels, first, duration });
    }
    Ok(fired)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times of a few days"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// Alert, other labels, and value of each sample.
fn samples(got: &str) -> Result<Vec<(String, String, f64)>> {
    let sample = Regex::new(r"\{([^{}]*)\} ([0-9.eE+-]+)")?;
    let label = Regex::new(r#"(\w+)="([^"]*)""#)?;
    let mut samples = Vec::new();
    for found in sample.captures_iter(&got.replace("\\\"", "\"")) {
        let (mut name, mut labels) = (String::new(), Vec::new());
        for pair in label.captures_iter(&found[1]) {
            match &pair[1] {
                "alertname" => pair[2].clone_into(&mut name),
                // The scope follows from the others.
                "job" | "instance" | "severity" | "scope" | "alertstate" | "state" | "__name__" => {
                }
                key => labels.push(format!("{key}={}", &pair[2])),
            }
        }
        samples.push((name, labels.join(", "), found[2].parse()?));
    }
    Ok(samples)
}
