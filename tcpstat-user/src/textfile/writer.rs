//! What is written to the textfile, and when.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
    time::timeout,
};
use tracing::{info, warn};

use super::{
    Textfile,
    file::{Found, Identity},
};
use crate::{
    history::Moment,
    metrics::Values,
    procfs::Procfs,
    tracker::{Nudge, Published},
};

/// How long a file system may take before it is told of.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes a [`Textfile`] as long as the exporter runs.
#[derive(Debug)]
pub struct Writer {
    /// Where to.
    pub textfile: Textfile,
    /// What the tracker tells.
    pub published: watch::Receiver<Arc<Published>>,
    /// Who is told of a tripped wire.
    pub nudge: Nudge,
    /// Where sockstat is.
    pub procfs: Procfs,
    /// Time between two writings at most.
    pub interval: Duration,
}

impl Writer {
    /// Writes until `stopped` says so or the tracker ends; then removes the file if it is the one that this
    /// process wrote last. It waits for the file system as long as that takes.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut written = Written::default();
        let mut told = Told::default();
        let mut own = None;
        loop {
            tokio::select! {
                // An error means that the sender is gone, which is a stop too.
                _ = stopped.wait_for(|stopped| *stopped) => break,
                changed = self.published.changed() => if changed.is_err() { break },
            }
            let Some(published) = self.due(&mut written) else { continue };
            let (textfile, procfs, nudge) =
                (self.textfile.clone(), self.procfs.clone(), self.nudge.clone());
            let write = move || {
                let scrape = published.scrape(&procfs);
                if scrape.suspicious {
                    nudge.check();
                }
                let text = Values::new(&published, scrape, true).encode_node_exporter();
                text.map(|text| write(&textfile, &text, own)).transpose()
            };
            match self.wait_for(write, "is being written").await {
                Ok(None) => {}
                Ok(Some((identity, shared))) => {
                    own = Some(identity);
                    told.written(&self.textfile, shared);
                }
                Err(cause) => told.failed(&self.textfile, &cause),
            }
        }
        if let Some(own) = own {
            self.remove(own).await;
        }
    }

    /// What is to be written now, if anything is.
    fn due(&mut self, written: &mut Written) -> Option<Arc<Published>> {
        let published = self.published.borrow_and_update();
        let due = written.is_due(&published, self.interval);
        due.then(|| {
            written.note(&published);
            Arc::clone(&published)
        })
    }

    async fn remove(&self, own: Identity) {
        let textfile = self.textfile.clone();
        let removed = self.wait_for(move || textfile.remove(own), "is being removed").await;
        match removed {
            Ok(Found::Own | Found::Nothing) => {}
            Ok(Found::Foreign) => {
                info!(
                    "--textfile {} is not removed: another process has written it",
                    self.textfile
                );
            }
            Err(cause) => warn!("--textfile {} cannot be removed: {cause}", self.textfile),
        }
    }

    /// Runs `work` where nobody else waits for it: the file system may not answer. If it does not, one line
    /// says so.
    async fn wait_for<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
        what: &str,
    ) -> io::Result<T> {
        let flat = |ended: Result<_, JoinError>| {
            ended.unwrap_or_else(|panic| Err(io::Error::other(panic)))
        };
        let mut work = spawn_blocking(work);
        if let Ok(ended) = timeout(PATIENCE, &mut work).await {
            return flat(ended);
        }
        warn!(
            "--textfile {} {what} for more than {PATIENCE:?}: its file system does not answer",
            self.textfile
        );
        flat(work.await)
    }
}

/// Writes `text`. Returns which file that made, and whether another process writes under the same name.
fn write(textfile: &Textfile, text: &str, own: Option<Identity>) -> io::Result<(Identity, bool)> {
    // The first one may replace what a killed run left.
    let shared =
        own.is_some_and(|own| textfile.find(own).is_ok_and(|found| found == Found::Foreign));
    Ok((textfile.write(text)?, shared))
}

/// What has been told of the writing: a failure once, and its end.
#[derive(Debug, Default)]
struct Told {
    failed: bool,
    shared: bool,
}

impl Told {
    fn failed(&mut self, textfile: &Textfile, cause: &io::Error) {
        if !std::mem::replace(&mut self.failed, true) {
            warn!("--textfile {textfile} cannot be written, and its values are stale: {cause}");
        }
    }

    fn written(&mut self, textfile: &Textfile, shared: bool) {
        if std::mem::take(&mut self.failed) {
            info!("--textfile {textfile} is written again");
        }
        if shared && !std::mem::replace(&mut self.shared, true) {
            warn!(
                "--textfile {textfile} is also written by another process: give each process its own file"
            );
        }
    }
}

/// What was written last.
#[derive(Debug, Default)]
struct Written {
    /// When; `None` before the first time.
    at: Option<Instant>,
    /// When the listing ended that was the last one then.
    listed: Option<Moment>,
}

impl Written {
    /// Whether `published` has numbers that the file has not, or the file is to be as young as they.
    fn is_due(&self, published: &Published, interval: Duration) -> bool {
        let Some(snapshot) = &published.snapshot else { return false };
        let Some(at) = self.at else { return true };
        // Without a tracer there is nothing newer than the listing.
        let live = published.live.is_some();
        self.listed != Some(snapshot.finished) || (live && at.elapsed() >= interval)
    }

    fn note(&mut self, published: &Published) {
        self.at = Some(Instant::now());
        self.listed = published.snapshot.as_ref().map(|snapshot| snapshot.finished);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        procfs::Limits,
        snapshot::{SnapshotSource, Tally},
        tracker::LastSnapshot,
    };

    #[test]
    fn a_listing_is_written_once_and_an_old_one_never_again() {
        let listed = |seconds: u64| Published {
            snapshot: Some(LastSnapshot {
                source: SnapshotSource::Procfs,
                tally: Tally::default(),
                finished: Moment { unix_ms: 1_000 * seconds, uptime_ms: 1_000 * seconds },
                duration: Duration::ZERO,
                limits: Limits::default(),
            }),
            ..Published::default()
        };
        let mut written = Written::default();
        assert!(!written.is_due(&Published::default(), Duration::ZERO), "there are no numbers");
        assert!(written.is_due(&listed(1), Duration::ZERO));
        written.note(&listed(1));
        assert!(!written.is_due(&listed(1), Duration::ZERO));
        assert!(written.is_due(&listed(2), Duration::ZERO));
    }
}
