//! A server that is not tcpstat, run in a folder of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::deadline::{DEADLINE, Progress, poll};
use crate::scraper::{Response, Scraper};

/// Pause between two requests that ask for the same.
pub const REQUEST_INTERVAL: Duration = Duration::from_millis(100);

const LOG: &str = "log";

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Server {
    /// Starts `program` in the network namespace of the calling thread, in a fresh folder that has
    /// `files` (names and texts), and waits until `/-/ready` answers 200 at `address`.
    ///
    /// # Errors
    /// Fails, with its log, when it ends or is not ready within [`DEADLINE`].
    pub fn start(
        program: &Path,
        args: &[&str],
        files: &[(&str, &str)],
        address: SocketAddr,
    ) -> Result<Self> {
        let folder = TempDir::new()?;
        for (name, text) in files {
            fs::write(folder.path().join(name), text)?;
        }
        let log = File::create(folder.path().join(LOG))?;
        let child = Command::new(program)
            .args(args)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut server = Self { child, folder, address };
        server.await_ready().with_context(|| server.log())?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the text of one of its files, and has it read its configuration again.
    ///
    /// # Errors
    /// Fails if it has ended.
    pub fn reload(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.folder.path().join(name), text)?;
        let pid = Pid::from_raw(self.child.id().try_into()?);
        Ok(kill(pid, Signal::SIGHUP)?)
    }

    /// The folder that it runs in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `GET path`, over a connection of its own.
    ///
    /// # Errors
    /// As [`Scraper::get`].
    pub fn get(&self, path: &str) -> Result<Response> {
        Scraper::connect(self.address)?.get(path)
    }

    /// What it has written to its standard output and standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
    }

    fn await_ready(&mut self) -> Result<()> {
        poll("200 from /-/ready", DEADLINE, REQUEST_INTERVAL, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            Ok(match self.get("/-/ready") {
                Ok(response) if response.status == 200 => Progress::Done(()),
                other => Progress::NotYet(format!("{other:?}")),
            })
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
