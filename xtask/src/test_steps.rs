//! All that `cargo xtask test` runs, in order, each step announced, timed, and summed up at the end. A
//! step that fails does not keep the next ones from running; a build that fails does.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::fuzz::{self, Fuzzer};
use crate::losses::{self, Loss};
use crate::process::{self, Step};
use crate::report::Report;
use crate::target::Workspace;
use crate::tools::{self, Tools};
use crate::{
    alerts, apt, architecture, bench, cargo, cargo_tools, conventions, dist, files, matrix, object,
    systems,
};

/// Why a thread of a step can be joined.
const JOINED: &str = "a step returns its error";

/// How long the soak of a test run lasts.
const SHORT_SOAK: Duration = Duration::from_mins(3);

const TRACEFS: &str = "/sys/kernel/tracing";

/// Builds, then runs all steps; whether all passed. `filter` goes to the test binaries. With `kernels`
/// the kernel matrix is the last step: those of that name, or all if there are no names.
pub(crate) fn run(
    workspace: &Workspace,
    filter: &[String],
    kernels: Option<&[String]>,
) -> Result<bool> {
    let (tools, mut report) = prepare(workspace)?;
    // No time is measured in the first steps. Beside them the binaries are built, mostly by one processor and under
    // a lock of the release profile's own, and kernels are downloaded.
    let (guests, fuzzer) = thread::scope(|scope| {
        let binaries = scope.spawn(|| object::build_binaries(workspace));
        let fetch = |names| matrix::fetch(workspace, names, matrix::series_of_host());
        let guests = kernels.map(|names| scope.spawn(move || fetch(names)));
        hermetic_steps(workspace, filter, &mut report);
        let mut fuzzer = None;
        if filter.is_empty() {
            report.need("fuzzer", || {
                fuzzer = Some(Fuzzer::build(workspace)?);
                Ok(())
            })?;
        }
        report.need("rest of the build", || binaries.join().expect(JOINED))?;
        anyhow::Ok((guests.map(|guests| guests.join().expect(JOINED)), fuzzer))
    })?;
    thread::scope(|scope| {
        // On what the end-to-end tests leave of the processors.
        let fuzzed =
            fuzzer.map(|fuzzer| scope.spawn(move || fuzzer.run(workspace, "", fuzz::SHORT, true)));
        let is_whole = filter.is_empty();
        let denied = is_whole.then(|| scope.spawn(|| cargo_tools::deny(workspace, true)));
        let for_guests = kernels.is_some();
        let packed = is_whole.then(|| scope.spawn(move || prepare_packages(workspace, for_guests)));
        report.step("end-to-end tests", || end_to_end(workspace, &tools, filter, false));
        for (rest, work) in [("fuzzing", fuzzed), ("crates", denied), ("dist", packed)] {
            if let Some(work) = work {
                report.step(rest, || work.join().expect(JOINED));
            }
        }
    });
    if filter.is_empty() {
        report.step("benchmark, short", || bench::smoke(workspace, &tools));
    }
    thread::scope(|scope| {
        // They leave more than half of a processor to the guests.
        let beside = filter.is_empty().then(|| {
            scope.spawn(|| {
                (soak_for(workspace, &tools, SHORT_SOAK), packages(workspace, &tools, filter))
            })
        });
        if let Some((names, guests)) = kernels.zip(guests) {
            report.step("kernel matrix", || matrix::run(workspace, &tools, guests?, names, filter));
        }
        if let Some(beside) = beside {
            let mut installed = None;
            report.step("rest of the soak", || {
                let (soaked, packages) = beside.join().expect(JOINED);
                installed = Some(packages);
                soaked
            });
            if let Some(installed) = installed {
                report.step("packages", || installed);
            }
        }
    });
    Ok(report.finish(workspace))
}

