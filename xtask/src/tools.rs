//! What the tests need beside the BPF toolchain: Prometheus and its kin, a browser, `ip`, a terminal, the
//! shells that have completions, and schemas.
//!
//! Prometheus, Alertmanager and `node_exporter` are never installed, as Debian's packages start
//! services: they are taken from PATH, else unpacked below the target directory. The others are
//! installed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::{self, Apt};
use crate::process;
use crate::schemas;
use crate::target::Workspace;

/// The tools of the tests.
#[derive(Debug)]
pub(crate) struct Tools {
    /// Where each is, by the variable that tells the tests.
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
    /// The exporter that the compatible metrics are compared with.
    pub(crate) node_exporter: PathBuf,
}

/// A program: the variable that tells the tests where it is, and the names it goes by: upstream's first, then
/// Debian's.
type Program = (&'static str, &'static [&'static str]);

const SERVICES: [Program; 4] = [
    ("TCPSTAT_PROMTOOL", &["promtool"]),
    ("TCPSTAT_PROMETHEUS", &["prometheus"]),
    ("TCPSTAT_ALERTMANAGER", &["alertmanager", "prometheus-alertmanager"]),
    (NODE_EXPORTER, &["node_exporter", "prometheus-node-exporter"]),
];

/// Also told to the benchmark.
pub(crate) const NODE_EXPORTER: &str = "TCPSTAT_NODE_EXPORTER";

const PACKAGES: [&str; 3] = ["prometheus", "prometheus-alertmanager", "prometheus-node-exporter"];

/// Below the target directory: the root of what is unpacked.
const UNPACKED: &str = "xtask/tools";

const BROWSER: [Program; 2] =
    [("TCPSTAT_CHROMIUM", &["chromium"]), ("TCPSTAT_CHROMEDRIVER", &["chromedriver"])];

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
    let services = if let Some(found) = find(workspace, SERVICES) {
        found
    } else {
        download(workspace)?;
        find(workspace, SERVICES)
            .context("the packages are unpacked, but their programs do not run")?
    };
    install_missing(workspace)?;
    let schemas_python = schemas::provide(workspace)?;
    let browser = if let Some(found) = find(workspace, BROWSER) {
        found
    } else {
        apt::install(workspace, "chromium or no chromedriver", &["chromium", "chromium-driver"])?;
        find(workspace, BROWSER).context("Chromium and its driver are installed, but do not run")?
    };
    let shown = services.iter().zip(SERVICES).map(|(tool, (_, names))| {
        format!("{} {} ({})", names[0], tool.version, workspace.shown(&tool.path))
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let installed = INSTALLED.map(|(program, _)| program).join(", ");
    println!("test tools: {shown}, chromium {}, {installed}", browser[0].version);
    let node_exporter = services[3].path.clone();
    let programs = SERVICES.into_iter().chain(BROWSER).map(|(variable, _)| variable);
    let paths = services.into_iter().chain(browser).map(|tool| tool.path);
    let mut variables: Vec<_> = programs.zip(paths).collect();
    variables.push(("TCPSTAT_SCHEMAS_PYTHON", schemas_python));
    Ok(Tools { variables, node_exporter })
}

/// A program that runs.
struct Tool {
    path: PathBuf,
    version: String,
}

/// All of `programs`, in their order, if none is missing.
fn find<const N: usize>(workspace: &Workspace, programs: [Program; N]) -> Option<[Tool; N]> {
    let unpacked = workspace.target().join(UNPACKED).join("usr/bin");
    let first_that_runs = |(_, names): Program| {
        let on_path = names.iter().filter_map(|name| process::on_path(name));
        let here = names.iter().map(|name| unpacked.join(name));
        on_path.chain(here).find_map(|path| {
            let said = process::probe(Command::new(&path).arg("--version"))?;
            Some(Tool { path, version: version(&said)?.to_owned() })
        })
    };
    programs.into_iter().map(first_that_runs).collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// The first word that begins with a digit.
fn version(text: &str) -> Option<&str> {
    text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
}

fn download(workspace: &Workspace) -> Result<()> {
    let Some(apt) = Apt::find(workspace) else {
        let names = SERVICES.map(|(_, names)| names[0]).join(", ");
        bail!("not all of {names} are here, and no apt-get: put them on PATH");
    };
    let debs = workspace.target().join("xtask/debs");
    apt.download(&PACKAGES, &debs)?;
    apt::unpack(&debs, &workspace.target().join(UNPACKED))
}

fn install_missing(workspace: &Workspace) -> Result<()> {
    let missing = INSTALLED.iter().filter(|(program, _)| process::on_path(program).is_none());
    let (programs, packages): (Vec<_>, Vec<_>) = missing.copied().unzip();
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(workspace, &programs.join(", "), &packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_first_number() {
        for (text, expected) in [
            ("promtool, version 2.42.0+ds (branch: debian/sid, revision: 2)\n", Some("2.42.0+ds")),
            ("Chromium 156.0.8078.79 built on Debian GNU/Linux 12\n", Some("156.0.8078.79")),
            ("something else", None),
        ] {
            assert_eq!(version(text), expected);
        }
    }
}
