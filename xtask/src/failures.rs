//! What the log of test binaries says of the tests that failed, in short.

use std::fs;
use std::path::Path;

/// Lines kept of what a failed test said.
const LINES: usize = 15;

/// Prints those that the log at `path`, all output of test binaries, reports; nothing without a log.
pub(crate) fn print(path: &Path) {
    let log = fs::read(path).unwrap_or_default();
    for failure in of(&String::from_utf8_lossy(&log)) {
        println!("\nfailed: {}", failure.test);
        for line in failure.said {
            println!("    {line}");
        }
    }
}

/// A test that failed.
#[derive(Debug, PartialEq, Eq)]
struct Failure<'a> {
    /// The test's name.
    test: &'a str,
    /// The first lines of what it said, without empty ones and without backtraces.
    said: Vec<&'a str>,
}

/// In the log's order.
fn of(log: &str) -> Vec<Failure<'_>> {
    let mut failures: Vec<Failure<'_>> = Vec::new();
    let mut listens = false;
    for line in log.lines() {
        if let Some(test) = heading(line) {
            failures.push(Failure { test, said: Vec::new() });
            listens = true;
        } else if line == "failures:" || line.trim().eq_ignore_ascii_case("stack backtrace:") {
            listens = false;
        }
        let Some(failure) = failures.last_mut().filter(|_| listens) else { continue };
        if heading(line).is_none() && !line.trim().is_empty() && failure.said.len() < LINES {
            failure.said.push(line);
        }
    }
    failures
}

/// `---- NAME ----`, or `---- NAME stdout ----` as libtest has it.
fn heading(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
running 2 tests
test ledger::seed ... FAILED
test ledger::fold ... ok

failures:

---- ledger::seed stdout ----

thread 'ledger::seed' (7) panicked at src/ledger.rs:9:9:
assertion `left == right` failed
  left: 1
 right: 2
stack backtrace:
   0: rust_begin_unwind

failures:
    ledger::seed

test result: FAILED. 1 passed; 1 failed
---- churn_is_counted ----
no rest of the sockets within 10s

Stack backtrace:
   0: anyhow
";

    #[test]
    fn each_failed_test_is_told_with_what_it_said_and_without_its_backtrace() {
        let seed = Failure {
            test: "ledger::seed",
            said: vec![
                "thread 'ledger::seed' (7) panicked at src/ledger.rs:9:9:",
                "assertion `left == right` failed",
                "  left: 1",
                " right: 2",
            ],
        };
        let churn =
            Failure { test: "churn_is_counted", said: vec!["no rest of the sockets within 10s"] };
        assert_eq!(of(LOG), [seed, churn]);
    }

    #[test]
    fn a_long_story_is_cut() {
        let log = format!("---- long ----\n{}", "line\n".repeat(100));
        assert_eq!(of(&log)[0].said.len(), LINES);
    }

    #[test]
    fn where_nothing_failed_nothing_is_told() {
        assert_eq!(of("test a ... ok\n\ntest result: ok. 1 passed\n"), []);
    }
}
