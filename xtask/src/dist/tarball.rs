//! The archive for other systems, and that of the Helm chart.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fs_err::File;

use crate::architecture::Architecture;
use crate::dist::{Release, tree};
use crate::files;
use crate::target::Workspace;

const CHART: &str = "tcpstat-user/assets/packaging/helm";

/// One folder with the tree, and the licences beside it.
pub(super) fn make(
    release: &Release,
    architecture: Architecture,
    files: &Path,
    work: &Path,
) -> Result<()> {
    let name = format!("tcpstat-{}-linux-{}", release.version, architecture.debian());
    let folder = work.join("tar").join(&name);
    files::make_empty(&folder)?;
    for file in files::below(files)? {
        let path = files::relative(files, &file);
        let mode = if path == tree::BINARY { 0o755 } else { 0o644 };
        tree::put(&file, &folder.join(path), mode)?;
    }
    compress(release.tar(&work.join("tar"), &name), &release.folder.join(format!("{name}.tar.gz")))
}

/// The Helm chart, as `helm install` takes it.
pub(super) fn chart(workspace: &Workspace, release: &Release) -> Result<()> {
    let to = release.folder.join(format!("tcpstat-chart-{}.tgz", release.version));
    // Its rules and dashboards are links to those in the binary.
    let mut archive = release.tar(&workspace.root().join(CHART), "tcpstat");
    archive.arg("--dereference");
    compress(archive, &to)
}

/// Writes the output of `archive` to a file, compressed, without the time of compression.
pub(super) fn compress(mut archive: Command, to: &Path) -> Result<()> {
    let mut archiving = archive.stdout(Stdio::piped()).spawn().context("cannot run tar")?;
    let output = archiving.stdout.take().context("tar has no output")?;
    let compressed = Command::new("gzip")
        .args(["--no-name", "-9"])
        .stdin(output)
        .stdout(File::create(to)?.into_parts().0)
        .status()
        .context("cannot run gzip")?;
    ensure!(
        archiving.wait()?.success() && compressed.success(),
        "{}: tar or gzip fails",
        to.display()
    );
    Ok(())
}
