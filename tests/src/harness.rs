//! A test runner that gives each test a process and, if the test needs one, a network namespace.
//!
//! Each test has its own process because a child shares every descriptor between `fork` and `exec`:
//! while one test starts a program, sockets that another test closes would stay open. The test runs on
//! the main thread of its process, because `/proc/self/net` belongs to the main thread.
//!
//! [`kernel_tests!`](crate::kernel_tests) and [`hermetic_tests!`](crate::hermetic_tests) register
//! functions under their own names. A function that no list contains is dead code, which is an error in
//! `cargo xtask test`.

use std::num::NonZero;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::{env, thread};

use anyhow::{Error, Result, anyhow};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::holder;
use crate::kernel_gate::{is_required, kernel_gate};
use crate::netns::Namespace;
use crate::repeat::Repeats;
use crate::resident;
use crate::skip::Skip;

/// Names the one test that this process runs.
const TEST_VARIABLE: &str = "TCPSTAT_TEST";

/// Parts of names, one a line: only tests with one of them in their name run. The arguments of libtest can name one part
/// alone.
const ONLY_VARIABLE: &str = "TCPSTAT_ONLY";

/// The exit status of a process whose test was skipped; the reason is its standard output.
const SKIPPED: u8 = 77;

/// The tests of functions that take a `&Namespace`, each named after its function; see [`kernel_test`].
#[macro_export]
macro_rules! kernel_tests {
    ($($test:ident),+ $(,)?) => {
        vec![$($crate::harness::kernel_test(stringify!($test), $test)),+]
    };
}

/// The tests of functions without an argument, each named after its function; see [`hermetic_test`].
#[macro_export]
macro_rules! hermetic_tests {
    ($($test:ident),+ $(,)?) => {
        vec![$($crate::harness::hermetic_test(stringify!($test), $test)),+]
    };
}

/// A test that runs in a fresh network namespace. It is ignored if the kernel tests cannot run here.
#[must_use]
pub fn kernel_test<F>(name: impl Into<String>, test: F) -> Test
where
    F: FnOnce(&Namespace) -> Result<()> + 'static,
{
    let body = Box::new(move || test(&Namespace::enter()?));
    Test { name: name.into(), body, needs_kernel: true }
}

/// A test that needs no privileges and no kernel feature.
#[must_use]
pub fn hermetic_test<F>(name: impl Into<String>, test: F) -> Test
where
    F: FnOnce() -> Result<()> + 'static,
{
    Test { name: name.into(), body: Box::new(test), needs_kernel: false }
}

/// One test for [`run`].
pub struct Test {
    name: String,
    body: Box<dyn FnOnce() -> Result<()>>,
    needs_kernel: bool,
}

/// Runs the tests that the command line selects; it takes the arguments of libtest. `main` calls it
/// first, or after whatever the process of every test must do.
///
/// A test that returns a [`Skip`] is reported as ignored, with its reason. Where
/// `TCPSTAT_REQUIRE_KERNEL=1` it fails.
#[must_use]
pub fn run(tests: Vec<Test>) -> ExitCode {
    run_as(tests, Arguments::from_args)
}

/// As [`run`], one test at a time: for tests that each need the whole machine.
#[must_use]
pub fn run_in_turn(tests: Vec<Test>) -> ExitCode {
    run_as(tests, || Arguments { test_threads: Some(1), ..Arguments::from_args() })
}

/// As [`run`], with so many tests more at a time as there are at the head of the list that mostly wait.
#[must_use]
pub fn run_with_waiting(tests: Vec<Test>, waiting: usize) -> ExitCode {
    run_as(tests, || {
        let arguments = Arguments::from_args();
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let test_threads = arguments.test_threads.or(Some(processors + waiting));
        Arguments { test_threads, ..arguments }
    })
}