/// Builds, then runs the kernel matrix alone: the kernels of those names, or all if there are no names.
pub(crate) fn matrix(workspace: &Workspace, filter: &[String], kernels: &[String]) -> Result<bool> {
    let (tools, mut report) = prepare(workspace)?;
    if matrix::runs_host_build(kernels)? {
        report.need("build", || object::build_binaries(workspace))?;
    }
    report.step("kernel matrix", || {
        let guests = matrix::fetch(workspace, kernels, None)?;
        matrix::run(workspace, &tools, guests, kernels, filter)
    });
    Ok(report.finish(workspace))
}

/// Builds, then runs the end-to-end tests and has them rewrite their golden files.
pub(crate) fn bless(workspace: &Workspace) -> Result<bool> {
    let (tools, mut report) = build(workspace)?;
    report.step("bless", || end_to_end(workspace, &tools, &[], true));
    Ok(report.finish(workspace))
}

/// Builds, then fuzzes each target whose name contains `target` for that time.
pub(crate) fn fuzz(workspace: &Workspace, target: &str, time: Duration) -> Result<()> {
    object::build_object_alone(workspace)?;
    Fuzzer::build(workspace)?.run(workspace, target, time, false)
}

/// Builds, then lets everything that happens in months happen for that time.
pub(crate) fn soak(workspace: &Workspace, time: Duration) -> Result<bool> {
    let (tools, mut report) = build(workspace)?;
    report.step("soak", || soak_for(workspace, &tools, time));
    Ok(report.finish(workspace))
}

/// Builds what is released, then installs and runs it.
pub(crate) fn test_packages(workspace: &Workspace, filter: &[String]) -> Result<bool> {
    let tools = tools::provide(workspace)?;
    let mut report = Report::default();
    report.need("dist", || {
        dist::run(workspace, &architecture::ALL)?;
        object::put_binary_of_host(workspace)
    })?;
    report.step("packages", || packages(workspace, &tools, filter));
    Ok(report.finish(workspace))
}

/// What the steps run with, and a report that begins with the build of it.
fn build(workspace: &Workspace) -> Result<(Tools, Report)> {
    let (tools, mut report) = prepare(workspace)?;
    report.need("build", || object::build_binaries(workspace))?;
    Ok((tools, report))
}

/// As [`build`], without the binaries.
fn prepare(workspace: &Workspace) -> Result<(Tools, Report)> {
    let tools = tools::provide(workspace)?;
    let mut report = Report::default();
    report.need("BPF objects", || object::build_for_tests(workspace))?;
    Ok((tools, report))
}

fn hermetic_steps(workspace: &Workspace, filter: &[String], report: &mut Report) {
    let cargo = |report: &mut Report, title, args: &str, rest: &[&str]| {
        let mut command = object::host_cargo(workspace);
        command.args(args.split(' ')).args(rest);
        report.step(title, || step(workspace, title).run(&mut command));
    };
    let lints = "clippy --workspace --all-targets --locked -- -D warnings";
    let unit_tests = "test --locked --no-fail-fast --workspace --exclude tcpstat-tests";
    cargo(report, "format", "fmt --all --check -- --color never", &[]);
    cargo(report, "clippy", lints, &[]);
    if filter.is_empty() {
        let lints = "clippy --locked --package tcpstat-fuzz --features fuzzing -- -D warnings";
        cargo(report, "clippy of the fuzzer", lints, &[]);
    }
    report.step("conventions", || check_conventions(workspace.root()));
    cargo(report, "unit tests", unit_tests, &after_dashes(filter));
    if filter.is_empty() {
        report.step("alerts", || alerts::run(workspace, &alerts::Options::default()));
    }
}

fn step<'a>(workspace: &Workspace, title: &'a str) -> Step<'a> {
    Step { shown: is_worth_showing, tail: 80, ..Step::new(title, workspace.log(title)) }
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
    bail!("{} violations of the conventions", breaches.len())
}

