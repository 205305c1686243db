//! A test as process 1 of a PID namespace.

use std::env;
use std::process::{self, Command};

use anyhow::{Context, Result, bail, ensure};

/// Runs `test` in another run of this test, as process 1 of a PID namespace that is `depth` levels below that of this process
/// and has its own /proc. That run comes here too.
///
/// # Errors
/// Fails if that run does.
pub fn as_process_1(depth: usize, test: impl FnOnce() -> Result<()>) -> Result<()> {
    if process::id() == 1 {
        return test();
    }
    let all = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"].repeat(depth);
    let [first, rest @ ..] = &all[..] else { bail!("no PID namespace") };
    let mut command = Command::new(first);
    command.args(rest).arg(env::current_exe()?);
    let status = command.status().context("start unshare (util-linux)")?;
    ensure!(status.success(), "the test in a PID namespace: {status}");
    Ok(())
}
