//! The processor architectures that tcpstat is released for, and what builds a static binary for each.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::process::{self, Step};
use crate::target::Workspace;
use crate::{apt, cargo};

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    X86_64,
    Aarch64,
}

pub(crate) const ALL: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

impl Architecture {
    /// That of this machine.
    pub(crate) fn host() -> Result<Self> {
        let name = env::consts::ARCH;
        Self::by_name(name)
            .with_context(|| format!("{name}: tcpstat is built for x86_64 and aarch64"))
    }

    /// The kernel's and RPM's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's name, which is that of OCI images too.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The target of the binary: with musl it is static, and asks no library of the host for names.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The C compiler of the machine's own, or Debian's cross compiler. The C in the binary uses no C library.
    fn compiler(self, host: Self) -> (&'static str, &'static [&'static str]) {
        match self {
            _ if self == host => ("cc", &["gcc", "libc6-dev"]),
            Self::X86_64 => {
                ("x86_64-linux-gnu-gcc", &["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"])
            }
            Self::Aarch64 => {
                ("aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"])
            }
        }
    }

    /// What removes debug information, of the compiler's packages.
    pub(crate) fn strip(self) -> Result<&'static str> {
        Ok(match self {
            _ if self == Self::host()? => "strip",
            Self::X86_64 => "x86_64-linux-gnu-strip",
            Self::Aarch64 => "aarch64-linux-gnu-strip",
        })
    }

    fn by_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|architecture| {
            [architecture.name(), architecture.debian(), architecture.target()].contains(&name)
        })
    }

    /// Finds or installs what builds for it.
    pub(crate) fn provide(self, workspace: &Workspace) -> Result<()> {
        let (compiler, packages) = self.compiler(Self::host()?);
        if process::on_path(compiler).is_none() {
            apt::install(workspace, compiler, packages, "")?;
        }
        let target = self.target();
        let mut libraries = cargo::host_rustc(workspace);
        libraries.args(["--print", "target-libdir", "--target", target]);
        let is_there =
            process::probe(&mut libraries).is_some_and(|path| Path::new(path.trim()).is_dir());
        if is_there {
            return Ok(());
        }
        let mut rustup = Command::new("rustup");
        Step::new(&format!("rustup target add {target}"), workspace.log("rustup"))
            .run(rustup.args(["target", "add", target]))
            .with_context(|| {
                format!("no Rust library for {target}: run `rustup target add {target}`")
            })
    }

    /// Has `command`, a cargo command, build for it.
    pub(crate) fn build_for(self, workspace: &Workspace, command: &mut Command) -> Result<()> {
        let (compiler, _) = self.compiler(Self::host()?);
        let target = self.target();
        let variable = target.replace('-', "_");
        let flags = without_paths(workspace)?.map(|flag| format!("'{flag}'"));
        command
            .args(["--target", target])
            .args(["--config", &format!("target.{target}.rustflags=[{}]", flags.join(","))])
            .env(format!("CC_{variable}"), compiler)
            .env(format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()), compiler);
        Ok(())
    }

    /// Where cargo puts the release binary.
    pub(crate) fn binary(self, workspace: &Workspace) -> PathBuf {
        workspace.target().join(self.target()).join("release/tcpstat")
    }
}

/// Flags of rustc that leave no path of this machine in what is built: sources are named from the root of the repository,
/// or of the registry of their crate.
pub(crate) fn without_paths(workspace: &Workspace) -> Result<[String; 3]> {
    let registry = cargo::home().context("no CARGO_HOME and no home directory")?;
    Ok([workspace.target(), workspace.root(), &registry.join("registry/src")]
        .map(|path| format!("--remap-path-prefix={}=", path.display())))
}

impl FromStr for Architecture {
    type Err = anyhow::Error;

    /// By the kernel's name, Debian's, or that of the target.
    fn from_str(name: &str) -> Result<Self> {
        Self::by_name(name).with_context(|| format!("{name}: neither x86_64 nor aarch64"))
    }
}
