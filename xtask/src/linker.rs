//! bpf-linker: one on PATH that fits, else one built once, against Debian's LLVM, and cached under the
//! target directory.
//!
//! It fits if it runs, is at least [`VERSION`], and is not linked to an LLVM older than rustc's, whose
//! bitcode it links.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use anyhow::{Context, Result, ensure};
use rustc_version::Version;

use crate::process::{self, Step};
use crate::target::Workspace;
use crate::{apt, cargo};

/// The version that is built here.
const VERSION: Version = Version::new(0, 13, 0);

/// The versions of LLVM that it has a feature for.
const LLVMS: RangeInclusive<u64> = 21..=23;

/// A bpf-linker that fits.
#[derive(Debug)]
pub(crate) struct Linker {
    path: PathBuf,
    version: Version,
    source: &'static str,
}

impl Linker {
    /// The one on PATH, or the cached one, if it fits a rustc with LLVM `at_least`.
    pub(crate) fn find(workspace: &Workspace, at_least: u64) -> Option<Self> {
        let on_path = process::on_path("bpf-linker").map(|path| (path, "on PATH"));
        let cached = (root(workspace).join("bin/bpf-linker"), "cached");
        on_path.into_iter().chain([cached]).find_map(|(path, source)| {
            let version = version(&path)?;
            let ldd = process::probe(Command::new("ldd").arg(&path)).unwrap_or_default();
            let fits = version >= VERSION && linked_llvm(&ldd).is_none_or(|llvm| llvm >= at_least);
            fits.then_some(Self { path, version, source })
        })
    }

    /// Builds one into the cache, in place of what is there, for a rustc with LLVM `at_least`. Nothing if no
    /// LLVM for it is installed or can be.
    pub(crate) fn build(workspace: &Workspace, at_least: u64) -> Result<Option<Self>> {
        let Some(llvm) = obtain_llvm(workspace, at_least)? else { return Ok(None) };
        let feature = format!("llvm-{llvm}");
        let title = format!("building bpf-linker {VERSION} for {feature} (a minute or two)");
        let mut command = cargo::host(workspace);
        command
            .args(["install", "bpf-linker", "--version", &VERSION.to_string()])
            .args(["--locked", "--force", "--no-default-features", "--features", &feature])
            .arg("--root")
            .arg(root(workspace))
            // Both: bpf-linker's own build script reads the one, llvm-sys the other (22.1 is 221 there).
            .env("LLVM_PREFIX", prefix(llvm))
            .env(format!("LLVM_SYS_{llvm}1_PREFIX"), prefix(llvm))
            // cargo then builds in a temporary directory, and removes it.
            .env_remove("CARGO_TARGET_DIR");
        Step::new(&title, workspace.log("bpf-linker")).run(&mut command)?;
        let path = root(workspace).join("bin/bpf-linker");
        let version = version(&path)
            .with_context(|| format!("{} was built, but does not run", path.display()))?;
        Ok(Some(Self { path, version, source: "built" }))
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

/// Where the one that is built here is installed.
fn root(workspace: &Workspace) -> PathBuf {
    workspace.target().join("bpf-linker")
}

/// What to install by hand for a rustc with LLVM `at_least`, as one line.
pub(crate) fn remedy(at_least: u64) -> String {
    match suitable_llvms(at_least).next() {
        Some(llvm) => format!("install {}", package(llvm)),
        None => format!(
            "bpf-linker knows LLVM up to {}, this rustc has {at_least}: use an older one",
            LLVMS.end()
        ),
    }
}

/// The LLVM to build against, installed now if none is.
fn obtain_llvm(workspace: &Workspace, at_least: u64) -> Result<Option<u64>> {
    let installed =
        || suitable_llvms(at_least).find(|&llvm| prefix(llvm).join("lib/libLLVM.so").exists());
    if installed().is_none() && apt::is_here() {
        let packages: Vec<_> = suitable_llvms(at_least).map(package).collect();
        let Some(package) = apt::first_offered(workspace, &packages) else { return Ok(None) };
        apt::install(workspace, "LLVM", &[package], "")?;
        ensure!(installed().is_some(), "{package} is installed, but its libLLVM.so is not there");
    }
    Ok(installed())
}

/// The preferred first: the same as rustc's, else the nearest greater.
fn suitable_llvms(at_least: u64) -> impl Iterator<Item = u64> {
    LLVMS.filter(move |llvm| *llvm >= at_least)
}

/// Debian's package of it.
fn package(llvm: u64) -> String {
    format!("llvm-{llvm}-dev")
}

fn prefix(llvm: u64) -> PathBuf {
    Path::new("/usr/lib").join(format!("llvm-{llvm}"))
}

/// What `--version` says; nothing if it does not run, as after an upgrade of the LLVM under it.
fn version(linker: &Path) -> Option<Version> {
    let mut command = Command::new(linker);
    cargo::forget_caller(&mut command);
    let output = process::probe(command.arg("--version"))?;
    Version::parse(output.trim().strip_prefix("bpf-linker ")?).ok()
}

/// The major version of `libLLVM.so.22.1` or `libLLVM-22.so` in the output of ldd; nothing if LLVM is linked
/// in.
fn linked_llvm(ldd: &str) -> Option<u64> {
    let name = ldd.lines().find_map(|line| line.trim().strip_prefix("libLLVM"))?;
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_names_the_llvm() {
        let ldd = "\tlinux-vdso.so.1 (0x1)\n\
                   \tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x2)\n";
        assert_eq!(linked_llvm(ldd), Some(22));
        assert_eq!(linked_llvm("\tlibLLVM-19.so.1 => not found\n"), Some(19));
        assert_eq!(linked_llvm("\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"), None);
    }
}