fn end_to_end(workspace: &Workspace, tools: &Tools, filter: &[String], bless: bool) -> Result<()> {
    if apt::can_be_root() {
        mount_tracefs();
    }
    let losses = workspace.log("losses");
    files::remove(&losses)?;
    let shapes = workspace.target().join("xtask/shapes");
    alerts::write_shapes(&shapes)?;
    let mut command = tests_command(workspace, tools);
    command.arg("--no-fail-fast").env("TCPSTAT_SHAPES", &shapes).env("TCPSTAT_LOSSES", &losses);
    if bless {
        command.env("TCPSTAT_BLESS", "1");
    }
    let result = step(workspace, "end-to-end tests").run(command.args(after_dashes(filter)));
    // Without a storm there is no such file.
    let losses = fs::read_to_string(&losses).unwrap_or_default();
    let losses: Vec<_> = losses.lines().filter_map(Loss::parse).collect();
    println!("{}", losses::table(losses.iter().map(|loss| (loss.kernel.as_str(), loss))));
    result
}

/// Runs the soak test for that time.
fn soak_for(workspace: &Workspace, tools: &Tools, time: Duration) -> Result<()> {
    let mut command = tests_command(workspace, tools);
    command
        .args(["--test", "soak", "--", "--nocapture"])
        .env("TCPSTAT_SOAK_SECONDS", time.as_secs().to_string());
    step(workspace, "soak").run(&mut command)
}

/// Builds what is packed, and the systems into which it is installed, only while nothing else wants a processor;
/// `for_guests`: also what other architectures run in the kernel matrix. The binary of this machine must have been built.
fn prepare_packages(workspace: &Workspace, for_guests: bool) -> Result<()> {
    let host = Architecture::host()?;
    for other in architecture::ALL.into_iter().filter(|architecture| *architecture != host) {
        object::build_released(workspace, other, true)?;
    }
    if for_guests {
        matrix::build_for_others(workspace, true)?;
    }
    if apt::can_be_root() {
        systems::provide(workspace, true)?;
    }
    dist::pack(workspace, &architecture::ALL)
}

/// Installs and runs what [`prepare_packages`] has made.
fn packages(workspace: &Workspace, tools: &Tools, filter: &[String]) -> Result<()> {
    let mut command = tests_command(workspace, tools);
    command.args(["--test", "packages"]).env("TCPSTAT_DIST", workspace.target().join("dist"));
    if apt::can_be_root() {
        command.env(systems::VARIABLE, systems::provide(workspace, false)?);
    }
    step(workspace, "packages").run(command.args(after_dashes(filter)))
}

/// A cargo command that runs end-to-end tests.
fn tests_command(workspace: &Workspace, tools: &Tools) -> Command {
    let mut command = object::host_cargo(workspace);
    command
        .args(["test", "--locked", "--package", "tcpstat-tests"])
        .env("TCPSTAT_BIN", workspace.binary())
        .env("TCPSTAT_LOSING_BIN", workspace.losing_binary())
        .envs(tools.variables.iter().cloned())
        .env("TCPSTAT_ROOT", workspace.root())
        .env("TCPSTAT_FIXTURES", workspace.root().join("fixtures"));
    let can_be_root = apt::can_be_root();
    if can_be_root && !apt::is_root() {
        println!("tests of the kernel run through sudo");
        command.args(cargo::runner("sudo -E"));
    }
    if can_be_root || cargo::is_ci() {
        command.env("TCPSTAT_REQUIRE_KERNEL", "1");
    }
    command
}

/// The tests of the classic tracepoint need tracefs; they fail with that reason where it is missing.
fn mount_tracefs() {
    if Path::new(TRACEFS).join("events").exists() || !Path::new(TRACEFS).is_dir() {
        return;
    }
    let Ok(mut mount) = apt::as_root("mount") else { return };
    let done = process::probe(mount.args(["-t", "tracefs", "tracefs", TRACEFS])).is_some();
    println!("tracefs: {} on {TRACEFS}", if done { "mounted" } else { "cannot be mounted" });
}

fn after_dashes(filter: &[String]) -> Vec<&str> {
    let mut words = filter.iter().map(String::as_str).filter(|word| *word != "--").peekable();
    let dashes = words.peek().map(|_| "--");
    dashes.into_iter().chain(words).collect()
}