fn run_as(mut tests: Vec<Test>, arguments: impl FnOnce() -> Arguments) -> ExitCode {
    if resident::is_asked_for() {
        return resident::obey();
    }
    if holder::is_asked_for() {
        return holder::obey();
    }
    if let Ok(name) = env::var(TEST_VARIABLE) {
        return run_here(&name, tests);
    }
    let arguments = arguments();
    if let Some(parts) = env::var(ONLY_VARIABLE).ok().filter(|parts| !parts.is_empty()) {
        let unknown = keep_only(&mut tests, &parts);
        if !unknown.is_empty() {
            eprintln!("{ONLY_VARIABLE}: no test has {} in its name", unknown.join(", "));
            return ExitCode::FAILURE;
        }
    }
    let gate = kernel_gate();
    if let Err(reason) = &gate
        && !arguments.list
        && tests.iter().any(|test| test.needs_kernel)
    {
        eprintln!("kernel tests are ignored here: {reason}");
    }
    let captured = !arguments.nocapture;
    let repeats = Arc::new(Repeats::of_this_kernel());
    let trials = tests
        .into_iter()
        .map(|Test { name, needs_kernel, .. }| {
            let runner = {
                let (name, repeats) = (name.clone(), Arc::clone(&repeats));
                move || match run_in_process(&name, captured) {
                    Err(failed) if needs_kernel && repeats.take() => {
                        announce_repeat(&name, &failed);
                        run_in_process(&name, captured)
                    }
                    result => result,
                }
            };
            Trial::ignorable_test(name, runner).with_ignored_flag(needs_kernel && gate.is_err())
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Keeps the tests that have one of these `parts`, which are lines, in their name. Returns the parts that no name has.
fn keep_only<'a>(tests: &mut Vec<Test>, parts: &'a str) -> Vec<&'a str> {
    let has = |test: &Test, part: &str| test.name.contains(part);
    let unknown = parts.lines().filter(|part| !tests.iter().any(|test| has(test, part)));
    let unknown = unknown.collect();
    tests.retain(|test| parts.lines().any(|part| has(test, part)));
    unknown
}

/// Runs a test in another process. Its output is shown if it fails, or if it is not captured.
fn run_in_process(name: &str, captured: bool) -> Result<Completion, Failed> {
    let mut command = Command::new(env::current_exe()?);
    command.env(TEST_VARIABLE, name).stdin(Stdio::null());
    if !captured {
        command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(Completion::Completed);
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if output.status.code() == Some(SKIPPED.into()) {
        return Ok(Completion::ignored_with(text.trim_end()));
    }
    Err(format!("{text}{}", output.status).into())
}

/// `cargo xtask test` shows the first of these lines at its end. It begins a line, also behind `test NAME ... `.
fn announce_repeat(name: &str, failed: &Failed) {
    let reason = "this kernel skips events without counting them, and the first run failed";
    eprintln!("\nrepeated: {name}: {reason}\n{}", failed.message().unwrap_or_default());
}

fn run_here(name: &str, tests: Vec<Test>) -> ExitCode {
    let Some(test) = tests.into_iter().find(|test| test.name == name) else {
        eprintln!("{TEST_VARIABLE}={name}: there is no such test");
        return ExitCode::FAILURE;
    };
    match (test.body)().map_err(|error| refuse_skip(error, is_required())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(skip) = error.downcast_ref::<Skip>() {
                println!("{skip}");
                return ExitCode::from(SKIPPED);
            }
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Turns a skip into a failure where every test must run.
fn refuse_skip(error: Error, all_must_run: bool) -> Error {
    match error.downcast::<Skip>() {
        Ok(skip) if all_must_run => anyhow!("this test must not be skipped here: {skip}"),
        Ok(skip) => skip.into(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped() -> Error {
        Skip::because("there is no tmux").into()
    }

    #[test]
    fn a_skip_is_a_failure_only_where_every_test_must_run() {
        assert!(refuse_skip(skipped(), false).is::<Skip>());
        let refused = refuse_skip(skipped().context("the terminal"), true);
        assert!(!refused.is::<Skip>() && refused.to_string().contains("no tmux"), "{refused:#}");
    }

    #[test]
    fn only_tests_with_a_listed_part_are_kept_and_a_part_of_none_is_returned() {
        let names = ["a_seed_is_exact", "a_reset_counts", "a_storm_heals"];
        let mut tests = names.map(|name| hermetic_test(name, || Ok(()))).into_iter().collect();
        assert_eq!(keep_only(&mut tests, "_seed_\nheals\nrenamed"), ["renamed"]);
        let kept: Vec<_> = tests.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(kept, [names[0], names[2]]);
    }

    #[test]
    fn another_error_stays_as_it_is() {
        assert_eq!(refuse_skip(anyhow!("broken"), true).to_string(), "broken");
    }
}
