//! cargo inside cargo: the environment that the outer `cargo run` gives to xtask must not reach the
//! inner one where it would mislead it.

use std::env;
use std::ffi::{OsStr, OsString};
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
        // With a target named, the binary would lie elsewhere.
        .env_remove("CARGO_BUILD_TARGET");
    command
}

/// Another toolchain's cargo with its own rustc, in the root of the repository.
pub(crate) fn other(workspace: &Workspace, cargo: &Path, rustc: &Path) -> Command {
    let mut command = Command::new(cargo);
    forget_caller(&mut command);
    for (name, _) in env::vars_os().filter(|(name, _)| names_a_toolchain(name)) {
        command.env_remove(name);
    }
    command.current_dir(workspace.root()).env("RUSTC", rustc);
    command
}

/// Removes what the outer cargo says about xtask itself, and its library path.
pub(crate) fn forget_caller(command: &mut Command) {
    for (name, _) in env::vars_os().filter(|(name, _)| describes_a_package(name)) {
        command.env_remove(name);
    }
    if let Some(path) = env::var_os("LD_LIBRARY_PATH") {
        let own = env::current_exe().unwrap_or_default();
        match library_path(&path, own.parent().unwrap_or(&own)) {
            Some(path) => command.env("LD_LIBRARY_PATH", path),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
}

/// cargo's options that have it run test and bench binaries by `runner`.
pub(crate) fn runner(runner: &str) -> [String; 2] {
    ["--config".to_owned(), format!("target.'cfg(all())'.runner = '{runner}'")]
}

fn describes_a_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
        || matches!(&*name, "CARGO" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR")
}

/// Another toolchain, another target, other flags: `RUSTFLAGS` would even replace the flags by target.
fn names_a_toolchain(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    if name.starts_with("CARGO") {
        return !FOR_EVERY_CARGO.iter().any(|prefix| name.starts_with(prefix));
    }
    ["RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"].iter().any(|prefix| name.starts_with(prefix))
        || name == "RUSTFLAGS"
}

/// The path without the directories of a rustup toolchain and of the outer cargo's `output`: there lie
/// the libraries of one rustc in the way of another.
fn library_path(path: &OsStr, output: &Path) -> Option<OsString> {
    let kept: Vec<PathBuf> = env::split_paths(path)
        .filter(|dir| {
            !dir.as_os_str().is_empty()
                && !dir.starts_with(output)
                && !dir.components().any(|part| part.as_os_str() == "toolchains")
        })
        .collect();
    if kept.is_empty() { None } else { env::join_paths(kept).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bpf_build_keeps_only_settings_for_every_cargo() {
        let of_a_toolchain = "CARGO_TARGET_DIR CARGO_BUILD_TARGET CARGO_ENCODED_RUSTFLAGS \
            CARGO_INCREMENTAL RUSTFLAGS RUSTC RUSTC_WORKSPACE_WRAPPER RUSTUP_TOOLCHAIN";
        for name in of_a_toolchain.split_whitespace() {
            assert!(names_a_toolchain(name.as_ref()), "{name}");
        }
        let kept = "CARGO_HOME CARGO_HTTP_PROXY CARGO_NET_OFFLINE PATH RUST_BACKTRACE";
        for name in kept.split_whitespace() {
            assert!(!names_a_toolchain(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn the_host_build_keeps_its_toolchain() {
        for name in ["CARGO_PKG_VERSION", "CARGO_MANIFEST_DIR"] {
            assert!(describes_a_package(name.as_ref()), "{name}");
        }
        for name in ["RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_HOME"] {
            assert!(!describes_a_package(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn the_library_path_loses_what_cargo_added() {
        let output = Path::new("/src/target/debug");
        let added = "/src/target/debug:/src/target/debug/deps:/h/.rustup/toolchains/stable/lib";
        assert_eq!(library_path(added.as_ref(), output), None);
        let path = format!("{added}:/opt/lib");
        assert_eq!(library_path(path.as_ref(), output), Some("/opt/lib".into()));
    }
}
