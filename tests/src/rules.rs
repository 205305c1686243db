//! The rules of `tcpstat print rules`, and how a test turns their hours into seconds.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::binary::printed;

/// The parts of a file of rules that the tests use.
#[derive(Debug, Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

/// A recording or an alerting rule.
#[derive(Clone, Debug, Deserialize)]
pub struct Rule {
    /// The metric that a recording rule defines.
    pub record: Option<String>,
    /// The name of an alerting rule.
    pub alert: Option<String>,
    /// The expression.
    pub expr: String,
    /// Labels of the alert.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the alert.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// The shipped rules, in the order of the file.
///
/// # Errors
/// Fails if they are not YAML, or if a rule is neither a recording nor an alerting rule.
pub fn shipped() -> Result<Vec<Rule>> {
    let file: File = serde_saphyr::from_str(&printed(&["rules"])?)?;
    let rules: Vec<_> = file.groups.into_iter().flat_map(|group| group.rules).collect();
    for rule in &rules {
        ensure!(rule.record.is_some() != rule.alert.is_some(), "{rule:?}");
    }
    Ok(rules)
}

/// The keys whose values are durations, in rules and in the configuration of Alertmanager.
const KEYS: [&str; 6] = [
    "for: ",
    "interval: ",
    "keep_firing_for: ",
    "group_wait: ",
    "group_interval: ",
    "repeat_interval: ",
];

/// Divides every duration in `rules` by `divisor`: the values of [`KEYS`], ranges in brackets, and offsets.
///
/// # Errors
/// Fails if a duration is invalid.
pub fn scaled(rules: &str, divisor: u64) -> Result<String> {
    let mut result = String::with_capacity(rules.len());
    for line in rules.lines() {
        let key = KEYS.into_iter().find(|key| line.trim_start().starts_with(key));
        let line = match key.and_then(|key| line.split_once(key).map(|parts| (key, parts))) {
            Some((key, (indent, duration))) => {
                format!("{indent}{key}{}", divided(duration, divisor)?)
            }
            None => divided_after(&divided_after(line, "[", divisor)?, "offset ", divisor)?,
        };
        result.extend([&line, "\n"]);
    }
    Ok(result)
}

/// The rules with a minute in place of each age of five minutes, for tests that cannot wait so long: a minute is the
/// smallest age that tcpstat exports.
#[must_use]
pub fn with_least_age(rules: &str) -> String {
    rules.replace("older_than=\"5m\"", "older_than=\"1m\"")
}

/// Divides the duration after each `mark` in `line`. In prose no duration follows such a mark, and in a class of
/// characters, such as `[0-9]`, a dash follows the digit.
fn divided_after(line: &str, mark: &str, divisor: u64) -> Result<String> {
    let mut parts = line.split(mark);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(part.len());
        let (duration, rest) = part.split_at(end);
        result.push_str(mark);
        if duration.starts_with(|first: char| first.is_ascii_digit()) && !rest.starts_with('-') {
            result.push_str(&divided(duration, divisor)?);
        } else {
            result.push_str(duration);
        }
        result.push_str(rest);
    }
    Ok(result)
}

/// A duration of Prometheus, such as `1h30m`, divided.
fn divided(duration: &str, divisor: u64) -> Result<String> {
    let mut milliseconds = 0;
    let mut rest = duration;
    while !rest.is_empty() {
        let digits = rest.find(|next: char| !next.is_ascii_digit()).context("no unit")?;
        let (number, unit) = rest.split_at(digits);
        let unit_end = unit.find(|next: char| next.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, next) = unit.split_at(unit_end);
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => bail!("{duration}: not a duration"),
        };
        milliseconds += number.parse::<u64>().with_context(|| duration.to_owned())? * factor;
        rest = next;
    }
    Ok(format!("{}ms", milliseconds / divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_divided_and_nothing_else() {
        let rules = "\
  - alert: A1h
    expr: x:rate5m[6h] offset 15m > 60 and y{a=\"[b]\"}[1h30m]
    for: 15m
    labels: {for: 1h, scope: '{{ match `[0-9]+` `7` }}'}
";
        let expected = "\
  - alert: A1h
    expr: x:rate5m[360000ms] offset 15000ms > 60 and y{a=\"[b]\"}[90000ms]
    for: 15000ms
    labels: {for: 1h, scope: '{{ match `[0-9]+` `7` }}'}
";
        assert_eq!(scaled(rules, 60).unwrap(), expected);
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for wrong in ["for: 15", "for: m", "for: 5 m", "expr: x[5q]"] {
            assert!(scaled(wrong, 60).is_err(), "{wrong}");
        }
    }
}
