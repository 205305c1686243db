//! What a guest finds: a base that all share, and a part for its kernel behind it. The kernel unpacks
//! archives that follow one another as if they were one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::matrix::archive::{self, Archive};
use crate::matrix::guest::Programs;
use crate::matrix::kernel::Kernel;
use crate::matrix::left_out;
use crate::process;
use crate::target::Workspace;
use crate::tools::Tools;

const INIT: &str = include_str!("init.sh");

/// What the tests run beside tcpstat.
const MACHINES_OWN: [&str; 5] = ["ip", "prlimit", "setpriv", "ss", "unshare"];

/// The part that all guests share, packed.
pub(crate) struct Base {
    folder: PathBuf,
    busybox: PathBuf,
}

impl Base {
    /// Packs busybox (Debian's static one, never installed), the programs under test, and what they
    /// need of this machine's programs, with their libraries.
    pub(crate) fn assemble(
        workspace: &Workspace,
        archive: &Archive,
        programs: &Programs,
        tools: &Tools,
    ) -> Result<Self> {
        let busybox = workspace.busybox();
        if !process::is_executable(&busybox) {
            archive.unpack(&["busybox-static"], &workspace.matrix().join("busybox"))?;
        }
        let base = Self { folder: workspace.matrix().join("initramfs"), busybox };
        archive::remove(&base.folder)?;
        let root = base.folder.join("base");
        copy(&base.busybox, &root.join("bin/busybox"))?;
        symlink("busybox", root.join("bin/sh")).context("cannot link sh to busybox")?;
        copy(&programs.tcpstat, &root.join("bin/tcpstat"))?;
        copy(&programs.losing, &root.join("bin/tcpstat-losing"))?;
        copy(&programs.tests, &root.join("bin/tests"))?;
        copy(&programs.storm, &root.join("bin/storm"))?;
        let mut dynamic = vec![(tools.node_exporter.clone(), "node_exporter")];
        for name in MACHINES_OWN {
            let path = find(name).with_context(|| format!("the tests need {name}"))?;
            dynamic.push((path, name));
        }
        for (program, name) in dynamic {
            copy(&program, &root.join("bin").join(name))?;
            // Fails for a static program, which needs none.
            let listed = process::probe(Command::new("ldd").arg(&program)).unwrap_or_default();
            for library in libraries(&listed) {
                copy(&library, &root.join(library.strip_prefix("/").unwrap_or(&library)))?;
            }
        }
        write(&root.join("init"), INIT)?;
        fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))
            .context("cannot make init executable")?;
        base.pack("base")?;
        Ok(base)
    }

    /// The initramfs of that name, for that kernel: it runs the tests that `filter` selects, without those that the
    /// kernel cannot run.
    pub(crate) fn for_kernel(
        &self,
        kernel: &Kernel,
        name: &str,
        filter: &[String],
    ) -> Result<PathBuf> {
        let root = self.folder.join(name);
        let modules = kernel.modules();
        for entry in
            fs::read_dir(&modules).with_context(|| format!("cannot list {}", modules.display()))?
        {
            let entry = entry.with_context(|| format!("cannot list {}", modules.display()))?;
            copy(&entry.path(), &root.join("modules").join(entry.file_name()))?;
        }
        let mut arguments = vec!["--color".to_owned(), "never".to_owned()];
        arguments.extend(left_out::arguments(kernel.series()));
        arguments.extend(filter.iter().filter(|word| *word != "--").cloned());
        write(&root.join("arguments"), &(arguments.join("\n") + "\n"))?;

        let own = self.pack(name)?;
        let whole = self.folder.join(format!("{name}.whole.cpio"));
        let mut target =
            File::create(&whole).with_context(|| format!("cannot create {}", whole.display()))?;
        for part in [self.folder.join("base.cpio"), own] {
            let mut part =
                File::open(&part).with_context(|| format!("cannot read {}", part.display()))?;
            io::copy(&mut part, &mut target)
                .with_context(|| format!("cannot write {}", whole.display()))?;
        }
        Ok(whole)
    }

    /// Packs the folder of that name, all of it root's.
    fn pack(&self, name: &str) -> Result<PathBuf> {
        let file = self.folder.join(format!("{name}.cpio"));
        let output =
            File::create(&file).with_context(|| format!("cannot create {}", file.display()))?;
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

/// A program of that name, also where PATH does not lead.
fn find(name: &str) -> Option<PathBuf> {
    let more = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name));
    process::on_path(name).or_else(|| more.into_iter().find(|file| process::is_executable(file)))
}

/// The files in the output of `ldd`.
fn libraries(listed: &str) -> Vec<PathBuf> {
    listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

/// Copies what a path leads to, mode included, unless it is there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        return Ok(());
    }
    create_parent(to)?;
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    create_parent(file)?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn create_parent(file: &Path) -> Result<()> {
    let parent = file.parent().unwrap_or(file);
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_paths_with_the_loader_among_them() {
        let listed = "\tlinux-vdso.so.1 (0x00007ff1d862d000)\n\
            \tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007ff1d84a8000)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007ff1d862d000)\n";
        let paths = ["/lib/x86_64-linux-gnu/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(listed), paths.map(PathBuf::from));
        assert_eq!(libraries("\tnot a dynamic executable\n"), Vec::<PathBuf>::new());
    }
}
