//! The results of the kernels, for people.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::losses;
use crate::matrix::console::Console;
use crate::report;
use crate::target::Workspace;

/// How many lines of a console are shown that has no orderly end.
const LAST_LINES: usize = 20;

/// The result of one boot.
pub(crate) struct Row {
    version: String,
    console: Console,
    /// Why there was no orderly end.
    obstacle: Option<String>,
    log: PathBuf,
    elapsed: Duration,
}

impl Row {
    /// The row of the kernel of that version whose console is in `log`.
    pub(crate) fn new(version: String, ended: Result<()>, log: PathBuf, elapsed: Duration) -> Self {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let console = Console::read(&text);
        let lines: Vec<_> = text.lines().collect();
        let last_lines = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        let obstacle = match ended {
            Err(error) => Some(format!("{error:#}")),
            Ok(()) if console.status.is_none() => {
                Some(format!("no end of the tests, a panic?\n{last_lines}"))
            }
            Ok(()) => None,
        };
        Self { version, console, obstacle, log, elapsed }
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Whether it ran to its end, and all tests passed.
    pub(crate) fn passed(&self) -> bool {
        self.obstacle.is_none() && self.console.passed()
    }

    /// Prints which tests failed, and how it ended.
    pub(crate) fn print(&self, workspace: &Workspace) {
        println!("     Running kernel tests on {} ({})", self.version, workspace.shown(&self.log));
        self.console.results.iter().for_each(|line| println!("{line}"));
        if let Some(obstacle) = &self.obstacle {
            println!("kernel {}: {obstacle}", self.version);
        }
    }

    /// In short why it did not pass: what its failed tests printed, and how it ended.
    pub(crate) fn reasons(&self) -> String {
        let tests = report::shown_failures(&report::read(&self.log));
        let reason = self.obstacle.as_deref().or_else(|| self.console.reason()).unwrap_or_default();
        format!("\nkernel {}: {reason}\n{tests}", self.version)
    }
}

/// A table in Markdown, below it the kernels that are missing, and a table of what the storms lost.
pub(crate) fn table(rows: &[Row], missing: &[String]) -> String {
    let mut text =
        "| kernel | counts | snapshot | hooks | runs | passed | failed | ignored | left out | seconds \
        | |\n| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
            .to_owned();
    for row in rows {
        let counts = row.console.counts.map(|counts| counts.map(|count| count.to_string()));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.0} | {} |",
            row.version,
            row.console.serving.clone().unwrap_or_default().join(" | "),
            row.console.runs.join(", "),
            counts.unwrap_or(["?"; 4].map(str::to_owned)).join(" | "),
            row.elapsed.as_secs_f64(),
            if row.passed() { "ok" } else { "FAILED" },
        );
    }
    for kernel in missing {
        let _ = writeln!(text, "\nMissing: {kernel}");
    }
    let losses = rows
        .iter()
        .flat_map(|row| row.console.losses.iter().map(|loss| (row.version.as_str(), loss)));
    text + "\n" + &losses::table(losses)
}
