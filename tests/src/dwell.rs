//! How long sockets are in the states of `--dwell`: what the metrics say, and what the test's own clock says.

use anyhow::{Context, Result};

use crate::bpf_objects::infos;
use crate::exporter::Exporter;
use crate::exposition::Scrape;
use crate::histogram::Histogram;

/// A dwell is rounded down to microseconds, and the sum is shown with as many digits: seconds.
pub const ROUNDING: f64 = 2e-6;

/// `tcpstat_dwell_seconds` of one state.
///
/// # Errors
/// As [`Histogram::of`].
pub fn dwells(scrape: &Scrape, state: &str) -> Result<Histogram> {
    Histogram::of(scrape, "tcpstat_dwell_seconds", &[("state", state)])
}

/// Waits until so many sockets have left the state since `earlier`.
///
/// # Errors
/// As [`Histogram::await_since`].
pub fn await_dwells(
    exporter: &mut Exporter,
    state: &str,
    earlier: &Histogram,
    sockets: u64,
) -> Result<Histogram> {
    Histogram::await_since(exporter, |scrape| dwells(scrape, state), earlier, sockets)
}

/// `tcpstat_dwell_overflow_total`.
///
/// # Errors
/// Fails if it is missing.
pub fn overflow(scrape: &Scrape) -> Result<u64> {
    scrape.count("tcpstat_dwell_overflow_total", &[])
}

/// How many entries were removed, by the exporter's log at level debug.
///
/// # Errors
/// Fails if the log has another form.
pub fn removed(log: &str) -> Result<u64> {
    let lines = log.lines().filter(|line| line.contains("removed dwells of sockets"));
    let numbers = lines.map(|line| {
        let (_, rest) = line.split_once("removed=").context("no number")?;
        Ok(rest.split_whitespace().next().context("no number")?.parse::<u64>()?)
    });
    Ok(numbers.collect::<Result<Vec<_>>>()?.into_iter().sum())
}

/// The numbers of entries of the hash maps that a process has.
///
/// # Errors
/// Fails if its descriptors cannot be read.
pub fn hash_map_entries(pid: u32) -> Result<Vec<u64>> {
    /// `BPF_MAP_TYPE_HASH`
    const HASH: u64 = 1;
    let mut sizes = Vec::new();
    for text in infos(pid)? {
        let number = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
        };
        if number("map_type:") == Some(HASH) {
            sizes.push(number("max_entries:").context("no max_entries")?);
        }
    }
    Ok(sizes)
}
