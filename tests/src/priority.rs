//! Who goes first on a processor.

use anyhow::{Context, Result};
use rustix::process::setpriority_process;
use rustix::thread::gettid;

use crate::binary::tcpstat;

/// For those who stand for other machines and are waited for: they do not wait for a processor here.
pub const HIGHEST: i32 = -20;

/// For those who stand for other machines and are a nuisance: they take no processor from who needs it.
pub const LOW: i32 = 10;

/// Sets that of the calling thread, which what is started from it inherits: from -20, which goes first, to
/// 19.
///
/// # Errors
/// Fails without the privilege to raise it.
pub fn set(nice: i32) -> Result<()> {
    // To setpriority(2) a thread is a process.
    setpriority_process(Some(gettid()), nice).with_context(|| format!("setpriority({nice})"))
}

/// What `tcpstat print unit` gives the service.
///
/// # Errors
/// Fails when the unit has none.
pub fn of_unit() -> Result<i32> {
    let unit = tcpstat(["print", "unit"])?.stdout;
    let nice = unit.lines().find_map(|line| line.strip_prefix("Nice="));
    Ok(nice.context("the unit has no Nice=")?.parse()?)
}
