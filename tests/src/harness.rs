//! A test runner that gives each test a process and, if it asks for one, a network namespace.
//!
//! A process of its own, because between `fork` and `exec` a child shares every descriptor: while
//! one test starts a program, the sockets another test closes stay open. And the main thread of
//! it, because `/proc/self/net` is the main thread's.

use std::env;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::kernel_gate::kernel_gate;
use crate::netns::Namespace;

/// Names the one test this process is to run.
const TEST_VARIABLE: &str = "TCPSTAT_TEST";

/// A test in its namespace, which the thread it runs on is in.
pub type KernelTest = fn(&Namespace) -> Result<()>;

/// The `main` of a test target of kernel tests alone: see [`kernel_test`] and [`run`].
#[must_use]
pub fn kernel_tests(tests: Vec<(&'static str, KernelTest)>) -> ExitCode {
    run(tests.into_iter().map(|(name, test)| kernel_test(name, test)).collect())
}

/// A test that runs in a fresh network namespace, and is ignored where the gate is shut.
#[must_use]
pub fn kernel_test<F>(name: impl Into<String>, test: F) -> Test
where
    F: FnOnce(&Namespace) -> Result<()> + 'static,
{
    let body = Box::new(move || test(&Namespace::enter()?));
    Test { name: name.into(), body, needs_kernel: true }
}

/// A test that needs nothing of the machine.
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

/// Runs the tests as the command line asks for, which is that of libtest. Where the gate is shut,
/// says why once and reports the kernel tests as ignored. To be called first in `main`, or after
/// what is to be done in the process of every test too.
#[must_use]
pub fn run(tests: Vec<Test>) -> ExitCode {
    run_as(tests, Arguments::from_args)
}

/// The same, never two at once: for tests that each want the whole machine.
#[must_use]
pub fn run_in_turn(tests: Vec<Test>) -> ExitCode {
    run_as(tests, || Arguments { test_threads: Some(1), ..Arguments::from_args() })
}

fn run_as(tests: Vec<Test>, arguments: impl FnOnce() -> Arguments) -> ExitCode {
    if let Ok(name) = env::var(TEST_VARIABLE) {
        return run_here(&name, tests);
    }
    let arguments = arguments();
    let gate = kernel_gate();
    if let Err(reason) = &gate
        && !arguments.list
        && tests.iter().any(|test| test.needs_kernel)
    {
        eprintln!("kernel tests are ignored here: {reason}");
    }
    let captured = !arguments.nocapture;
    let trials = tests
        .into_iter()
        .map(|Test { name, needs_kernel, .. }| {
            let trial = Trial::test(name.clone(), move || run_alone(&name, captured));
            trial.with_ignored_flag(needs_kernel && gate.is_err())
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs a test in another process; its output is shown when it fails, or is not captured.
fn run_alone(name: &str, captured: bool) -> Result<(), Failed> {
    let mut command = Command::new(env::current_exe()?);
    command.env(TEST_VARIABLE, name).stdin(Stdio::null());
    if !captured {
        command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{}{}", String::from_utf8_lossy(&text), output.status).into())
}

fn run_here(name: &str, tests: Vec<Test>) -> ExitCode {
    let Some(test) = tests.into_iter().find(|test| test.name == name) else {
        eprintln!("{TEST_VARIABLE}={name}: there is no such test");
        return ExitCode::FAILURE;
    };
    match (test.body)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}
