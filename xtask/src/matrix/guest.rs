//! The programs under test, linked statically: they bring all they need into a guest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::object;
use crate::process::Step;
use crate::target::Workspace;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// How long a wait of the tests may take in a guest, whose processor is emulated.
const DEADLINE_SECONDS: &str = "60";

/// The targets of the tests.
const KERNEL: &str = "kernel";
const STORM: &str = "storm";

/// Where they are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The release binary, with the BPF object in it.
    pub(crate) tcpstat: PathBuf,
    /// The one whose tracer loses events on purpose.
    pub(crate) losing: PathBuf,
    /// The kernel tests.
    pub(crate) tests: PathBuf,
    /// The tests that want a machine to themselves.
    pub(crate) storm: PathBuf,
}

/// Builds them.
pub(crate) fn build(workspace: &Workspace) -> Result<Programs> {
    let target = workspace.matrix().join("build");
    let step = |title, log: &str| Step { tail: 80, ..Step::new(title, workspace.log(log)) };

    let build = ["build", "--release", "--locked", "--package", "tcpstat-user"];
    let tcpstat = target.join(TRIPLE).join("release/tcpstat");
    let losing = target.join("tcpstat-losing");
    let mut command = cargo(workspace, &target);
    command.args(build).args(["--features", object::LOSING_FEATURE]);
    step("building a losing tcpstat for the guests", "matrix-build-losing").run(&mut command)?;
    object::keep(&tcpstat, &losing)?;
    let mut command = cargo(workspace, &target);
    step("building tcpstat for the guests", "matrix-build").run(command.args(build))?;

    let step = step("building the kernel tests for the guests", "matrix-build-tests");
    let mut command = cargo(workspace, &target);
    command
        .args(["test", "--no-run", "--locked", "--package", "tcpstat-tests"])
        .args(["--test", KERNEL, "--test", STORM])
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        .env("TCPSTAT_TEST_DEADLINE_SECONDS", DEADLINE_SECONDS);
    step.run(&mut command)?;
    let messages = fs_err::read_to_string(&step.log)?;
    let find = |name| {
        executable(&messages, name).with_context(|| format!("cargo does not say where {name} is"))
    };
    Ok(Programs { tcpstat, losing, tests: find(KERNEL)?, storm: find(STORM)? })
}

fn cargo(workspace: &Workspace, target: &Path) -> Command {
    let mut command = object::host_cargo(workspace);
    command
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_BUILD_TARGET", TRIPLE)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_the_tests_are() {
        let messages = "   Compiling x\n\
            {\"reason\":\"compiler-artifact\",\"executable\":null}\n\
            {\"reason\":\"x\",\"target\":{\"name\":\"kernel\"},\"executable\":\"/t/kernel-1\"}\n\
            {\"reason\":\"x\",\"target\":{\"name\":\"storm\"},\"executable\":\"/t/storm-1\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n  Finished\n";
        assert_eq!(executable(messages, "kernel"), Some("/t/kernel-1".into()));
        assert_eq!(executable(messages, "storm"), Some("/t/storm-1".into()));
        assert_eq!(executable(messages, "support"), None);
    }
}
