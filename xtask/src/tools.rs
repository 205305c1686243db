//! What the tests need beside the BPF toolchain: Prometheus and its kin, `ip`, a terminal, the shells that
//! have completions, schemas, and Chromium.
//!
//! Prometheus, Alertmanager and `node_exporter` are never installed, as Debian's packages start
//! services: they are taken from PATH, else unpacked below the target directory. The others are
//! installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::chromium::{self, Chromium};
use crate::process;
use crate::schemas;
use crate::target::Workspace;

/// The tools of the tests, by absolute path.
#[derive(Debug)]
pub(crate) struct Tools {
    /// Checks the text of a scrape, and rules.
    pub(crate) promtool: PathBuf,
    /// What scrapes, and evaluates rules.
    pub(crate) prometheus: PathBuf,
    /// What sends alerts on.
    pub(crate) alertmanager: PathBuf,
    /// The exporter that the compatible metrics are compared with.
    pub(crate) node_exporter: PathBuf,
    /// A Python that has the schemas of Kubernetes and Grafana.
    pub(crate) schemas_python: PathBuf,
    /// The browser that the page is opened in.
    pub(crate) chromium: Chromium,
}

/// Each program by the names it goes by: upstream's first, then Debian's.
const PROGRAMS: [&[&str]; 4] = [
    &["promtool"],
    &["prometheus"],
    &["alertmanager", "prometheus-alertmanager"],
    &["node_exporter", "prometheus-node-exporter"],
];

const PACKAGES: [&str; 3] = ["prometheus", "prometheus-alertmanager", "prometheus-node-exporter"];

/// Programs that are taken from PATH, and the packages that have them.
const INSTALLED: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("tmux", "tmux"),
    ("script", "bsdutils"),
    ("zsh", "zsh"),
    ("fish", "fish"),
];

/// Finds the tools, or downloads what is missing.
pub(crate) fn provide(workspace: &Workspace) -> Result<Tools> {
    let found = find(workspace);
    let found = if let Some(found) = found {
        found
    } else {
        download(workspace)?;
        find(workspace).context("the packages are unpacked, but their programs do not run")?
    };
    install_missing(workspace)?;
    let schemas_python = schemas::provide(workspace)?;
    let chromium = chromium::provide(workspace)?;
    let shown = found.iter().zip(PROGRAMS).map(|(tool, names)| {
        format!("{} {} ({})", names[0], tool.version, workspace.shown(&tool.path))
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let installed = INSTALLED.map(|(program, _)| program).join(", ");
    println!("test tools: {shown}, chromium {}, {installed}", chromium.version);
    let [promtool, prometheus, alertmanager, node_exporter] = found.map(|tool| tool.path);
    Ok(Tools { promtool, prometheus, alertmanager, node_exporter, schemas_python, chromium })
}

/// A program that runs.
struct Tool {
    path: PathBuf,
    version: String,
}

/// All of [`PROGRAMS`], in their order, if none is missing.
fn find(workspace: &Workspace) -> Option<[Tool; PROGRAMS.len()]> {
    let unpacked = workspace.tools().join("usr/bin");
    let found: Option<Vec<_>> =
        PROGRAMS.into_iter().map(|names| first_that_runs(names, &unpacked)).collect();
    found?.try_into().ok()
}

fn first_that_runs(names: &[&str], unpacked: &Path) -> Option<Tool> {
    let on_path = names.iter().filter_map(|name| process::on_path(name));
    let here = names.iter().map(|name| unpacked.join(name));
    on_path.chain(here).find_map(|path| {
        let version = version(&process::probe(Command::new(&path).arg("--version"))?)?;
        Some(Tool { path, version })
    })
}

/// The third word of `promtool, version 2.42.0+ds (branch: ...)`.
fn version(text: &str) -> Option<String> {
    let mut words = text.split_whitespace().skip_while(|word| *word != "version");
    words.nth(1).map(str::to_owned)
}

fn download(workspace: &Workspace) -> Result<()> {
    let Some(apt) = Apt::find(workspace) else {
        let names = PROGRAMS.map(|names| names[0]).join(", ");
        bail!("not all of {names} are here, and no apt-get: put them on PATH");
    };
    let debs = workspace.debs();
    apt.download(&PACKAGES, &debs)?;
    for deb in fs::read_dir(&debs).with_context(|| format!("cannot list {}", debs.display()))? {
        let deb = deb.with_context(|| format!("cannot list {}", debs.display()))?.path();
        if deb.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        process::probe(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(workspace.tools()))
            .with_context(|| format!("dpkg-deb cannot unpack {}", deb.display()))?;
        fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))?;
    }
    Ok(())
}

fn install_missing(workspace: &Workspace) -> Result<()> {
    let missing = INSTALLED.iter().filter(|(program, _)| process::on_path(program).is_none());
    let packages: Vec<_> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    match Apt::find(workspace) {
        Some(apt) => apt.install(&packages, ""),
        None => bail!("no apt-get: install {}", packages.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_follows_its_word() {
        let text = "promtool, version 2.42.0+ds (branch: debian/sid, revision: 2.42.0+ds-5)\n";
        assert_eq!(version(text).as_deref(), Some("2.42.0+ds"));
        assert_eq!(version("something else"), None);
    }
}
