//! The memory of a process.

use std::fs;

use anyhow::{Context, Result};

/// Bytes of the process that are resident: `VmRSS`.
///
/// # Errors
/// Fails if the process has ended, or if its status has no such line.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
