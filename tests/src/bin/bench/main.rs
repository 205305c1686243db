//! `bench SOCKETS FOLDER [--short]`: what tcpstat costs with 10, 100, … SOCKETS established sockets,
//! beside the tools that list them, in a network namespace of its own. Prints a table in Markdown,
//! and writes it, the raw samples and a plot to FOLDER. Progress goes to standard error.

#![expect(clippy::cast_precision_loss, reason = "figures are far below 2^52")]

mod load;
mod plot;
mod samples;
mod sizes;
mod table;
mod transitions;

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use tcpstat_tests::netns::Namespace;

use crate::samples::Samples;

/// What is left in TIME_WAIT at most: it would be all that moves.
const MOST_TIME_WAITS: u32 = 1_000;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// The most sockets.
    sockets: usize,
    /// Whether it is only to be seen that all runs.
    short: bool,
}

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let (sockets, folder, short) = match arguments.as_slice() {
        [sockets, folder] => (sockets, folder, false),
        [sockets, folder, short] if short == "--short" => (sockets, folder, true),
        _ => bail!("usage: bench SOCKETS FOLDER [--short]"),
    };
    let sockets: usize = sockets.parse().with_context(|| format!("SOCKETS is {sockets:?}"))?;
    let effort = Effort { sockets, short };
    let folder = Path::new(folder);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;

    let namespace = Namespace::enter()?;
    namespace.set_sysctl("net.ipv4.tcp_max_tw_buckets", MOST_TIME_WAITS)?;
    let mut samples = Samples::default();
    let raw = folder.join("samples.csv");
    for measure in [sizes::measure, transitions::measure, load::measure] {
        measure(effort, &mut samples)?;
        // What is measured stays when the rest is interrupted.
        fs::write(&raw, samples.csv()).with_context(|| raw.display().to_string())?;
    }

    let table = table::table(&samples, sockets)?;
    println!("{table}");
    for (name, text) in [("table.md", table), ("scrapes.svg", plot::plot(&samples))] {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        eprintln!("written: {}", file.display());
    }
    Ok(())
}
