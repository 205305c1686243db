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
use crate::matrix::archive::Archive;
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
            archive.unpack(&["busybox-static".to_owned()], &workspace.matrix().join("busybox"))?;
        }
        let base = Self { folder: workspace.matrix().join("initramfs"), busybox };
        files::remove(&base.folder)?;
        let root = base.folder.join("base");
        copy(&base.busybox, &root.join("bin/busybox"))?;
        symlink("busybox", root.join("bin/sh")).context("cannot link sh to busybox")?;
        for (program, name) in [
            (&programs.tcpstat, "tcpstat"),
            (&programs.losing, "tcpstat-losing"),
            (&programs.tests, "tests"),
            (&programs.storm, "storm"),
        ] {
            copy(program, &root.join("bin").join(name))?;
        }
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
        fs::write(root.join("init"), INIT)?;
        fs::set_permissions(root.join("init"), Permissions::from_mode(0o755))?;
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
        for module in files::entries(&modules)? {
            copy(&module, &root.join("modules").join(files::relative(&modules, &module)))?;
        }
        let mut arguments = vec!["--color".to_owned(), "never".to_owned()];
        arguments.extend(left_out::arguments(kernel.series()));
        arguments.extend(filter.iter().filter(|word| *word != "--").cloned());
        fs::write(root.join("arguments"), arguments.join("\n") + "\n")?;

        let own = self.pack(name)?;
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
    if !to.exists() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::copy(from, to)?;
    }
    Ok(())
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
