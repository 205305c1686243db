//! Ends the parts of `serve`: all at the same time, each with a deadline.

use std::time::Duration;

use anyhow::{anyhow, bail};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle, spawn_blocking},
    time::timeout,
};
use tracing::info;

use crate::tracker::{TrackerError, Tracking};

/// How long each part may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The tasks and threads of the exporter.
pub(super) struct Parts {
    /// Stops the server and the writer of the textfile.
    pub(super) stop: watch::Sender<bool>,
    pub(super) server: JoinHandle<()>,
    pub(super) recorder: JoinHandle<()>,
    /// The textfile's path, and its writer.
    pub(super) textfile: Option<(String, JoinHandle<()>)>,
    pub(super) tracking: Tracking,
}

impl Parts {
    /// Waits until a part ends by itself, which is an error that names it: the exporter needs all parts.
    pub(super) async fn one_ended(&mut self) -> anyhow::Error {
        let mut published = self.tracking.published.clone();
        let tracker = async { while published.changed().await.is_ok() {} };
        let textfile = async {
            match &mut self.textfile {
                Some((_, writer)) => writer.await,
                None => std::future::pending().await,
            }
        };
        let (part, ended) = tokio::select! {
            // In this order, because the recorder and the writer end with the tracker.
            biased;
            () = tracker => ("the tracker", Ok(())),
            ended = &mut self.recorder => ("the recorder", ended),
            ended = textfile => ("the writer of the textfile", ended),
            ended = &mut self.server => ("the server", ended),
        };
        match ended {
            Err(panic) if panic.is_panic() => anyhow!("{part} panicked: a defect in tcpstat"),
            Ok(()) | Err(_) => anyhow!("{part} ended"),
        }
    }

    /// Ends all parts. `reason` is the error for which they end, if there is one.
    ///
    /// # Errors
    /// The tracker's own error, which says more than `reason`; else `reason`; else names the parts that did not
    /// end in time.
    pub(super) async fn end(self, reason: Result<(), anyhow::Error>) -> anyhow::Result<()> {
        let Self { stop, server, recorder, textfile, tracking } = self;
        stop.send_replace(true);
        // This ends the streams too.
        recorder.abort();
        let graceful = reason.is_ok();
        let connections = async {
            if graceful && hangs(server).await {
                info!("closing connections still open after {} s", STOP_TIMEOUT.as_secs());
            }
        };
        let recorder = hangs(recorder);
        let textfile = async {
            let (path, writer) = textfile?;
            hangs(writer).await.then_some(path)
        };
        let tracker = spawn_blocking(move || tracking.stop(STOP_TIMEOUT));
        let ((), recorder, textfile, tracker) =
            tokio::join!(connections, recorder, textfile, tracker);
        let mut hanging = Vec::new();
        if recorder {
            hanging.push("the recorder".to_owned());
        }
        if let Some(path) = textfile {
            hanging.push(format!(
                "the writer of --textfile {path} (its file system does not answer; the file may not be removed)"
            ));
        }
        match flat(tracker) {
            Err(TrackerError::Hangs(_)) => {
                hanging.push("the tracker (its snapshot hangs)".to_owned());
            }
            Err(error) => return Err(error.into()),
            Ok(()) => {}
        }
        reason?;
        if !hanging.is_empty() {
            bail!("still running after {STOP_TIMEOUT:?}: {}", hanging.join(", "));
        }
        Ok(())
    }
}

/// Whether `part` does not end in time.
async fn hangs(part: JoinHandle<()>) -> bool {
    // A handle that has returned its result must not be polled again.
    !part.is_finished() && timeout(STOP_TIMEOUT, part).await.is_err()
}

fn flat(ended: Result<Result<(), TrackerError>, JoinError>) -> Result<(), TrackerError> {
    ended.unwrap_or(Err(TrackerError::Panicked))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use tempfile::TempDir;

    use super::*;
    use crate::{
        procfs::Procfs,
        tracker::{NetnsChoice, SourceChoice, Tracker},
    };

    /// A procfs without sockets.
    fn no_sockets() -> TempDir {
        let procfs = tempfile::tempdir().unwrap();
        fs::create_dir(procfs.path().join("net")).unwrap();
        let header =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n";
        fs::write(procfs.path().join("net/tcp"), header).unwrap();
        procfs
    }

    /// Parts that do not end by themselves.
    fn parts(procfs: &TempDir) -> Parts {
        let tracker = Tracker {
            own_scopes: None,
            listeners_max: 0,
            procfs: Procfs::new(procfs.path()),
            tracer: None,
            programs: Vec::new(),
            source: SourceChoice::Procfs,
            snapshot_interval: Duration::from_hours(1),
            netns: NetnsChoice::Own,
            pods: PathBuf::new(),
            scopes_max: 256,
            shows_destination: false,
        };
        Parts {
            stop: watch::Sender::new(false),
            server: tokio::spawn(std::future::pending()),
            recorder: tokio::spawn(std::future::pending()),
            textfile: Some(("a.prom".to_owned(), tokio::spawn(std::future::pending()))),
            tracking: tracker.start().unwrap(),
        }
    }

    #[tokio::test]
    async fn a_part_that_panics_ends_the_exporter_and_is_named() {
        let panics = || async { panic!("a defect") };
        let procfs = no_sockets();
        let mut recorder = parts(&procfs);
        recorder.recorder = tokio::spawn(panics());
        let mut writer = parts(&procfs);
        writer.textfile = Some(("a.prom".to_owned(), tokio::spawn(panics())));
        let mut server = parts(&procfs);
        server.server = tokio::spawn(panics());
        for (mut parts, name) in [
            (recorder, "the recorder"),
            (writer, "the writer of the textfile"),
            (server, "the server"),
        ] {
            let reason = parts.one_ended().await;
            // So that the end does not wait for it.
            parts.textfile = None;
            let error = parts.end(Err(reason)).await.unwrap_err().to_string();
            assert_eq!(error, format!("{name} panicked: a defect in tcpstat"));
        }
    }
}
