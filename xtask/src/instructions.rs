//! Instructions that the parts of a listing and of a scrape take, counted by callgrind: the same on every
//! run, however busy the machine is.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::target::Workspace;
use crate::{apt, cargo, object};

/// Parts of `benches/instructions.rs`, what one time of them is, and how many of these it does.
const PARTS: [(&str, &str, u64); 6] = [
    ("parse", "a row of /proc/net/tcp, read and parsed", 1_000),
    ("rewind-tuple", "that row rewound", 1_000),
    ("rewind-address", "a row of the iterator rewound", 1_000),
    ("ledger", "the gauges of a scrape", 1),
    ("classic", "a scrape in Prometheus' text format", 1),
    ("openmetrics", "a scrape in OpenMetrics", 1),
];

/// Times of a part, few and many: the difference leaves the start of the program out.
const FEW: u64 = 2;
const MANY: u64 = 12;

/// A table in Markdown. Installs valgrind where it is missing.
pub(crate) fn table(workspace: &Workspace) -> Result<String> {
    if process::on_path("valgrind").is_none() {
        apt::install(workspace, "valgrind", &["valgrind"])?;
    }
    let mut table = "| part | instructions |\n| --- | ---: |\n".to_owned();
    for (part, what, units) in PARTS {
        let (few, many) = (count(workspace, part, FEW)?, count(workspace, part, MANY)?);
        let each = many.saturating_sub(few) / ((MANY - FEW) * units);
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| {what} | {each} |");
    }
    Ok(table)
}

fn count(workspace: &Workspace, part: &str, times: u64) -> Result<u64> {
    let mut command = object::host_cargo(workspace);
    command
        .args(["bench", "--locked", "--package", "tcpstat-user", "--bench", "instructions"])
        .args(cargo::runner("valgrind --tool=callgrind --callgrind-out-file=/dev/null"))
        .args(["--", part, &times.to_string()]);
    let output = command.output().context("cannot run cargo bench")?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("cargo bench under callgrind: {}\n{told}", output.status);
    }
    collected(&told).with_context(|| format!("callgrind tells no number for {part}: {told}"))
}

/// The number in `==12== Collected : 123456`.
fn collected(text: &str) -> Option<u64> {
    let (_, number) = text.lines().find_map(|line| line.split_once("Collected : "))?;
    number.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_follows_collected() {
        let text = "==7== Events    : Ir\n==7== Collected : 1234567\n==7==\n";
        assert_eq!(collected(text), Some(1_234_567));
        assert_eq!(collected("==7== Killed"), None);
    }
}
