//! Writes the textfile when it is due.

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
    metrics::{Compat, Values},
    procfs::Procfs,
    tracker::{Nudge, Published},
};

/// Time without an answer from the file system after which a warning is logged.
const SLOW: Duration = Duration::from_secs(5);

/// Writes a [`Textfile`] as long as the exporter runs.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) textfile: Textfile,
    /// What the tracker publishes.
    pub(crate) published: watch::Receiver<Arc<Published>>,
    /// Asks the tracker for a check if sockstat and the gauges differ.
    pub(crate) nudge: Nudge,
    /// Contains sockstat.
    pub(crate) procfs: Procfs,
    /// Maximum time between two writes.
    pub(crate) interval: Duration,
}

impl Writer {
    /// Writes until `stopped` is true or the tracker ends; then removes the file if it is the one that this
    /// process wrote last. Waits for the file system without a deadline.
    pub(crate) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut last = LastWrite::default();
        let mut log = WriteLog::default();
        let mut own = None;
        loop {
            tokio::select! {
                // An error means that the sender was dropped, which is a stop too.
                _ = stopped.wait_for(|stopped| *stopped) => break,
                changed = self.published.changed() => if changed.is_err() { break },
            }
            let Some(published) = self.due(&mut last) else { continue };
            let (textfile, procfs, nudge) =
                (self.textfile.clone(), self.procfs.clone(), self.nudge.clone());
            let write = move || {
                let scrape = published.scrape(&procfs);
                if scrape.suspicious {
                    nudge.check();
                }
                let values = Values::new(&published, scrape, Compat::default());
                let text = values.encode_node_exporter();
                text.map(|text| write(&textfile, &text, own)).transpose()
            };
            match self.wait_for(write, "is being written").await {
                Ok(None) => {}
                Ok(Some((identity, shared))) => {
                    own = Some(identity);
                    log.written(&self.textfile, shared);
                }
                Err(cause) => log.failed(&self.textfile, &cause),
            }
        }
        if let Some(own) = own {
            self.remove(own).await;
        }
    }

    /// The values to write now; `None` if no write is due.
    fn due(&mut self, last: &mut LastWrite) -> Option<Arc<Published>> {
        let published = self.published.borrow_and_update();
        let due = last.is_due(&published, self.interval);
        due.then(|| {
            last.record(&published);
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

    /// Runs `work` on a thread of its own, because the file system may block. Logs a warning if it does.
    async fn wait_for<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
        what: &str,
    ) -> io::Result<T> {
        let flat = |ended: Result<_, JoinError>| {
            ended.unwrap_or_else(|panic| Err(io::Error::other(panic)))
        };
        let mut work = spawn_blocking(work);
        if let Ok(ended) = timeout(SLOW, &mut work).await {
            return flat(ended);
        }
        warn!(
            "--textfile {} {what} for more than {SLOW:?}: its file system does not answer",
            self.textfile
        );
        flat(work.await)
    }
}

/// Writes `text`. Returns the identity of the new file, and whether another process writes under the same
/// name.
fn write(textfile: &Textfile, text: &str, own: Option<Identity>) -> io::Result<(Identity, bool)> {
    // The first write may replace the file of a run that was killed.
    let shared =
        own.is_some_and(|own| textfile.find(own).is_ok_and(|found| found == Found::Foreign));
    Ok((textfile.write(text)?, shared))
}

/// Logs a failure once, and its end.
#[derive(Debug, Default)]
struct WriteLog {
    failed: bool,
    shared: bool,
}

impl WriteLog {
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

#[derive(Debug, Default)]
struct LastWrite {
    /// `None` before the first write.
    at: Option<Instant>,
    /// When the snapshot ended that was the last one then.
    snapshot: Option<Moment>,
}

impl LastWrite {
    /// Whether `published` has a newer snapshot than the file, or the interval has passed and a tracer has
    /// newer numbers.
    fn is_due(&self, published: &Published, interval: Duration) -> bool {
        let Some(snapshot) = &published.snapshot else { return false };
        let Some(at) = self.at else { return true };
        let live = published.live.is_some();
        self.snapshot != Some(snapshot.finished) || (live && at.elapsed() >= interval)
    }

    fn record(&mut self, published: &Published) {
        self.at = Some(Instant::now());
        self.snapshot = published.snapshot.as_ref().map(|snapshot| snapshot.finished);
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
    fn without_a_tracer_each_snapshot_is_written_once() {
        let published = |seconds: u64| Published {
            snapshot: Some(LastSnapshot {
                source: SnapshotSource::Procfs,
                tally: Tally::default(),
                fullest: None,
                finished: Moment { unix_ms: 1_000 * seconds, uptime_ms: 1_000 * seconds },
                duration: Duration::ZERO,
                limits: Limits::default(),
            }),
            ..Published::default()
        };
        let mut last = LastWrite::default();
        assert!(!last.is_due(&Published::default(), Duration::ZERO), "there are no numbers");
        assert!(last.is_due(&published(1), Duration::ZERO));
        last.record(&published(1));
        assert!(!last.is_due(&published(1), Duration::ZERO));
        assert!(last.is_due(&published(2), Duration::ZERO));
    }
}
