//! Cargo's subcommands that are programs of others, built here at one version each.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cargo;
use crate::process::{self, Step};
use crate::target::Workspace;

/// A subcommand: its crate, and its version.
pub(crate) type Tool = (&'static str, &'static str);

/// Has the list of all crates in the binary: <https://github.com/rust-secure-code/cargo-auditable>
pub(crate) const AUDITABLE: Tool = ("cargo-auditable", "0.7.7");

/// Checks licences, sources and duplicates of crates: <https://embarkstudios.github.io/cargo-deny>
pub(crate) const DENY: Tool = ("cargo-deny", "0.20.2");

/// The program, built now if it is not there. `idle`: only while nothing else wants a processor.
pub(crate) fn provide(workspace: &Workspace, tool: Tool, idle: bool) -> Result<PathBuf> {
    let (name, version) = tool;
    let root = workspace.target().join("xtask").join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if program.is_file() {
        return Ok(program);
    }
    let mut command = cargo::host(workspace);
    command
        .args(["install", "--locked", "--debug", "--version", version, "--root"])
        .arg(&root)
        // Without what asks for advisories over the network.
        .args((tool == DENY).then_some("--no-default-features"))
        .arg(name)
        // cargo then builds in a temporary directory, and removes it.
        .env_remove("CARGO_TARGET_DIR");
    if idle {
        command = process::idle(&command);
    }
    Step::new(&format!("building {name} {version}"), workspace.log(name)).run(&mut command)?;
    Ok(program)
}

/// Checks the crates in the binary by .cargo/deny.toml.
pub(crate) fn deny(workspace: &Workspace, idle: bool) -> Result<()> {
    let program = provide(workspace, DENY, idle)?;
    let mut command = Command::new(program);
    command
        .args(["--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"])
        .current_dir(workspace.root());
    Step::new("cargo deny", workspace.log("deny")).run(&mut command)
}
