//! All that `cargo xtask test` runs, in order, each step announced, timed, and summed up at the end. A
//! step that fails does not keep the next ones from running; a build that fails does.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fs_err as fs;

use crate::apt::Privilege;
use crate::losses::{self, Loss};
use crate::process::{self, Step};
use crate::report::Report;
use crate::target::Workspace;
use crate::tools::{self, Tools};
use crate::{bench, cargo, conventions, files, matrix, object};

const TRACEFS: &str = "/sys/kernel/tracing";

/// Builds, then runs all steps; whether all passed. `filter` goes to the test binaries. With `kernels`
/// the kernel matrix is the last step: those of that name, or all if there are no names.
pub(crate) fn run(
    workspace: &Workspace,
    filter: &[String],
    kernels: Option<&[String]>,
) -> Result<bool> {
    let (tools, mut report) = build(workspace)?;
    let cargo = |title, args: &str, rest: &[&str]| {
        let mut command = object::host_cargo(workspace);
        step(workspace, title).run(command.args(args.split(' ')).args(rest))
    };
    report.step("format", || cargo("format", "fmt --all --check -- --color never", &[]));
    report.step("clippy", || {
        cargo("clippy", "clippy --workspace --all-targets --locked -- -D warnings", &[])
    });
    report.step("conventions", || check_conventions(workspace.root()));
    report.step("unit tests", || {
        let all = "test --locked --no-fail-fast --workspace --exclude tcpstat-tests";
        cargo("unit tests", all, &after_dashes(filter))
    });
    report.step("end-to-end tests", || end_to_end(workspace, &tools, filter, false));
    if filter.is_empty() {
        report.step("benchmark, short", || bench::smoke(workspace, &tools));
    }
    if let Some(kernels) = kernels {
        report.step("kernel matrix", || matrix::run(workspace, &tools, kernels, filter));
    }
    Ok(report.finish(|step| log(workspace, step)))
}

/// Builds, then runs the kernel matrix alone: the kernels of those names, or all if there are no names.
pub(crate) fn matrix(workspace: &Workspace, filter: &[String], kernels: &[String]) -> Result<bool> {
    let (tools, mut report) = build(workspace)?;
    report.step("kernel matrix", || matrix::run(workspace, &tools, kernels, filter));
    Ok(report.finish(|step| log(workspace, step)))
}

/// Builds, then runs the end-to-end tests and has them rewrite their golden files.
pub(crate) fn bless(workspace: &Workspace) -> Result<bool> {
    let (tools, mut report) = build(workspace)?;
    report.step("bless", || end_to_end(workspace, &tools, &[], true));
    Ok(report.finish(|step| log(workspace, step)))
}

/// What the steps run with, and a report that begins with the build of it.
fn build(workspace: &Workspace) -> Result<(Tools, Report)> {
    let tools = tools::provide(workspace)?;
    let mut report = Report::default();
    report.time("build", || {
        object::build_losing(workspace)?;
        object::build(workspace)
    })?;
    Ok((tools, report))
}

fn step<'a>(workspace: &Workspace, title: &'a str) -> Step<'a> {
    Step { shown: is_worth_showing, tail: 80, ..Step::new(title, log(workspace, title)) }
}

fn log(workspace: &Workspace, step: &str) -> PathBuf {
    workspace.log(&step.replace(' ', "-"))
}

/// Which test binary runs, which of its tests do not pass, and how it ends.
fn is_worth_showing(line: &str) -> bool {
    let line = line.trim();
    ["Running ", "Doc-tests ", "test result: "].iter().any(|prefix| line.starts_with(prefix))
        || (line.starts_with("test ") && (line.ends_with("FAILED") || line.contains("ignored")))
        || line.starts_with("kernel tests are ignored")
}

fn check_conventions(root: &Path) -> Result<()> {
    println!("conventions ...");
    let breaches = conventions::check(root)?;
    for breach in &breaches {
        println!("    {breach}");
    }
    if breaches.is_empty() {
        println!("conventions: done");
        return Ok(());
    }
    bail!("{} against the conventions of the house", breaches.len())
}

fn end_to_end(workspace: &Workspace, tools: &Tools, filter: &[String], bless: bool) -> Result<()> {
    let privilege = Privilege::current();
    mount_tracefs(privilege);
    let mut command = object::host_cargo(workspace);
    command
        .args(["test", "--locked", "--no-fail-fast", "--package", "tcpstat-tests"])
        .env("TCPSTAT_BIN", workspace.binary())
        .env("TCPSTAT_LOSING_BIN", workspace.losing_binary())
        .envs(tools.variables.iter().cloned())
        .env("TCPSTAT_ROOT", workspace.root())
        .env("TCPSTAT_FIXTURES", workspace.root().join("fixtures"));
    if bless {
        command.env("TCPSTAT_BLESS", "1");
    }
    if privilege == Privilege::Sudo {
        println!("tests of the kernel run through sudo");
        command.args(cargo::runner("sudo -E"));
    }
    command.args(after_dashes(filter));
    let losses = workspace.log("losses");
    files::remove(&losses)?;
    command.env("TCPSTAT_LOSSES", &losses);
    let is_ci = env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    if privilege.is_at_hand() || is_ci {
        command.env("TCPSTAT_REQUIRE_KERNEL", "1");
    }
    let ended = step(workspace, "end-to-end tests").run(&mut command);
    // Without a storm there is no such file.
    print_losses(&fs::read_to_string(&losses).unwrap_or_default());
    ended
}

fn print_losses(text: &str) {
    let losses: Vec<_> = text.lines().filter_map(Loss::parse).collect();
    let table = losses::table(losses.iter().map(|loss| (loss.kernel.as_str(), loss)));
    if !table.is_empty() {
        println!("\n{table}");
    }
}

/// The tests of the classic tracepoint need tracefs; those say so themselves where it is missing.
fn mount_tracefs(privilege: Privilege) {
    let mounted = Path::new(TRACEFS).join("events").exists();
    if mounted || !privilege.is_at_hand() || !Path::new(TRACEFS).is_dir() {
        return;
    }
    let Some(mut mount) = privilege.command("mount") else { return };
    let done = process::probe(mount.args(["-t", "tracefs", "tracefs", TRACEFS])).is_some();
    println!("tracefs: {} on {TRACEFS}", if done { "mounted" } else { "cannot be mounted" });
}

fn after_dashes(filter: &[String]) -> Vec<&str> {
    if filter.is_empty() {
        return Vec::new();
    }
    let words = filter.iter().map(String::as_str).filter(|word| *word != "--");
    ["--"].into_iter().chain(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_and_failures_are_shown() {
        for line in [
            "     Running unittests src/lib.rs (target/debug/deps/a-1)",
            "   Doc-tests tcpstat_user",
            "test result: ok. 3 passed; 0 failed; 0 ignored",
            "test ledger::seed ... FAILED",
            "test kernel::loads ... ignored, needs root",
            "kernel tests are ignored here: needs root",
        ] {
            assert!(is_worth_showing(line), "{line}");
        }
        assert!(!is_worth_showing("test ledger::seed ... ok"));
        assert!(!is_worth_showing("   Compiling tokio v1.0.0"));
    }

    #[test]
    fn the_filter_follows_two_dashes() {
        assert_eq!(after_dashes(&[]), Vec::<&str>::new());
        assert_eq!(after_dashes(&["a".into()]), ["--", "a"]);
        assert_eq!(
            after_dashes(&["a".into(), "--".into(), "--exact".into()]),
            ["--", "a", "--exact"]
        );
    }
}
