//! A kernel, taken out of its packages: the image, and the modules that the tests need.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::files;
use crate::matrix::archive::Archive;
use crate::matrix::choice::{Package, Series};
use crate::matrix::flavour::Flavour;
use crate::matrix::modules;
use crate::target::Workspace;

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    package: Package,
    folder: PathBuf,
}

impl Kernel {
    pub(crate) fn series(&self) -> Series {
        self.package.series()
    }

    /// Whether it accepts `fentry` and `fexit`: on ARM64 since 6.4, when ftrace got direct calls there
    /// (`HAVE_DYNAMIC_FTRACE_WITH_DIRECT_CALLS` in arch/arm64/Kconfig).
    pub(crate) fn takes_hooks(&self) -> bool {
        self.architecture() == Architecture::X86_64 || self.series() >= (6, 4)
    }

    pub(crate) fn flavour(&self) -> Flavour {
        self.package.flavour
    }

    pub(crate) fn architecture(&self) -> Architecture {
        self.package.flavour.architecture()
    }

    /// Its version after the prefix of its flavour, such as `arm64-6.1.192`.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.package.flavour.prefix(), self.package.upstream())
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The folder of the modules, with the file `order` that names them as they are to be loaded.
    pub(crate) fn modules(&self) -> PathBuf {
        self.folder.join("modules")
    }
}

/// Downloads a kernel, unless it is in the cache. `busybox` is one that runs on this machine.
pub(crate) fn obtain(
    workspace: &Workspace,
    archive: &Archive,
    busybox: &Path,
    package: &Package,
) -> Result<Kernel> {
    let kernels = workspace.matrix().join("kernels");
    let folder = kernels.join(format!("{}_{}", package.name, package.version));
    let kernel = Kernel { package: package.clone(), folder };
    if kernel.folder.is_dir() {
        return Ok(kernel);
    }
    let root = kernels.join("unpacked");
    archive.unpack(&package.parts, &root)?;
    let parts = kernels.join("unfinished");
    files::make_empty(&parts)?;
    let found = files::below(&root)?;
    let named = |name: &str| {
        let is_it = |file: &&PathBuf| {
            file.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
        };
        let missing = || format!("{} has no {name}", package.name);
        found.iter().find(is_it).with_context(missing)
    };
    fs::copy(named("vmlinuz")?, parts.join("vmlinuz"))?;
    let builtin = named("modules.builtin")?;
    let tree = builtin.parent().unwrap_or(Path::new("/"));
    modules::extract(busybox, tree, &parts.join("modules"))?;
    files::remove(&root)?;
    // Only now: what is in the cache is complete.
    fs::rename(&parts, &kernel.folder)?;
    Ok(kernel)
}
