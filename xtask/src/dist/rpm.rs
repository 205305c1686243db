//! The RPM package, made by rpmbuild from tcpstat-user/assets/packaging/rpm.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use crate::architecture::Architecture;
use crate::dist::Release;
use crate::files;
use crate::process::Step;
use crate::target::Workspace;

const SPEC: &str = "tcpstat-user/assets/packaging/rpm/tcpstat.spec";

pub(super) fn make(
    workspace: &Workspace,
    release: &Release,
    architecture: Architecture,
    tree: &Path,
    work: &Path,
) -> Result<()> {
    let name = architecture.name();
    let top = work.join(format!("rpm-{name}"));
    files::make_empty(&top)?;
    let mut command = release.command("rpmbuild");
    command.args(["-bb", "--target", &format!("{name}-linux")]);
    let define = |name: &str, value: &str| ["--define".to_owned(), format!("{name} {value}")];
    command
        .args(define("_topdir", &top.display().to_string()))
        .args(define("tree", &tree.display().to_string()))
        .args(define("release_version", &release.version))
        // The same bytes on any machine, at any time.
        .args(define("_buildhost", "reproducible"))
        .args(define("use_source_date_epoch_as_buildtime", "1"))
        .args(define("clamp_mtime_to_source_date_epoch", "1"))
        .args(define("build_mtime_policy", "clamp_to_source_date_epoch"))
        .args(define("_binary_payload", "w9.gzdio"))
        .arg(workspace.root().join(SPEC));
    Step::new(&format!("rpmbuild for {name}"), workspace.log("dist-rpm")).run(&mut command)?;
    let file = format!("tcpstat-{}-1.{name}.rpm", release.version);
    fs::copy(top.join("RPMS").join(name).join(&file), release.folder.join(&file))?;
    Ok(())
}
