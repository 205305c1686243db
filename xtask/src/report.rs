//! What became of the steps of a run, told at its end: a table, then what the failed tests said.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::failures;

/// What became of the steps so far.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    passed: bool,
    took: Duration,
}

impl Report {
    /// Runs what the rest cannot do without.
    pub(crate) fn time(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let started = Instant::now();
        work()?;
        self.rows.push(Row { name, passed: true, took: started.elapsed() });
        Ok(())
    }

    /// Runs what may fail without harm to the rest.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) {
        let started = Instant::now();
        println!();
        let result = work();
        if let Err(error) = &result {
            println!("error: {error:#}");
        }
        self.rows.push(Row { name, passed: result.is_ok(), took: started.elapsed() });
    }

    /// Prints the table, then what the failed tests of each failed step said: `log` is where a step of
    /// that name wrote. Whether all passed.
    pub(crate) fn finish(self, log: impl Fn(&str) -> PathBuf) -> bool {
        println!("\n{:<18} {:<7} {:>8}", "step", "result", "seconds");
        for Row { name, passed, took } in &self.rows {
            let result = if *passed { "ok" } else { "FAILED" };
            println!("{name:<18} {result:<7} {:>8.1}", took.as_secs_f64());
        }
        for row in self.rows.iter().filter(|row| !row.passed) {
            failures::print(&log(row.name));
        }
        self.rows.iter().all(|row| row.passed)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn one_failed_step_fails_the_report() {
        let no_log = |_: &str| PathBuf::from("/no/such/log");
        let mut report = Report::default();
        report.step("good", || Ok(()));
        assert!(report.finish(no_log));
        let mut report = Report::default();
        report.step("bad", || bail!("no"));
        report.step("good", || Ok(()));
        assert!(!report.finish(no_log));
    }
}
