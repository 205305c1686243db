//! `bench SOCKETS FOLDER [--short] [--part PART]... [--hosts N] [--engine ENGINE] [--profile PROFILE] [--interval SECONDS]`: the costs of tcpstat with 10, 100, … SOCKETS
//! established sockets, beside tools that list every socket, in a private network namespace. Prints a table in
//! Markdown, and writes it, the raw samples and a plot to FOLDER. Progress goes to standard error.

#![expect(clippy::cast_precision_loss, reason = "figures are far below 2^52")]

mod attack;
mod body;
mod events;
mod fleet;
mod load;
mod many;
mod plot;
mod samples;
mod scope_rows;
mod scopes;
mod sizes;
mod table;
mod transitions;

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident;

use crate::samples::Samples;

/// Limits the sockets in TIME_WAIT: their end would be the only change.
const MAX_TIME_WAITS: u32 = 1_000;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// The largest number of sockets.
    sockets: usize,
    /// Of the part `fleet`.
    fleet: fleet::Choice,
    /// Whether the run only shows that everything works.
    short: bool,
}

type Part = fn(Effort, &mut Samples) -> Result<()>;

const PARTS: [(&str, Part); 10] = [
    ("sizes", sizes::measure),
    ("transitions", transitions::measure),
    ("events", events::measure),
    ("body", body::measure),
    ("starts", scopes::starts),
    ("scopes", scopes::measure),
    ("idle", load::idle),
    ("load", load::busy),
    ("attack", attack::measure),
    ("fleet", fleet::measure),
];

const USAGE: &str = "usage: bench SOCKETS FOLDER [--short] [--part PART]... [--hosts N] [--engine ENGINE] [--profile PROFILE] [--interval SECONDS]";

fn main() -> Result<ExitCode> {
    if resident::is_asked_for() {
        return Ok(resident::obey());
    }
    let mut arguments = env::args().skip(1);
    let sockets = arguments.next().context(USAGE)?;
    let sockets: usize = sockets.parse().with_context(|| format!("SOCKETS is {sockets:?}"))?;
    let folder = arguments.next().context(USAGE)?;
    let mut effort = Effort { sockets, fleet: fleet::Choice::default(), short: false };
    let mut chosen = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--short" => effort.short = true,
            "--hosts" => {
                let hosts = arguments.next().context(USAGE)?;
                effort.fleet.hosts = Some(hosts.parse().context("--hosts")?);
            }
            "--engine" => effort.fleet.choose_engine(&arguments.next().context(USAGE)?)?,
            "--profile" => effort.fleet.choose_profile(&arguments.next().context(USAGE)?)?,
            "--interval" => {
                let seconds = arguments.next().context(USAGE)?;
                effort.fleet.interval = Some(seconds.parse().context("--interval")?);
            }
            "--part" => chosen.push(part(&arguments.next().context(USAGE)?)?),
            _ => bail!(USAGE),
        }
    }
    if chosen.is_empty() {
        chosen = PARTS.map(|(_, measure)| measure).to_vec();
    }
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;

    let namespace = Namespace::enter()?;
    namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", MAX_TIME_WAITS)?;
    let mut samples = Samples::new(folder);
    let raw = folder.join("samples.csv");
    for measure in chosen {
        measure(effort, &mut samples)?;
        // An interruption does not lose what is measured.
        fs::write(&raw, samples.csv()).with_context(|| raw.display().to_string())?;
    }

    let table = table::table(&samples, sockets)?;
    println!("{table}");
    for (name, text) in [("table.md", table), ("scrapes.svg", plot::plot(&samples))] {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        eprintln!("written: {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn part(name: &str) -> Result<Part> {
    let known = PARTS.map(|(name, _)| name).join(", ");
    let found = PARTS.into_iter().find(|(of, _)| *of == name);
    found.map(|(_, measure)| measure).with_context(|| format!("--part {name}: there are {known}"))
}
