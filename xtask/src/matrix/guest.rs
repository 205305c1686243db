//! The programs under test, linked statically: they bring all they need into a guest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::object;
use crate::process::Step;
use crate::target::Workspace;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// How long a wait of the tests may take in a guest, whose processor is emulated.
const DEADLINE_SECONDS: &str = "60";

/// The targets of the tests, and what a guest calls them.
const TESTS: [(&str, &str); 3] = [("kernel", "tests"), ("scopes", "scopes"), ("storm", "storm")];

/// The names of the programs in a guest, and where each is. `tcpstat-losing` is the one whose tracer loses
/// events on purpose.
pub(crate) type Programs = Vec<(&'static str, PathBuf)>;

/// Builds them. The BPF objects must have been built.
pub(crate) fn build(workspace: &Workspace) -> Result<Programs> {
    let target = workspace.matrix().join("build");
    let step = |title, log: &str| Step { tail: 80, ..Step::new(title, workspace.log(log)) };

    let build = ["build", "--release", "--locked", "--package", "tcpstat-user"];
    let tcpstat = target.join(TRIPLE).join("release/tcpstat");
    let losing = target.join("tcpstat-losing");
    let mut command = cargo(workspace, &target);
    command.args(build).args(object::LOSING_FEATURE);
    step("building a losing tcpstat for the guests", "matrix-build-losing").run(&mut command)?;
    fs::copy(&tcpstat, &losing)?;
    let mut command = cargo(workspace, &target);
    step("building tcpstat for the guests", "matrix-build").run(command.args(build))?;

    let step = step("building the kernel tests for the guests", "matrix-build-tests");
    let mut command = cargo(workspace, &target);
    command
        .args(["test", "--no-run", "--locked", "--package", "tcpstat-tests"])
        .args(TESTS.iter().flat_map(|(test, _)| ["--test", test]))
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        .env("TCPSTAT_TEST_DEADLINE_SECONDS", DEADLINE_SECONDS);
    step.run(&mut command)?;
    let messages = fs::read_to_string(&step.log)?;
    let mut programs = vec![("tcpstat", tcpstat), ("tcpstat-losing", losing)];
    for (test, name) in TESTS {
        let path = executable(&messages, test);
        programs.push((name, path.with_context(|| format!("cargo does not say where {test} is"))?));
    }
    Ok(programs)
}

fn cargo(workspace: &Workspace, target: &Path) -> Command {
    let mut command = object::host_cargo(workspace);
    command
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_BUILD_TARGET", TRIPLE)
        // The BPF objects are those of the host's build. To optimize across crates takes minutes and changes nothing
        // that a guest tests.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
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
