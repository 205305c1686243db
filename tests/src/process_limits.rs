//! Limits of a process that runs.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::binary::output;

/// The user id of root, as [`set_limit`] takes it.
pub const ROOT: &str = "0";

/// Sets a limit of a running process, in the syntax of prlimit(1), as the `user` who runs it: root may not
/// without `CAP_SYS_RESOURCE`.
///
/// # Errors
/// Fails if prlimit does.
pub fn set_limit(user: &str, pid: u32, limit: &str) -> Result<()> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups", "--", "prlimit"]);
    let run = output(command.arg(format!("--pid={pid}")).arg(limit))?;
    ensure!(run.status == Some(0), "{run:?}");
    Ok(())
}

/// The soft limit of descriptors that leaves no room for another one: the lowest number that is not used.
///
/// # Errors
/// Fails if the process has ended.
pub fn no_room(pid: u32) -> Result<u64> {
    let mut open = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        open.insert(entry?.file_name().to_str().context("a number")?.parse::<u64>()?);
    }
    (1..1024).find(|number| !open.contains(number)).context("no such limit")
}
