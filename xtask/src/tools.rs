//! What the tests need beside the BPF toolchain: Prometheus, Alertmanager, a node exporter and VictoriaMetrics, a browser,
//! `ip`, containers, a terminal, the shells that have completions, schemas, helm and kubectl.
//!
//! The first four are never installed, as Debian's packages start services: they are taken from PATH, else
//! unpacked below the target directory. The others are installed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::process::{self, Step};
use crate::target::Workspace;
use crate::{apt, charts, files};

/// The tools of the tests.
#[derive(Debug)]
pub(crate) struct Tools {
    /// Where each is, by the variable that the tests read.
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
    /// The exporter that the compatible metrics are compared with.
    pub(crate) node_exporter: PathBuf,
}

/// A program: the variable that the tests read, and the names it goes by: upstream's first, then Debian's.
type Program = (&'static str, &'static [&'static str]);

const SERVICES: [Program; 6] = [
    ("TCPSTAT_PROMTOOL", &["promtool"]),
    ("TCPSTAT_PROMETHEUS", &["prometheus"]),
    ("TCPSTAT_ALERTMANAGER", &["alertmanager", "prometheus-alertmanager"]),
    ("TCPSTAT_NODE_EXPORTER", &["node_exporter", "prometheus-node-exporter"]),
    ("TCPSTAT_VICTORIA_METRICS", &["victoria-metrics-prod", "victoria-metrics"]),
    ("TCPSTAT_VMALERT", &["vmalert-prod", "vmalert"]),
];

const PACKAGES: [&str; 4] =
    ["prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "victoria-metrics"];

/// Below the target directory: the root of what is unpacked.
const UNPACKED: &str = "xtask/tools";

const BROWSER: [Program; 2] =
    [("TCPSTAT_CHROMIUM", &["chromium"]), ("TCPSTAT_CHROMEDRIVER", &["chromedriver"])];

/// libFuzzer is compiled.
pub(crate) const COMPILER: (&str, &str) = ("c++", "g++");

/// Programs that are taken from PATH, and the packages that have them.
const INSTALLED: [(&str, &str); 13] = [
    COMPILER,
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("openssl", "openssl"),
    ("runc", "runc"),
    ("tmux", "tmux"),
    ("script", "bsdutils"),
    ("readelf", "binutils"),
    ("rpm", "rpm"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
    ("zsh", "zsh"),
    ("fish", "fish"),
];

/// Finds the tools, or downloads what is missing.
pub(crate) fn provide(workspace: &Workspace) -> Result<Tools> {
    let services = if let Some(found) = find(workspace, SERVICES) {
        found
    } else {
        if !apt::is_here() {
            let names = SERVICES.map(|(_, names)| names[0]).join(", ");
            bail!("not all of {names} are here, and no apt-get: put them on PATH");
        }
        apt::unpack(workspace, &PACKAGES, &workspace.target().join(UNPACKED))?;
        find(workspace, SERVICES)
            .context("the packages are unpacked, but their programs do not run")?
    };
    install_missing(workspace, &INSTALLED)?;
    let python = schemas(workspace)?;
    let charts = charts::provide(workspace, &python)?;
    let schemas = ("TCPSTAT_SCHEMAS_PYTHON", python);
    let browser = if let Some(found) = find(workspace, BROWSER) {
        found
    } else {
        let packages = ["chromium", "chromium-driver"];
        apt::install(workspace, "chromium or no chromedriver", &packages, "")?;
        find(workspace, BROWSER).context("Chromium and its driver are installed, but do not run")?
    };
    let shown = services.iter().zip(SERVICES).map(|(tool, (_, names))| {
        format!("{} {} ({})", names[0], tool.version, workspace.shown(&tool.path))
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let installed = INSTALLED.map(|(program, _)| program).join(", ");
    println!("test tools: {shown}, chromium {}, {installed}", browser[0].version);
    let node_exporter = services[3].path.clone();
    let found = services.into_iter().chain(browser).map(|tool| (tool.variable, tool.path));
    Ok(Tools { variables: found.chain([schemas]).chain(charts).collect(), node_exporter })
}

/// Installs the packages of those `programs` that are not on PATH.
pub(crate) fn install_missing(workspace: &Workspace, programs: &[(&str, &str)]) -> Result<()> {
    let missing = programs.iter().filter(|(program, _)| process::on_path(program).is_none());
    let (programs, packages): (Vec<_>, Vec<_>) = missing.copied().unzip();
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(workspace, &programs.join(", "), &packages, "")
}

/// A program that runs.
struct Tool {
    variable: &'static str,
    path: PathBuf,
    version: String,
}

/// All of `programs`, in their order, if none is missing.
fn find<const N: usize>(workspace: &Workspace, programs: [Program; N]) -> Option<[Tool; N]> {
    let unpacked = workspace.target().join(UNPACKED).join("usr/bin");
    let first_that_runs = |(variable, names): Program| {
        let on_path = names.iter().filter_map(|name| process::on_path(name));
        let here = names.iter().map(|name| unpacked.join(name));
        on_path.chain(here).find_map(|path| {
            let text = process::probe(Command::new(&path).arg("--version"))?;
            // Such as `promtool, version 2.42.0+ds (branch: debian/sid)`. Debian's VictoriaMetrics does not say it.
            let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
            let version = text.split_whitespace().find(is_number).unwrap_or("?").to_owned();
            Some(Tool { variable, path, version })
        })
    };
    programs.into_iter().map(first_that_runs).collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// The interpreter of a virtual environment of Python with the schemas of Kubernetes, of Grafana's dashboards, and of
/// compose files. It is made again when `tests/schemas/requirements.txt` is not what it was made with.
fn schemas(workspace: &Workspace) -> Result<PathBuf> {
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
        apt::install(workspace, "python3 with venv", &["python3-venv"], "")?;
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
