//! The programs under test: tcpstat as this machine tests it, and the tests, which wait longer in a guest.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::object;
use crate::process::Step;
use crate::target::Workspace;

/// How long a wait of the tests may take in a guest, whose processor is emulated.
const DEADLINE_SECONDS: &str = "60";

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

/// Builds the tests. tcpstat and the BPF objects must have been built.
pub(crate) fn build(workspace: &Workspace) -> Result<Programs> {
    let log = workspace.log("matrix-build-tests");
    let step = Step { tail: 80, ..Step::new("building the kernel tests for the guests", log) };
    let mut command = object::host_cargo(workspace);
    command
        .env("CARGO_TARGET_DIR", workspace.matrix().join("build"))
        .args(["test", "--no-run", "--locked", "--package", "tcpstat-tests"])
        .args(TESTS.iter().flat_map(|(test, _)| ["--test", test]))
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        .env("TCPSTAT_TEST_DEADLINE_SECONDS", DEADLINE_SECONDS);
    step.run(&mut command)?;
    let messages = fs::read_to_string(&step.log)?;
    let mut programs =
        vec![("tcpstat", workspace.binary()), ("tcpstat-losing", workspace.losing_binary())];
    for (test, name) in TESTS {
        let path = executable(&messages, test);
        programs.push((name, path.with_context(|| format!("cargo does not say where {test} is"))?));
    }
    Ok(programs)
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
