//! The tcpstat binary, run to its end, and the fixtures it is run over.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, ensure};

/// Names the binary under test.
pub(crate) const BINARY_VARIABLE: &str = "TCPSTAT_BIN";

/// Names the root of the repository.
const ROOT_VARIABLE: &str = "TCPSTAT_ROOT";

/// Names the folder of the fixtures.
const FIXTURES_VARIABLE: &str = "TCPSTAT_FIXTURES";

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// Exit status; `None` after a signal.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The path in the variable `name`.
///
/// # Errors
/// Fails if it is unset, with the command that sets it.
pub fn path_from(name: &str) -> Result<PathBuf> {
    let path = env::var_os(name)
        .with_context(|| format!("{name} is not set: run the tests through `cargo xtask test`"))?;
    Ok(path.into())
}

/// Runs `tcpstat` with `args` to its end, in the network namespace of the calling thread.
///
/// # Errors
/// Fails if there is no binary, or if its output is not UTF-8.
pub fn tcpstat<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<Run> {
    output(Command::new(path_from(BINARY_VARIABLE)?).args(args))
}

/// Chooses the format of tcpstat's log. What the tests look for is written as for people.
pub const LOG_FORMAT: (&str, &str) = ("TCPSTAT_LOG_FORMAT", "pretty");

/// Runs `command` to its end, with [`LOG_FORMAT`] unless it sets that variable itself.
///
/// # Errors
/// Fails if it cannot be started, or if its output is not UTF-8.
pub fn output(command: &mut Command) -> Result<Run> {
    let (name, value) = LOG_FORMAT;
    if command.get_envs().all(|(set, _)| set != name) {
        command.env(name, value);
    }
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    let stderr = String::from_utf8(output.stderr)?;
    // Every test shows that the filter of system calls allows what tcpstat does.
    ensure!(!stderr.contains("refused the system call"), "{command:?}: {stderr}");
    Ok(Run { status: output.status.code(), stdout: String::from_utf8(output.stdout)?, stderr })
}

/// Removes the variables that tests read themselves: `serve` would warn of them.
pub(crate) fn remove_variables_of_tests(command: &mut Command) {
    let own = env::vars_os().map(|(name, _)| name);
    for name in own.filter(|name| name.as_encoded_bytes().starts_with(b"TCPSTAT_")) {
        command.env_remove(name);
    }
}

/// The path of a fixture.
///
/// # Errors
/// Fails if the folder of the fixtures is not known.
pub fn fixture(path: impl AsRef<Path>) -> Result<PathBuf> {
    Ok(path_from(FIXTURES_VARIABLE)?.join(path))
}

/// The output of `tcpstat print` with `args`.
///
/// # Errors
/// Fails if the command fails or writes to standard error.
pub fn printed(args: &[&str]) -> Result<String> {
    let run = tcpstat([&["print"], args].concat())?;
    ensure!(run.status == Some(0) && run.stderr.is_empty(), "print {args:?}: {run:?}");
    Ok(run.stdout)
}

/// The path of a file of the repository.
///
/// # Errors
/// Fails if the repository is not known.
pub fn source(path: impl AsRef<Path>) -> Result<PathBuf> {
    Ok(path_from(ROOT_VARIABLE)?.join(path))
}

/// Compares `found` with the golden file at `path` below the fixtures, or rewrites it when
/// `TCPSTAT_BLESS` is set (`cargo xtask bless`).
///
/// # Errors
/// Fails with the first line that differs.
pub fn compare_with_golden(path: &str, found: &str) -> Result<()> {
    let file = fixture(path)?;
    if env::var_os("TCPSTAT_BLESS").is_some() {
        return fs::write(&file, found).with_context(|| file.display().to_string());
    }
    let golden = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let differs = |(found, golden): &(&str, &str)| found != golden;
    let first = found.lines().zip(golden.lines()).find(differs);
    ensure!(
        found == golden,
        "fixtures/{path} differs: found, golden: {first:?}, {} and {} lines; \
         `cargo xtask bless` rewrites it",
        found.lines().count(),
        golden.lines().count()
    );
    Ok(())
}
