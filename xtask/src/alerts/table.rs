//! The tables of docs/alerts.md.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::Outcome;
use super::evaluate::Fired;
use super::scenarios::Expected;
use super::time::{MINUTE, SECOND};

const BEGIN: &str = "<!-- cargo xtask alerts --write: begin -->\n";
const END: &str = "<!-- end -->\n";

/// Both tables: faults with the time to detect each, and healthy days with the minutes of alerts.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut text = "\
| fault | alert | tcpstat's rules | `> 20` for 5 minutes | public levels |
| --- | --- | --- | --- | --- |
"
    .to_owned();
    for outcome in outcomes {
        let Expected::Alert { name, .. } = outcome.scenario.expected else { continue };
        let [shipped, crude, public] = &outcome.fired;
        let shipped: Vec<_> = shipped.iter().filter(|fired| fired.name == name).cloned().collect();
        let times = [&shipped, crude, public].map(|fired| detected(fired, outcome.begins));
        row(&mut text, outcome.scenario.name, &[&[format!("`{name}`")], times.as_slice()].concat());
    }
    text.push_str(
        "
| healthy day | hours | tcpstat's rules | `> 20` for 5 minutes | public levels |
| --- | --- | --- | --- | --- |
",
    );
    for outcome in outcomes {
        if matches!(outcome.scenario.expected, Expected::Quiet) {
            let minutes = outcome.fired.each_ref().map(|fired| minutes(fired));
            let hours = outcome.scenario.hours.to_string();
            row(&mut text, outcome.scenario.name, &[&[hours], minutes.as_slice()].concat());
        }
    }
    text
}

fn row(text: &mut String, name: &str, cells: &[String]) {
    writeln!(text, "| {name} | {} |", cells.join(" | ")).expect("a string takes all");
}

/// The time from the beginning to the first alert.
fn detected(fired: &[Fired], begins: u64) -> String {
    let first = fired.iter().map(|fired| fired.first).min();
    let Some(first) = first else { return "never".to_owned() };
    let Some(time) = first.checked_sub(begins) else { return "fires before it".to_owned() };
    let (minutes, seconds) = (time / MINUTE, time % MINUTE / SECOND);
    if minutes < 10 { format!("{minutes} min {seconds} s") } else { format!("{minutes} min") }
}

/// For how long an alert fires, over all of them.
fn minutes(fired: &[Fired]) -> String {
    let total: u64 = fired.iter().map(|fired| fired.duration).sum();
    total.div_ceil(MINUTE).to_string()
}

/// The page with the tables between its marks replaced.
pub(super) fn replaced(page: &str, table: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("no mark before the table")?;
    let (_, after) = rest.split_once(END).context("no mark after the table")?;
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_replaced_between_its_marks() {
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        let new = replaced(&page, "| new |\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\n| new |\n\n{END}b\n"));
        assert_eq!(replaced(&new, "| new |\n").unwrap(), new);
        assert!(replaced("a\n", "| new |\n").is_err());
    }

    #[test]
    fn times_are_minutes_and_seconds() {
        let fired = Fired {
            name: String::new(),
            labels: String::new(),
            first: 7 * MINUTE + 30 * SECOND,
            duration: 90 * SECOND,
        };
        assert_eq!(detected(std::slice::from_ref(&fired), MINUTE), "6 min 30 s");
        assert_eq!(detected(&[], 0), "never");
        assert_eq!(minutes(&[fired]), "2");
    }
}
