//! Where the files are that several modules need. What one module downloads or caches, it names itself.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The target triple of the BPF object.
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";

/// The repository and its target directory, both absolute.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The workspace that this xtask was started in. `CARGO_TARGET_DIR` is respected.
    pub(crate) fn locate() -> Result<Self> {
        let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest_dir
            .parent()
            .with_context(|| format!("{} has no parent directory", manifest_dir.display()))?;
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => env::current_dir().context("no current directory")?.join(dir),
            None => root.join("target"),
        };
        Ok(Self { root: root.to_owned(), target })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn binary(&self) -> PathBuf {
        self.target.join("release/tcpstat")
    }

    /// A release binary whose tracer loses events on purpose, for the tests.
    pub(crate) fn losing_binary(&self) -> PathBuf {
        self.target.join("xtask/tcpstat-losing")
    }

    /// The BPF object that it embeds.
    pub(crate) fn losing_bpf_object(&self) -> PathBuf {
        self.target.join("xtask/tcpstat-losing.bpf.o")
    }

    /// The target directory of the BPF build, which has a rustc of its own.
    pub(crate) fn bpf_target(&self) -> PathBuf {
        self.target.join("bpf")
    }

    /// The BPF object that the binary embeds.
    pub(crate) fn bpf_object(&self) -> PathBuf {
        self.bpf_target().join(BPF_TARGET).join("release/tcpstat-ebpf")
    }

    /// What the kernel matrix downloads, builds and boots.
    pub(crate) fn matrix(&self) -> PathBuf {
        self.target.join("matrix")
    }

    /// The log of a step.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        self.target.join("xtask").join(format!("{}.log", step.replace(' ', "-")))
    }

    /// `path` as people want to read it: relative to the root of the repository if it is inside.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}
