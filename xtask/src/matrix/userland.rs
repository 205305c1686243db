//! Programs that the tests run beside tcpstat, with the libraries that they need: of this machine, or of Debian's packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use fs_err as fs;
use fs_err::os::unix::fs::symlink;

use crate::matrix::archive::Archive;
use crate::matrix::guest::Programs;
use crate::tools::Tools;
use crate::{files, process};

const NAMES: [&str; 5] = ["ip", "prlimit", "setpriv", "ss", "unshare"];

/// Debian's packages with these programs.
const PACKAGES: [&str; 2] = ["iproute2", "util-linux"];

/// Where the packages have the libraries, and the loader, which programs expect in /lib.
const LIBRARIES: [&str; 2] = ["usr/lib/aarch64-linux-gnu", "usr/lib"];

/// Puts `programs` and those of this machine into `root`.
pub(crate) fn of_this_machine(programs: &Programs, tools: &Tools, root: &Path) -> Result<()> {
    let mut all = programs.clone();
    all.push(("node_exporter", tools.node_exporter.clone()));
    for name in NAMES {
        all.push((name, find(name).with_context(|| format!("the tests need {name}"))?));
    }
    for (name, program) in all {
        files::copy_new(&program, &root.join("bin").join(name))?;
        // Fails for a static program, which needs none.
        let listed = process::probe(Command::new("ldd").arg(&program)).unwrap_or_default();
        for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            files::copy_new(Path::new(library), &root.join(library.trim_start_matches('/')))?;
        }
    }
    Ok(())
}

/// Puts `programs`, which are static, and those of Debian's packages into `root`.
pub(crate) fn of_debian(programs: &Programs, archive: &Archive, root: &Path) -> Result<()> {
    let unpacked = archive.with_dependencies(&PACKAGES)?;
    let own = NAMES.into_iter().map(|name| (name, unpacked.join("usr/bin").join(name)));
    for (name, program) in programs.iter().cloned().chain(own) {
        files::copy_new(&program, &root.join("bin").join(name))?;
    }
    // The loader of this machine cannot tell which libraries a program of another architecture needs: all of them.
    for folder in LIBRARIES {
        for library in files::entries(&unpacked.join(folder))? {
            let copy = root.join(files::relative(&unpacked, &library));
            match fs::read_link(&library) {
                _ if library.is_dir() => {}
                Ok(target) => symlink(target, &copy)?,
                Err(_) => files::copy_new(&library, &copy)?,
            }
        }
    }
    symlink("usr/lib", root.join("lib"))?;
    Ok(())
}

/// A program of that name, also if it is in none of the folders of PATH.
fn find(name: &str) -> Option<PathBuf> {
    let more = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name));
    process::on_path(name).or_else(|| more.into_iter().find(|file| file.is_file()))
}
