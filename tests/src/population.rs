//! More sockets than one process can hold.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Established connections in the network namespace of the calling thread, held by other
/// processes. Dropping it ends them.
#[derive(Debug)]
pub struct Population {
    process: Child,
}

impl Population {
    /// Starts `program` (`populate`) and waits until `sockets` are held.
    ///
    /// # Errors
    /// Fails when it cannot be started, or ends before it is ready.
    pub fn hold(program: &Path, sockets: usize) -> Result<Self> {
        let process = Command::new(program)
            .arg(sockets.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut population = Self { process };
        let stdout = population.process.stdout.take().context("populate has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line == "ready\n", "{} ended early", program.display());
        Ok(population)
    }
}

impl Drop for Population {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Its exit status does not matter.
        let _ = self.process.wait();
    }
}
