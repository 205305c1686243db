//! The Debian package, made by debhelper from tcpstat-user/assets/packaging/debian.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::dist::{Release, tree};
use crate::files;
use crate::process::{self, Step};
use crate::target::Workspace;

const DEBIAN: &str = "tcpstat-user/assets/packaging/debian";

pub(super) fn make(
    workspace: &Workspace,
    release: &Release,
    architecture: Architecture,
    files: &Path,
    work: &Path,
) -> Result<()> {
    let arch = architecture.debian();
    let source = work.join(format!("deb-{arch}/source"));
    files::make_empty(&source)?;
    process::probe(Command::new("cp").arg("-a").arg(files).arg(source.join("tree")))
        .context("cp fails")?;
    for name in ["control", "rules"] {
        let mode = if name == "rules" { 0o755 } else { 0o644 };
        let from = workspace.root().join(DEBIAN).join(name);
        tree::put(&from, &source.join("debian").join(name), mode)?;
    }
    fs::write(source.join("debian/changelog"), changelog(release)?)?;
    let mut command = release.command("dpkg-buildpackage");
    // -d: what it would build with need not be installed for another architecture.
    command
        .args(["--build=binary", "--unsigned-source", "--unsigned-changes", "-d"])
        .args(["--host-arch", arch])
        .current_dir(&source);
    Step::new(&format!("dpkg-buildpackage for {arch}"), workspace.log("dist-deb"))
        .run(&mut command)?;
    let name = format!("tcpstat_{}-1_{arch}.deb", release.version);
    let made = source.with_file_name(&name);
    fs::copy(made, release.folder.join(format!("tcpstat_{}_{arch}.deb", release.version)))?;
    Ok(())
}

/// Debian's changelog, of which only the newest entry is written: the package has CHANGELOG.md too.
fn changelog(release: &Release) -> Result<String> {
    let date = release.date("--rfc-email")?;
    Ok(format!(
        "tcpstat ({}-1) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- tcpstat maintainers \
         <tcpstat@localhost>  {date}\n",
        release.version
    ))
}
