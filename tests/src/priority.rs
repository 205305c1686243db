//! Scheduling priorities.

use anyhow::{Context, Result};
use rustix::process::setpriority_process;
use rustix::thread::gettid;

use crate::binary::tcpstat;

/// For threads that play another machine and must not wait for a processor of this one.
pub const HIGHEST: i32 = -20;

/// For hostile threads that play other machines: they take no processor from the exporter.
pub const LOW: i32 = 10;

/// Sets the nice value of the calling thread, from -20 (highest priority) to 19. Threads and processes that it
/// starts inherit it.
///
/// # Errors
/// Fails without the privilege to raise it.
pub fn set(nice: i32) -> Result<()> {
    // setpriority(2) treats a thread as a process.
    setpriority_process(Some(gettid()), nice).with_context(|| format!("setpriority({nice})"))
}

/// The nice value of the service in `tcpstat print unit`.
///
/// # Errors
/// Fails if the unit has none.
pub fn of_unit() -> Result<i32> {
    let unit = tcpstat(["print", "unit"])?.stdout;
    let nice = unit.lines().find_map(|line| line.strip_prefix("Nice="));
    Ok(nice.context("the unit has no Nice=")?.parse()?)
}
