//! The programs under test: tcpstat and the tests, as this machine runs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::object;
use crate::process::Step;
use crate::target::Workspace;

/// The targets of the tests, and what a guest calls them.
const TESTS: [(&str, &str); 5] = [
    ("kernel", "tests"),
    ("scopes", "scopes"),
    ("storm", "storm"),
    ("who", "who"),
    ("events", "events"),
];

/// The names of the programs in a guest, and where each is. `tcpstat-losing` is the one whose tracer loses
/// events on purpose.
pub(crate) type Programs = Vec<(&'static str, PathBuf)>;

/// Builds the tests, unless the tests of this machine have just been built. tcpstat must have been built.
pub(crate) fn build(workspace: &Workspace) -> Result<Programs> {
    let log = workspace.log("matrix-build-tests");
    let step = Step { tail: 80, ..Step::new("building the kernel tests for the guests", log) };
    let mut command = object::host_cargo(workspace);
    command
        .args(["test", "--no-run", "--locked", "--package", "tcpstat-tests"])
        .arg("--message-format=json-render-diagnostics");
    step.run(&mut command)?;
    let messages = fs::read_to_string(&step.log)?;
    let mut programs =
        vec![("tcpstat", workspace.binary()), ("tcpstat-losing", workspace.losing_binary())];
    for (test, name) in TESTS {
        let path = executable(&messages, test);
        let path = path.with_context(|| format!("cargo does not say where {test} is"))?;
        let stripped = workspace.matrix().join(name);
        strip(&path, &stripped)?;
        programs.push((name, stripped));
    }
    Ok(programs)
}

/// Copies a program without its debug information, which would fill the memory of a guest.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("strip");
    let status = command.arg("-o").args([to, from]).status().context("cannot run strip")?;
    ensure!(status.success(), "strip cannot copy {} ({status})", from.display());
    Ok(())
}

/// The executable of the target of that name, among cargo's messages.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let wanted = message.pointer("/target/name")?.as_str()? == target;
        let executable = message.get("executable")?.as_str()?;
        wanted.then(|| PathBuf::from(executable))
    })
}
