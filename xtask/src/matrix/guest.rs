//! The programs under test, linked statically: they bring all they need into a guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::object;
use crate::process::Step;
use crate::target::Workspace;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// How long a wait of the tests may take in a guest, whose processor is emulated.
const DEADLINE_SECONDS: &str = "60";

/// Where they are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The release binary, with the BPF object in it.
    pub(crate) tcpstat: PathBuf,
    /// The kernel tests.
    pub(crate) tests: PathBuf,
}

/// Builds them.
pub(crate) fn build(workspace: &Workspace) -> Result<Programs> {
    let target = workspace.matrix().join("build");
    let step = |title, log: &str| Step { tail: 80, ..Step::new(title, workspace.log(log)) };

    let mut command = cargo(workspace, &target);
    command.args(["build", "--release", "--locked", "--package", "tcpstat-user"]);
    step("building tcpstat for the guests", "matrix-build").run(&mut command)?;

    let step = step("building the kernel tests for the guests", "matrix-build-tests");
    let mut command = cargo(workspace, &target);
    command
        .args(["test", "--no-run", "--locked", "--package", "tcpstat-tests", "--test", "kernel"])
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        .env("TCPSTAT_TEST_DEADLINE_SECONDS", DEADLINE_SECONDS);
    step.run(&mut command)?;
    let messages = fs::read_to_string(&step.log)
        .with_context(|| format!("cannot read {}", step.log.display()))?;
    let tests = executable(&messages).context("cargo does not say where the kernel tests are")?;
    Ok(Programs { tcpstat: target.join(TRIPLE).join("release/tcpstat"), tests })
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

/// The last executable among cargo's messages.
fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_the_tests_are() {
        let messages = "   Compiling x\n\
            {\"reason\":\"compiler-artifact\",\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/t/kernel-1\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n  Finished\n";
        assert_eq!(executable(messages), Some("/t/kernel-1".into()));
        assert_eq!(executable("Finished"), None);
    }
}
