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
use crate::matrix::guest::Programs;
use crate::matrix::kernel::Kernel;
use crate::matrix::left_out;
use crate::process;
use crate::target::Workspace;
use crate::tools::Tools;

const INIT: &str = include_str!("init.sh");

/// Programs of this machine that the tests run beside tcpstat.
const MACHINES_OWN: [&str; 5] = ["ip", "prlimit", "setpriv", "ss", "unshare"];

/// The part that all guests share, packed.
pub(crate) struct Base {
    folder: PathBuf,
    busybox: PathBuf,
}

impl Base {
    /// Packs busybox, the programs under test, and what they need of this machine's programs, with their
    /// libraries.
    pub(crate) fn assemble(
        workspace: &Workspace,
        busybox: PathBuf,
        programs: &Programs,
        tools: &Tools,
    ) -> Result<Self> {
        let folder = workspace.matrix().join("initramfs");
        let base = Self { folder, busybox };
        files::remove(&base.folder)?;
        let root = base.folder.join("base");
        copy(&base.busybox, &root.join("bin/busybox"))?;
        symlink("busybox", root.join("bin/sh")).context("cannot link sh to busybox")?;
        let mut all = programs.clone();
        all.push(("node_exporter", tools.node_exporter.clone()));
        for name in MACHINES_OWN {
            all.push((name, find(name).with_context(|| format!("the tests need {name}"))?));
        }
        for (name, program) in all {
            copy(&program, &root.join("bin").join(name))?;
            // Fails for a static program, which needs none.
            let listed = process::probe(Command::new("ldd").arg(&program)).unwrap_or_default();
            for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
                copy(Path::new(library), &root.join(library.trim_start_matches('/')))?;
            }
        }
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
            copy(&module, &root.join("modules").join(files::relative(&modules, &module)))?;
        }
        let filter = filter.iter().map(String::as_str).filter(|word| *word != "--");
        let usual = ["--color", "never"].into_iter().chain(left_out::arguments(kernel.series()));
        let usual = usual.chain(variant.left_out.iter().flat_map(|part| ["--skip", *part]));
        let arguments: Vec<_> = match variant.filter {
            Some(only) => usual.chain([only]).collect(),
            None => usual.chain(filter).collect(),
        };
        fs::write(root.join("arguments"), arguments.join("\n") + "\n")?;
        fs::write(root.join("programs"), variant.programs)?;

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

/// A program of that name, also if it is in none of the folders of PATH.
fn find(name: &str) -> Option<PathBuf> {
    let more = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name));
    process::on_path(name).or_else(|| more.into_iter().find(|file| file.is_file()))
}

/// Copies the file that a path leads to, mode included, unless it is there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !to.exists() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::copy(from, to)?;
    }
    Ok(())
}
