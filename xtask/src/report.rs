//! The results of the steps of a run, printed at its end: a table, then for each failed step its error and what its
//! failed tests printed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::target::Workspace;

/// Lines kept of the output of a failed test.
const LINES: usize = 15;

/// The results of the steps so far.
#[derive(Default)]
pub(crate) struct Report {
    /// Name, error if it failed, and time of each.
    rows: Vec<(&'static str, Option<String>, Duration)>,
}

impl Report {
    /// Runs what the other steps need.
    pub(crate) fn need(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let started = Instant::now();
        work()?;
        self.rows.push((name, None, started.elapsed()));
        Ok(())
    }

    /// Runs what may fail without harm to the other steps.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) {
        let started = Instant::now();
        println!();
        let error = work().err().map(|error| format!("{error:#}"));
        if let Some(error) = &error {
            println!("error: {error}");
        }
        self.rows.push((name, error, started.elapsed()));
    }

    /// Prints the table, then the error and the failed tests of each failed step. Whether all passed.
    pub(crate) fn finish(self, workspace: &Workspace) -> bool {
        println!("\n{:<18} {:<7} {:>8}", "step", "result", "seconds");
        for (name, error, took) in &self.rows {
            let result = if error.is_none() { "ok" } else { "FAILED" };
            println!("{name:<18} {result:<7} {:>8.1}", took.as_secs_f64());
        }
        let mut all_passed = true;
        for (name, error, _) in self.rows {
            let log = read(&workspace.log(name));
            for line in repeated(&log) {
                println!("\n{name}: {line}");
            }
            let Some(error) = error else { continue };
            all_passed = false;
            println!("\n{name}: {error}");
            print!("{}", shown_failures(&log));
        }
        all_passed
    }
}

/// The log at `path`; empty if there is none.
pub(crate) fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\r', "")
}

/// The failed tests in a log, all output of test binaries, each with what it printed.
pub(crate) fn shown_failures(log: &str) -> String {
    let mut text = String::new();
    for (test, lines) in failures(log) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\nfailed: {test}");
        for line in lines {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// What a log says of the tests that ran twice: see `Repeats` of the tests.
fn repeated(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter(|line| line.starts_with("repeated: "))
}

/// The names of the failed tests in the log's order, each with the first lines of its output, without empty
/// ones and without backtraces.
fn failures(log: &str) -> Vec<(&str, Vec<&str>)> {
    let mut failures: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        // libtest writes `---- NAME stdout ----`, libtest-mimic `---- NAME ----`.
        let heading = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----"));
        if let Some(name) = heading {
            failures.push((name.strip_suffix(" stdout").unwrap_or(name), Vec::new()));
            inside = true;
        } else if line == "failures:" || line.trim().eq_ignore_ascii_case("stack backtrace:") {
            inside = false;
        } else if let Some((_, lines)) = failures.last_mut().filter(|_| inside)
            && !line.trim().is_empty()
            && lines.len() < LINES
        {
            lines.push(line);
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_ran_twice_are_shown() {
        let log =
            "running 2 tests\nrepeated: churn: the first run failed\nleft: 1\ntest churn ... ok\n";
        assert_eq!(repeated(log).collect::<Vec<_>>(), ["repeated: churn: the first run failed"]);
    }

    #[test]
    fn each_failed_test_is_shown_with_its_output_and_without_its_backtrace() {
        let log = "running 2 tests\ntest ledger::seed ... FAILED\n\nfailures:\n\n\
            ---- ledger::seed stdout ----\n\nthread 'ledger::seed' (7) panicked at src/a.rs:9:9:\n\
            left: 1\nstack backtrace:\n   0: rust_begin_unwind\n\nfailures:\n    ledger::seed\n\n\
            test result: FAILED. 1 passed; 1 failed\n---- churn ----\nno rest within 10s\n\n\
            Stack backtrace:\n   0: anyhow\n";
        let seed = ["thread 'ledger::seed' (7) panicked at src/a.rs:9:9:", "left: 1"];
        let expected = [("ledger::seed", seed.to_vec()), ("churn", vec!["no rest within 10s"])];
        assert_eq!(failures(log), expected);
        let long = format!("---- long ----\n{}", "line\n".repeat(100));
        assert_eq!(failures(&long)[0].1.len(), LINES);
        assert_eq!(failures("test a ... ok\n\ntest result: ok. 1 passed\n"), []);
    }
}
