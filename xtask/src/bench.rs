//! What tcpstat costs, measured beside the tools that list every socket.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use crate::apt::Privilege;
use crate::process::Step;
use crate::target::Workspace;
use crate::tools::{self, Tools};
use crate::{cargo, instructions, object};

/// The part that is not the benchmark's own.
const INSTRUCTIONS: &str = "instructions";

/// Sockets of the run that only shows that all of it runs.
const FEW: usize = 1_000;

/// Builds, and measures with up to so many sockets, all or only those parts; results lie under
/// target/bench.
pub(crate) fn run(workspace: &Workspace, sockets: usize, parts: &[String]) -> Result<()> {
    ensure!(sockets >= 10 && sockets.is_multiple_of(2), "--sockets {sockets}: even, 10 or more");
    let tools = tools::provide(workspace)?;
    object::build(workspace)?;
    let folder = workspace.target().join("bench");
    build(workspace)?;
    let others: Vec<_> = parts.iter().filter(|part| *part != INSTRUCTIONS).collect();
    if parts.is_empty() || !others.is_empty() {
        let status = command(workspace, &tools, sockets, &folder)?
            .args(others.into_iter().flat_map(|part| ["--part", part]))
            .stdin(Stdio::null())
            .status()
            .context("cannot run the benchmark")?;
        ensure!(status.success(), "the benchmark failed ({status})");
    }
    if parts.is_empty() || parts.iter().any(|part| part == INSTRUCTIONS) {
        let table = instructions::table(workspace)?;
        println!("{table}");
        let file = folder.join("instructions.md");
        fs::create_dir_all(&folder)?;
        fs::write(&file, table)?;
    }
    Ok(())
}

/// Runs all of it, small and short, with a binary that is built; its figures say nothing.
pub(crate) fn smoke(workspace: &Workspace, tools: &Tools) -> Result<()> {
    if !Privilege::current().is_at_hand() {
        println!("benchmark: left out, it needs root");
        return Ok(());
    }
    build(workspace)?;
    let folder = workspace.target().join("bench/smoke");
    let mut command = command(workspace, tools, FEW, &folder)?;
    Step::new("benchmark, short", workspace.log("bench")).run(command.arg("--short"))?;
    let mut parts = object::host_cargo(workspace);
    // Each part once, in the profile of the tests.
    parts.args(["test", "--locked", "--package", "tcpstat-user"]);
    parts.args(["--bench", "parts", "--bench", "instructions"]);
    Step::new("benchmark of the parts, short", workspace.log("bench-parts")).run(&mut parts)
}

fn build(workspace: &Workspace) -> Result<()> {
    let mut command = object::host_cargo(workspace);
    command.args(["build", "--locked", "--package", "tcpstat-tests", "--bins"]);
    Step::new("building the benchmark", workspace.log("build-bench")).run(&mut command)
}

/// It makes a network namespace, which takes root.
fn command(workspace: &Workspace, tools: &Tools, sockets: usize, folder: &Path) -> Result<Command> {
    let program = workspace.target().join("debug/bench");
    let mut command = match Privilege::current() {
        Privilege::Root => Command::new(program),
        Privilege::Sudo => {
            let mut sudo = Command::new("sudo");
            sudo.arg("-E").arg(program);
            sudo
        }
        _ => bail!("the benchmark needs root, for a network namespace of its own"),
    };
    cargo::forget_caller(&mut command);
    command
        .arg(sockets.to_string())
        .arg(folder)
        .env("TCPSTAT_BIN", workspace.binary())
        .env(tools::NODE_EXPORTER, &tools.node_exporter);
    Ok(command)
}
