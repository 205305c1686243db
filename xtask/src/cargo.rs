//! cargo inside cargo: what the outer `cargo run` sets in the environment for xtask must not reach the inner
//! one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::target::Workspace;

/// Settings of the user's that are meant for every cargo.
const FOR_EVERY_CARGO: [&str; 8] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
    "CARGO_BUILD_JOBS",
];

/// The cargo that runs xtask, in the root of the repository.
pub(crate) fn host(workspace: &Workspace) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_caller(&mut command);
    command
        .current_dir(workspace.root())
        .env("CARGO_TARGET_DIR", workspace.target())
        // Nothing is built twice in CI, and what a next build would need takes time and space.
        .envs(is_ci().then_some(("CARGO_INCREMENTAL", "0")))
        // With a target named, the binary would lie elsewhere.
        .env_remove("CARGO_BUILD_TARGET");
    command
}

/// The rustc of that cargo.
pub(crate) fn host_rustc(workspace: &Workspace) -> Command {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    forget_caller(&mut command);
    command.current_dir(workspace.root());
    command
}

/// Where cargo keeps the sources of other crates.
pub(crate) fn home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// Whether this is a run of continuous integration.
pub(crate) fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// Another toolchain's cargo with its own rustc, in the root of the repository. Settings of this toolchain,
/// target and flags do not reach it: `RUSTFLAGS` would even replace the flags by target.
pub(crate) fn other(workspace: &Workspace, cargo: &Path, rustc: &Path) -> Command {
    let mut command = Command::new(cargo);
    forget(&mut command, |name| {
        if name.starts_with("CARGO") {
            return !starts_with_any(name, &FOR_EVERY_CARGO);
        }
        starts_with_any(
            name,
            &["LD_LIBRARY_PATH", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"],
        )
    });
    command.current_dir(workspace.root()).env("RUSTC", rustc);
    command
}

/// Removes what the outer cargo sets for xtask itself. Its library path has the libraries of one rustc, which
/// are in the way of another.
pub(crate) fn forget_caller(command: &mut Command) {
    forget(command, |name| {
        starts_with_any(name, &["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_"])
            || ["CARGO", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "LD_LIBRARY_PATH", "OUT_DIR"]
                .contains(&name)
    });
}

/// cargo's options that have it run test and bench binaries by `runner`.
pub(crate) fn runner(runner: &str) -> [String; 2] {
    ["--config".to_owned(), format!("target.'cfg(all())'.runner = '{runner}'")]
}

fn forget(command: &mut Command, is_unwanted: impl Fn(&str) -> bool) {
    for (name, _) in env::vars_os().filter(|(name, _)| is_unwanted(&name.to_string_lossy())) {
        command.env_remove(name);
    }
}

fn starts_with_any(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}
