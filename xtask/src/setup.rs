//! The BPF toolchain: what is installed is used, what is missing is installed, and one line says so.

use anyhow::{Result, bail};

use crate::apt::Apt;
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

/// In this order: a pair that is ready, an installed rustc for which a linker can be had, Debian's.
fn find_or_install(workspace: &Workspace) -> Result<Bpf> {
    let mut installed = Toolchain::installed();
    for index in 0..installed.len() {
        if let Some(linker) = Linker::find(workspace, installed[index].llvm()) {
            return Ok(Bpf { toolchain: installed.swap_remove(index), linker });
        }
    }

    let apt = Apt::find(workspace);
    let mut obstacle = None;
    for toolchain in installed {
        match Linker::build(workspace, apt.as_ref(), toolchain.llvm())? {
            Some(linker) => return Ok(Bpf { toolchain, linker }),
            None => obstacle = Some(toolchain),
        }
    }

    let Some(apt) = apt else { bail!(remedy_without_apt(obstacle.as_ref())) };
    apt.install(&DEBIAN_PACKAGES, &format!(", or {RUSTUP_REMEDY}"))?;
    let Some(toolchain) = Toolchain::installed().into_iter().find(Toolchain::is_system) else {
        bail!("Debian's rustc is too old, or lacks the sources of core: {RUSTUP_REMEDY}");
    };
    let linker = match Linker::find(workspace, toolchain.llvm()) {
        None => Linker::build(workspace, Some(&apt), toolchain.llvm())?,
        found => found,
    };
    match linker {
        Some(linker) => Ok(Bpf { toolchain, linker }),
        None => bail!("no LLVM for {toolchain}: {}", linker::remedy(toolchain.llvm())),
    }
}

fn remedy_without_apt(unlinked: Option<&Toolchain>) -> String {
    let linker = "put bpf-linker on PATH (https://github.com/aya-rs/bpf-linker#installation)";
    match unlinked {
        Some(toolchain) => {
            format!("{toolchain} has no bpf-linker that fits, and there is no apt-get: {linker}")
        }
        None => {
            format!("no rustc for BPF, and there is no apt-get: run {RUSTUP_REMEDY}, and {linker}")
        }
    }
}
