//! Debian's node_exporter, running in the network namespace of the calling thread.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::binary::path_from;
use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::scraper::Scraper;

/// node_exporter with one collector, on its own port of the namespace. Dropping it kills it.
#[derive(Debug)]
pub struct NodeExporter {
    child: Child,
    /// The one connection to it.
    pub scraper: Scraper,
}

impl NodeExporter {
    /// Starts it with the collectors that `args` turn on only, and waits until it listens.
    ///
    /// # Errors
    /// Fails if there is no such program, and if it does not listen within [`DEADLINE`].
    pub fn start<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<Self> {
        let address: SocketAddr = "127.0.0.1:9100".parse()?;
        let child = Command::new(path_from("TCPSTAT_NODE_EXPORTER")?)
            .arg("--collector.disable-defaults")
            .args(args)
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start node_exporter")?;
        let mut started = Started(Some(child));
        // A refused connection leaves no socket.
        let scraper = wait_until("node_exporter that listens", DEADLINE, || {
            Ok(match Scraper::connect(address) {
                Ok(scraper) => Progress::Done(scraper),
                Err(error) => Progress::NotYet(error.to_string()),
            })
        })?;
        let child = started.0.take().context("it was started")?;
        Ok(Self { child, scraper })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills the process if the start fails.
struct Started(Option<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    // It fails if the process has ended.
    let _ = child.kill();
    let _ = child.wait();
}
