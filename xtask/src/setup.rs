//! The BPF toolchain: what is installed is used, what is missing is installed, and one line says so.

use anyhow::{Result, bail};

use crate::apt;
use crate::linker::{self, Linker};
use crate::target::Workspace;
use crate::toolchain::{DEBIAN_PACKAGES, RUSTUP_REMEDY, Toolchain};

/// A rustc that builds for BPF, with a linker that fits it.
#[derive(Debug)]
pub(crate) struct Bpf {
    pub(crate) toolchain: Toolchain,
    pub(crate) linker: Linker,
}

/// Finds or installs the BPF toolchain.
pub(crate) fn bpf(workspace: &Workspace) -> Result<Bpf> {
    let bpf = find_or_install(workspace)?;
    println!("BPF toolchain: {}, {}", bpf.toolchain, bpf.linker);
    Ok(bpf)
}

/// In this order: a pair that is ready, an installed rustc for which a linker can be built, Debian's.
fn find_or_install(workspace: &Workspace) -> Result<Bpf> {
    let mut installed = Toolchain::installed();
    let ready = |toolchain: &Toolchain| Linker::find(workspace, toolchain.llvm());
    let pair = installed.iter().enumerate().find_map(|(at, found)| Some((at, ready(found)?)));
    if let Some((at, linker)) = pair {
        return Ok(Bpf { toolchain: installed.swap_remove(at), linker });
    }
    let obstacle =
        installed.last().map(|toolchain| format!("{toolchain} has no bpf-linker that fits"));
    for toolchain in installed {
        if let Some(linker) = Linker::build(workspace, toolchain.llvm())? {
            return Ok(Bpf { toolchain, linker });
        }
    }
    if !apt::is_here() {
        let obstacle = obstacle.unwrap_or_else(|| format!("no rustc for BPF: run {RUSTUP_REMEDY}"));
        bail!(
            "{obstacle}, and there is no apt-get: \
             put bpf-linker on PATH (https://github.com/aya-rs/bpf-linker#installation)"
        );
    }
    let otherwise = format!(", or {RUSTUP_REMEDY}");
    apt::install(workspace, "rustc for BPF", &DEBIAN_PACKAGES, &otherwise)?;
    let Some(toolchain) = Toolchain::installed().into_iter().find(Toolchain::is_system) else {
        bail!("Debian's rustc is too old, or lacks the sources of core: {RUSTUP_REMEDY}");
    };
    let linker = match Linker::find(workspace, toolchain.llvm()) {
        None => Linker::build(workspace, toolchain.llvm())?,
        found => found,
    };
    match linker {
        Some(linker) => Ok(Bpf { toolchain, linker }),
        None => bail!("no LLVM for {toolchain}: {}", linker::remedy(toolchain.llvm())),
    }
}
