//! bpf-linker: one on PATH that fits, else one built once and cached under the target directory.
//!
//! It fits if it runs, is at least [`VERSION`], and is not linked to an LLVM older than rustc's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::llvm::Llvm;
use crate::process::{self, Step};
use crate::target::Workspace;
use crate::toolchain::leading_numbers;

/// The version that is built here.
pub(crate) const VERSION: &str = "0.13.0";

/// A bpf-linker that fits.
#[derive(Debug)]
pub(crate) struct Linker {
    path: PathBuf,
    version: String,
    source: &'static str,
}

impl Linker {
    /// The one on PATH, or the cached one, if it fits a rustc with LLVM `at_least`.
    pub(crate) fn find(workspace: &Workspace, at_least: u32) -> Option<Self> {
        let on_path = process::on_path("bpf-linker").map(|path| (path, "on PATH"));
        let cached = (workspace.linker_root().join("bin/bpf-linker"), "cached");
        on_path.into_iter().chain([cached]).find_map(|(path, source)| {
            let version = version(&path)?;
            let fits = leading_numbers(&version) >= leading_numbers(VERSION)
                && linked_llvm(&path).is_none_or(|llvm| llvm >= at_least);
            fits.then_some(Self { path, version, source })
        })
    }

    /// Builds one against `llvm` into the cache, in place of what is there.
    pub(crate) fn build(workspace: &Workspace, llvm: Llvm) -> Result<Self> {
        let title =
            format!("building bpf-linker {VERSION} for {} (a minute or two)", llvm.feature());
        let mut command = cargo::host(workspace);
        command
            .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
            .args(["--no-default-features", "--features", &llvm.feature(), "--root"])
            .arg(workspace.linker_root())
            // Both: llvm-sys reads the one, bpf-linker's own build script the other.
            .env("LLVM_PREFIX", llvm.prefix())
            .env(llvm.sys_prefix_variable(), llvm.prefix())
            // cargo then builds in a temporary directory, and removes it.
            .env_remove("CARGO_TARGET_DIR");
        Step::new(&title, workspace.log("bpf-linker")).run(&mut command)?;

        let path = workspace.linker_root().join("bin/bpf-linker");
        match version(&path) {
            Some(version) => Ok(Self { path, version, source: "built" }),
            None => bail!("{} was built, but does not run", path.display()),
        }
    }

    /// PATH with this linker first.
    pub(crate) fn search_path(&self) -> Result<std::ffi::OsString> {
        let own = self.path.parent().map(Path::to_owned);
        let path = env::var_os("PATH").unwrap_or_default();
        env::join_paths(own.into_iter().chain(env::split_paths(&path)))
            .context("the linker's directory cannot be put on PATH")
    }
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bpf-linker {} ({})", self.version, self.source)
    }
}

/// What `--version` says; nothing if it does not run, as after an upgrade of the LLVM under it.
fn version(linker: &Path) -> Option<String> {
    let mut command = Command::new(linker);
    cargo::forget_caller(&mut command);
    let output = process::probe(command.arg("--version"))?;
    Some(output.trim().strip_prefix("bpf-linker ")?.to_owned())
}

/// The major version of the LLVM it loads; nothing if LLVM is linked in.
fn linked_llvm(linker: &Path) -> Option<u32> {
    parse_linked_llvm(&process::probe(Command::new("ldd").arg(linker))?)
}

/// Finds `libLLVM.so.22.1` or `libLLVM-22.so` in the output of ldd.
fn parse_linked_llvm(ldd: &str) -> Option<u32> {
    let name = ldd.lines().find_map(|line| line.trim().strip_prefix("libLLVM"))?;
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn ldd_tells_the_llvm() {
        let ldd = "\tlinux-vdso.so.1 (0x1)\n\
                   \tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x2)\n";
        assert_eq!(parse_linked_llvm(ldd), Some(22));
        assert_eq!(parse_linked_llvm("\tlibLLVM-19.so.1 => not found\n"), Some(19));
        assert_eq!(parse_linked_llvm("\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"), None);
    }

    #[test]
    fn a_linker_that_does_not_run_has_no_version() {
        let dir = tempfile::tempdir().unwrap();
        let linker = dir.path().join("bpf-linker");
        assert_eq!(version(&linker), None);
        for (script, expected) in [("exit 127", None), ("echo bpf-linker 0.13.0", Some("0.13.0"))] {
            fs::write(&linker, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&linker, fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(version(&linker).as_deref(), expected);
        }
    }
}
