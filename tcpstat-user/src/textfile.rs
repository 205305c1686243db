//! node_exporter's metric as a file for its textfile collector.
//!
//! The file is written when the tracker has listed the sockets, and when an interval has passed since
//! it was: the numbers in it are those of the moment of writing. It is never rewritten with numbers
//! that are known to be old, so that its age (`node_textfile_mtime_seconds`) is theirs. At the end it
//! is removed: node_exporter would export its last numbers for ever.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use tempfile::NamedTempFile;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    history::Moment,
    procfs::Procfs,
    tracker::{Nudge, Published},
};

/// What the collector looks for.
const SUFFIX: &str = ".prom";

/// It runs as another user than this process.
const MODE: u32 = 0o644;

/// A path that the textfile collector takes: it ends in `.prom`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Textfile {
    path: PathBuf,
    folder: PathBuf,
}

/// Why there is no textfile.
#[derive(Debug, Error)]
pub enum TextfileError {
    /// The collector would pass it over.
    #[error("node_exporter reads only files whose names end in {SUFFIX}")]
    Suffix,
    /// Something else has that name.
    #[error("{}: is a folder: name the file in it", .0.display())]
    Folder(PathBuf),
    /// The folder takes no file.
    #[error(
        "{}: {cause}: the file's folder must be there, and this user must be allowed to write to it",
        folder.display()
    )]
    Unwritable {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl FromStr for Textfile {
    type Err = TextfileError;

    fn from_str(text: &str) -> Result<Self, TextfileError> {
        let path = PathBuf::from(text);
        let named = path.file_name().and_then(|name| name.to_str());
        if !named.is_some_and(|name| name.len() > SUFFIX.len() && name.ends_with(SUFFIX)) {
            return Err(TextfileError::Suffix);
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { path, folder })
    }
}

impl Textfile {
    /// Tries whether it can be written, without writing it.
    ///
    /// # Errors
    /// [`TextfileError::Folder`], [`TextfileError::Unwritable`].
    pub fn check(&self) -> Result<(), TextfileError> {
        if self.path.is_dir() {
            return Err(TextfileError::Folder(self.path.clone()));
        }
        let unwritable = |cause| TextfileError::Unwritable { folder: self.folder.clone(), cause };
        self.temporary().map(drop).map_err(unwritable)
    }

    /// Replaces the file as a whole: a reader sees the old text or the new one.
    fn write(&self, text: &str) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(text.as_bytes())?;
        // Not at its making: the umask would apply.
        file.as_file().set_permissions(Permissions::from_mode(MODE))?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// In the same folder, so that it can be renamed; the collector passes over such a name.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let made =
            tempfile::Builder::new().prefix(".tcpstat-").suffix(".tmp").tempfile_in(&self.folder);
        // Its own error names the temporary file, which tells nobody anything.
        made.map_err(|error| error.raw_os_error().map_or(error, io::Error::from_raw_os_error))
    }
}

/// What is written to a [`Textfile`], and when.
#[derive(Debug)]
pub struct Writer {
    /// Where to.
    pub textfile: Textfile,
    /// What the tracker tells.
    pub published: watch::Receiver<Published>,
    /// Who is told of a tripped wire.
    pub nudge: Nudge,
    /// Where sockstat is.
    pub procfs: Procfs,
    /// Time between two writings at most.
    pub interval: Duration,
}

impl Writer {
    /// Writes until `stopped` says so or the tracker ends; then removes the file.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut written = Written::default();
        let mut failed = false;
        loop {
            tokio::select! {
                // An error means that the sender is gone, which is a stop too.
                _ = stopped.wait_for(|stopped| *stopped) => break,
                changed = self.published.changed() => if changed.is_err() { break },
            }
            let Some(text) = self.due(&mut written) else { continue };
            let textfile = self.textfile.clone();
            // A folder may be on a disk that does not answer; nobody else is to wait for it.
            let ended = tokio::task::spawn_blocking(move || textfile.write(&text)).await;
            self.tell(ended.unwrap_or_else(|panic| Err(io::Error::other(panic))), &mut failed);
        }
        self.remove();
    }

    /// What is to be written now, if anything is.
    fn due(&mut self, written: &mut Written) -> Option<String> {
        // The tracker waits while this is borrowed: some microseconds.
        let published = self.published.borrow_and_update();
        if !written.is_due(&published, self.interval) {
            return None;
        }
        written.note(&published);
        let (values, suspicious) = published.scrape(&self.procfs, true);
        if suspicious {
            self.nudge.look();
        }
        values.encode_node_exporter()
    }

    /// A failure once, and its end.
    fn tell(&self, ended: io::Result<()>, failed: &mut bool) {
        let path = self.textfile.path.display();
        match ended {
            Err(cause) if !std::mem::replace(failed, true) => {
                warn!("--textfile {path} cannot be written, and grows old: {cause}");
            }
            Ok(()) if std::mem::take(failed) => info!("--textfile {path} is written again"),
            _ => {}
        }
    }

    fn remove(&self) {
        match fs::remove_file(&self.textfile.path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                warn!("--textfile {} stays behind: {cause}", self.textfile.path.display());
            }
            _ => {}
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
        snapshot::{Source, Tally},
        tracker::Snapshot,
    };

    #[test]
    fn a_name_that_the_collector_passes_over_is_refused() {
        for text in ["tcpstat", "tcpstat.txt", ".prom", "folder.prom/tcpstat", ""] {
            assert!(text.parse::<Textfile>().is_err(), "{text}");
        }
        assert_eq!("tcpstat.prom".parse::<Textfile>().unwrap().folder, Path::new("."));
        assert_eq!("/a/tcpstat.prom".parse::<Textfile>().unwrap().folder, Path::new("/a"));
    }

    #[test]
    fn a_listing_is_written_once_and_an_old_one_never_again() {
        let listed = |seconds: u64| Published {
            snapshot: Some(Snapshot {
                source: Source::Procfs,
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
