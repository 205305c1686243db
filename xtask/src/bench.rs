//! What tcpstat costs, measured beside the tools that list every socket.

use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use crate::process::{self, Step};
use crate::target::Workspace;
use crate::tools::{self, Tools};
use crate::{apt, cargo, object};

/// The part that is not the benchmark's own: instructions, counted by callgrind. They are the same on every
/// run, however busy the machine is.
const INSTRUCTIONS: &str = "instructions";

/// Parts of `benches/instructions.rs`, one unit of their work, and the units of one call.
const INSTRUCTION_PARTS: [(&str, &str, u64); 7] = [
    ("parse", "a row of /proc/net/tcp, read and parsed", 1_000),
    ("rewind-tuple", "that row rewound", 1_000),
    ("rewind-address", "a row of the iterator rewound", 1_000),
    ("ledger", "the gauges of a scrape", 1),
    ("classic", "a scrape in Prometheus' text format", 1),
    ("openmetrics", "a scrape in OpenMetrics", 1),
    ("scopes", "a scrape with 300 scopes", 1),
];

/// Times of a part, few and many: the difference leaves the start of the program out.
const FEW_TIMES: u64 = 2;
const MANY_TIMES: u64 = 12;

/// Sockets of the run that only shows that all of it runs.
const FEW_SOCKETS: usize = 1_000;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The most sockets
    #[arg(long, default_value_t = 1_000_000)]
    sockets: usize,
    /// Only that part: sizes, transitions, events, body, starts, scopes, idle, load, attack, fleet, or instructions (repeatable)
    #[arg(long, value_name = "PART")]
    part: Vec<String>,
    /// Hosts of the fleet, in place of 10, 100 and 1,000
    #[arg(long, value_name = "N")]
    hosts: Option<u64>,
    /// Of what scrapes the fleet only that: one, remote-write, victoria-metrics, or shards
    #[arg(long)]
    engine: Option<String>,
    /// Of the metrics of the fleet only that profile: minimal, standard, or scopes
    #[arg(long)]
    profile: Option<String>,
    /// Between two scrapes of a host of the fleet, in place of 5 with fewer than 1,000 hosts, and of 60
    #[arg(long, value_name = "SECONDS")]
    interval: Option<NonZeroU64>,
}

/// Builds, and measures; results are in target/bench.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let Options { sockets, part: parts, hosts, engine, profile, interval } = options;
    let sockets = *sockets;
    ensure!(sockets >= 10 && sockets.is_multiple_of(2), "--sockets {sockets}: even, 10 or more");
    let tools = tools::provide(workspace)?;
    object::build(workspace)?;
    let folder = workspace.target().join("bench");
    build(workspace)?;
    let others: Vec<_> = parts.iter().filter(|part| *part != INSTRUCTIONS).collect();
    if parts.is_empty() || !others.is_empty() {
        let hosts = hosts.map(|hosts| hosts.to_string());
        let interval = interval.map(|seconds| seconds.to_string());
        let of_fleet = [
            ("--hosts", &hosts),
            ("--engine", engine),
            ("--profile", profile),
            ("--interval", &interval),
        ];
        let of_fleet =
            of_fleet.into_iter().filter_map(|(name, value)| Some([name, value.as_ref()?]));
        let status = command(workspace, &tools, sockets, &folder)?
            .args(others.into_iter().flat_map(|part| ["--part", part]))
            .args(of_fleet.flatten())
            .stdin(Stdio::null())
            .status()
            .context("cannot run the benchmark")?;
        ensure!(status.success(), "the benchmark failed ({status})");
    }
    if parts.is_empty() || parts.iter().any(|part| part == INSTRUCTIONS) {
        let table = instructions(workspace)?;
        println!("{table}");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("instructions.md"), table)?;
    }
    Ok(())
}

/// Runs all of it, small and short, with a binary that is built; its figures mean nothing.
pub(crate) fn smoke(workspace: &Workspace, tools: &Tools) -> Result<()> {
    if !apt::can_be_root() {
        println!("benchmark: left out, it needs root");
        return Ok(());
    }
    build(workspace)?;
    let folder = workspace.target().join("bench/smoke");
    let mut command = command(workspace, tools, FEW_SOCKETS, &folder)?;
    Step::new("benchmark, short", workspace.log("bench")).run(command.arg("--short"))?;
    let mut parts = object::host_cargo(workspace);
    // Each part once, in the profile of the tests.
    parts.args(["test", "--locked", "--package", "tcpstat-user"]);
    parts.args(["--bench", "parts", "--bench", "instructions"]);
    Step::new("benchmark of the parts, short", workspace.log("bench-parts")).run(&mut parts)
}

fn build(workspace: &Workspace) -> Result<()> {
    let mut command = object::host_cargo(workspace);
    command.args(["build", "--locked", "--package", "tcpstat-tests", "--bins"]);
    Step::new("building the benchmark", workspace.log("build-bench")).run(&mut command)
}

/// It makes a network namespace, which takes root.
fn command(workspace: &Workspace, tools: &Tools, sockets: usize, folder: &Path) -> Result<Command> {
    ensure!(apt::can_be_root(), "the benchmark needs root, for a network namespace of its own");
    let program = workspace.target().join("debug/bench");
    let mut command =
        Command::new(if apt::is_root() { program.as_os_str() } else { "sudo".as_ref() });
    if !apt::is_root() {
        command.arg("-E").arg(program);
    }
    cargo::forget_caller(&mut command);
    command
        .arg(sockets.to_string())
        .arg(folder)
        .env("TCPSTAT_BIN", workspace.binary())
        .envs(tools.variables.iter().cloned());
    Ok(command)
}

/// The instructions of the parts of a snapshot and of a scrape, as a table in Markdown. Installs valgrind where
/// it is missing.
fn instructions(workspace: &Workspace) -> Result<String> {
    if process::on_path("valgrind").is_none() {
        apt::install(workspace, "valgrind", &["valgrind"], "")?;
    }
    let mut table = "| part | instructions |\n| --- | ---: |\n".to_owned();
    for (part, what, units) in INSTRUCTION_PARTS {
        let few = count(workspace, part, FEW_TIMES)?;
        let many = count(workspace, part, MANY_TIMES)?;
        let each = many.saturating_sub(few) / ((MANY_TIMES - FEW_TIMES) * units);
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| {what} | {each} |");
    }
    Ok(table)
}

fn count(workspace: &Workspace, part: &str, times: u64) -> Result<u64> {
    let mut command = object::host_cargo(workspace);
    command
        .args(["bench", "--locked", "--package", "tcpstat-user", "--bench", "instructions"])
        .args(cargo::runner("valgrind --tool=callgrind --callgrind-out-file=/dev/null"))
        .args(["--", part, &times.to_string()]);
    let output = command.output().context("cannot run cargo bench")?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("cargo bench under callgrind: {}\n{log}", output.status);
    }
    // Such as `==12== Collected : 123456`.
    let number = log.lines().find_map(|line| line.split_once("Collected : "));
    number
        .and_then(|(_, number)| number.trim().parse().ok())
        .with_context(|| format!("callgrind shows no number for {part}: {log}"))
}
