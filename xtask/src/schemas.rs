//! The schemas of Kubernetes and of Grafana's dashboards, in a virtual environment of Python under the
//! target directory.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use fs_err as fs;

use crate::process::{self, Step};
use crate::target::Workspace;
use crate::{apt, files};

/// The environment's interpreter. It is made again when `tests/schemas/requirements.txt` is not what it
/// was made with.
pub(crate) fn provide(workspace: &Workspace) -> Result<PathBuf> {
    let requirements = workspace.root().join("tests/schemas/requirements.txt");
    let wanted = fs::read_to_string(&requirements)?;
    let environment = workspace.target().join("xtask/schemas");
    let python = environment.join("bin/python");
    let made_with = environment.join("requirements.txt");
    let runs = || process::probe(Command::new(&python).arg("--version")).is_some();
    if fs::read_to_string(&made_with).is_ok_and(|text| text == wanted) && runs() {
        return Ok(python);
    }
    files::remove(&environment)?;
    // Debian has the module in a package apart, without which a new environment has no pip.
    if process::probe(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_none() {
        apt::install(workspace, "python3 with venv", &["python3-venv"])?;
    }
    let step = |title| Step::new(title, workspace.log("schemas"));
    step("python3 -m venv").run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    step("schemas of Kubernetes and Grafana").run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "-r"])
            .arg(&requirements),
    )?;
    fs::write(&made_with, wanted)?;
    Ok(python)
}
