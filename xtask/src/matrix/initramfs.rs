//! What a guest finds: a base that all share, and a part for its kernel behind it. The kernel unpacks
//! archives that follow one another as if they were one.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fs_err::{self as fs, File};

use crate::files;
use crate::matrix::boot::Variant;
use crate::matrix::kernel::Kernel;
use crate::matrix::{left_out, subset};

const INIT: &str = include_str!("init.sh");

/// The part that all guests of an architecture share, packed.
pub(crate) struct Base {
    folder: PathBuf,
    busybox: PathBuf,
}

impl Base {
    /// Packs the guests' busybox, and what `fill` puts into the folder that becomes the root. `busybox` is one that runs on
    /// this machine.
    pub(crate) fn assemble(
        folder: PathBuf,
        busybox: PathBuf,
        busybox_of_guests: &Path,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let base = Self { folder, busybox };
        files::remove(&base.folder)?;
        let root = base.folder.join("base");
        files::copy_new(busybox_of_guests, &root.join("bin/busybox"))?;
        symlink("busybox", root.join("bin/sh")).context("cannot link sh to busybox")?;
        fill(&root)?;
        fs::write(root.join("init"), INIT)?;
        fs::set_permissions(root.join("init"), Permissions::from_mode(0o755))?;
        base.pack("base")?;
        Ok(base)
    }

    /// The initramfs of that name, for that kernel: it runs the tests that `filter` selects, without those that
    /// the kernel cannot run.
    pub(crate) fn for_kernel(
        &self,
        kernel: &Kernel,
        variant: &Variant,
        filter: &[String],
    ) -> Result<PathBuf> {
        let name = variant.name_of(kernel);
        let root = self.folder.join(&name);
        let modules = kernel.modules();
        for module in files::entries(&modules)? {
            files::copy_new(
                &module,
                &root.join("modules").join(files::relative(&modules, &module)),
            )?;
        }
        let filter = filter.iter().map(String::as_str).filter(|word| *word != "--");
        let usual = ["--color", "never"].into_iter().chain(left_out::arguments(kernel.series()));
        let arguments: Vec<_> = match variant.filter {
            Some(only) => usual.chain([only]).collect(),
            None => usual.chain(filter).collect(),
        };
        fs::write(root.join("arguments"), arguments.join("\n") + "\n")?;
        fs::write(root.join("programs"), variant.programs)?;
        if variant.is_subset {
            subset::write(&root.join("only"))?;
        }
        if kernel.takes_hooks() {
            fs::write(root.join("takes_hooks"), "")?;
        }

        let own = self.pack(&name)?;
        let whole = self.folder.join(format!("{name}.whole.cpio"));
        let mut target = File::create(&whole)?;
        for part in [self.folder.join("base.cpio"), own] {
            io::copy(&mut File::open(part)?, &mut target)?;
        }
        Ok(whole)
    }

    /// Packs the folder of that name, all of it root's.
    fn pack(&self, name: &str) -> Result<PathBuf> {
        let file = self.folder.join(format!("{name}.cpio"));
        let output = File::create(&file)?.into_parts().0;
        let status = Command::new("sh")
            .args(["-c", "find . | \"$0\" cpio -o -H newc -R 0:0"])
            .arg(&self.busybox)
            .current_dir(self.folder.join(name))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .status()
            .context("cannot run busybox")?;
        ensure!(status.success(), "busybox cannot pack {}", file.display());
        Ok(file)
    }
}
