//! The schemas of Kubernetes and of Grafana's dashboards, in a virtual environment of Python under the
//! target directory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::process::{self, Step};
use crate::target::Workspace;

/// The environment's interpreter. It is made anew when `tests/schemas/requirements.txt` is not what it
/// was made with.
pub(crate) fn provide(workspace: &Workspace) -> Result<PathBuf> {
    let requirements = workspace.root().join("tests/schemas/requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let environment = workspace.schemas();
    let python = environment.join("bin/python");
    let made_with = environment.join("requirements.txt");
    if fs::read_to_string(&made_with).is_ok_and(|text| text == wanted) && runs(&python) {
        return Ok(python);
    }
    if environment.exists() {
        fs::remove_dir_all(&environment)
            .with_context(|| format!("cannot remove {}", environment.display()))?;
    }
    if !has_venv() {
        match Apt::find(workspace) {
            Some(apt) => apt.install(&["python3-venv"], "")?,
            None => bail!("no python3 with venv, and no apt-get: install both"),
        }
    }
    let step = |title| Step::new(title, workspace.log("schemas"));
    step("python3 -m venv").run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    step("schemas of Kubernetes and Grafana").run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "-r"])
            .arg(&requirements),
    )?;
    fs::write(&made_with, wanted)
        .with_context(|| format!("cannot write {}", made_with.display()))?;
    Ok(python)
}

fn runs(python: &PathBuf) -> bool {
    process::probe(Command::new(python).arg("--version")).is_some()
}

/// Debian has the module in a package apart, without which a new environment has no pip.
fn has_venv() -> bool {
    process::probe(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_some()
}
