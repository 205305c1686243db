//! The programs under test: tcpstat and the tests, as this machine runs them, or cross-built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::object;
use crate::process::{self, Step};
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

/// Builds the tests for this machine, unless they have just been built. tcpstat must have been built.
pub(crate) fn build(workspace: &Workspace) -> Result<Programs> {
    let log = workspace.log("matrix-build-tests");
    let step = Step { tail: 80, ..Step::new("building the kernel tests for the guests", log) };
    step.run(&mut tests_build(workspace))?;
    let mut programs =
        vec![("tcpstat", workspace.binary()), ("tcpstat-losing", workspace.losing_binary())];
    programs.extend(tests(&step.log, &workspace.matrix(), "strip")?);
    Ok(programs)
}

/// Builds tcpstat as it is released for another architecture, and the tests. The BPF object must have been built: it is the
/// same for all. `idle`: only while nothing else wants a processor.
pub(crate) fn cross_build(
    workspace: &Workspace,
    architecture: Architecture,
    idle: bool,
) -> Result<Programs> {
    object::build_released(workspace, architecture, idle)?;
    let name = architecture.debian();
    let log = workspace.log(&format!("matrix-build-tests-{name}"));
    let title = format!("building the kernel tests for {name}");
    let step = Step { tail: 80, ..Step::new(&title, log) };
    let mut command = tests_build(workspace);
    command.args(TESTS.into_iter().flat_map(|(test, _)| ["--test", test]));
    architecture.build_for(workspace, &mut command)?;
    if idle {
        command = process::idle(&command);
    }
    step.run(&mut command)?;
    let mut programs = vec![("tcpstat", architecture.binary(workspace))];
    let folder = workspace.matrix().join(name);
    fs::create_dir_all(&folder)?;
    programs.extend(tests(&step.log, &folder, architecture.strip()?)?);
    Ok(programs)
}

fn tests_build(workspace: &Workspace) -> Command {
    let mut command = object::host_cargo(workspace);
    command
        .args(["test", "--no-run", "--locked", "--package", "tcpstat-tests"])
        .arg("--message-format=json-render-diagnostics");
    command
}

/// The tests that cargo's messages name, each copied into `folder` by the program `strip`.
fn tests(messages: &Path, folder: &Path, strip: &str) -> Result<Programs> {
    let messages = fs::read_to_string(messages)?;
    let stripped = |(test, name)| {
        let path = executable(&messages, test)?;
        let stripped = folder.join(name);
        strip_into(strip, &path, &stripped)?;
        Ok((name, stripped))
    };
    TESTS.into_iter().map(stripped).collect()
}

/// Copies a program without its debug information, which would fill the memory of a guest.
fn strip_into(strip: &str, from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new(strip);
    let status = command.arg("-o").args([to, from]).status();
    let status = status.with_context(|| format!("cannot run {strip}"))?;
    ensure!(status.success(), "{strip} cannot copy {} ({status})", from.display());
    Ok(())
}

/// The executable of the target of that name, among cargo's messages.
fn executable(messages: &str, target: &str) -> Result<PathBuf> {
    let named = |line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let wanted = message.pointer("/target/name")?.as_str()? == target;
        let executable = message.get("executable")?.as_str()?;
        wanted.then(|| PathBuf::from(executable))
    };
    messages
        .lines()
        .find_map(named)
        .with_context(|| format!("cargo does not say where {target} is"))
}
