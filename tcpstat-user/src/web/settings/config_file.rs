//! Follows the file of `--web.config.file`: it is read again when it, or a file that it names, changes, and on
//! request.
//!
//! A change counts when two checks in a row have found the same: a certificate and its key are two files, and an
//! editor writes a file in parts. What cannot be used is reported, and the settings before stay in force.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    select,
    sync::watch,
    task::{JoinError, spawn_blocking},
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

use super::{Parsed, Settings};
use crate::{
    clock,
    metrics::WebConfigValues,
    web::config::{Fault, WebConfigError},
};

/// Time between two checks of the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What distinguishes two versions of a file; `None` for a file that cannot be found.
type Stamp = Option<[i64; 6]>;

#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    settings: watch::Sender<Arc<Settings>>,
    status: watch::Sender<WebConfigValues>,
    seen: Seen,
}

/// The files, the configuration itself first, and their versions when they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    files: Vec<PathBuf>,
    stamps: Vec<Stamp>,
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The first problem, in one line.
    pub(crate) fn open(path: PathBuf) -> Result<Self, WebConfigError> {
        let (seen, settings) = load(&path, &Seen::default(), None);
        let settings = settings.map_err(|fault| fault.in_file(&path))?;
        let status = WebConfigValues { successful: true, last_success: clock::now() };
        let (settings, status) =
            (watch::Sender::new(Arc::new(settings)), watch::Sender::new(status));
        Ok(Self { path, settings, status, seen })
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.subscribe()
    }

    /// The result of the last reading.
    pub(crate) fn status(&self) -> watch::Receiver<WebConfigValues> {
        self.status.subscribe()
    }

    /// Reads the files again when they change, and whenever `requests` changes. Never ends.
    pub(crate) async fn follow(mut self, mut requests: watch::Receiver<u64>) {
        let mut ticks = interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A change that one check has found.
        let mut change = None;
        loop {
            let requested = select! {
                _ = ticks.tick() => false,
                () = changed(&mut requests) => true,
            };
            if !requested {
                let files = self.seen.files.clone();
                let Ok(stamps) = spawn_blocking(move || stamps(&files)).await else { continue };
                if stamps == self.seen.stamps {
                    change = None;
                    continue;
                }
                if change.as_ref() != Some(&stamps) {
                    change = Some(stamps);
                    continue;
                }
            }
            change = None;
            self.reload().await;
        }
    }

    async fn reload(&mut self) {
        let (path, seen) = (self.path.clone(), self.seen.clone());
        let before = self.settings.borrow().clone();
        let loaded = spawn_blocking(move || load(&path, &seen, Some(&before))).await;
        let Ok((seen, loaded)) = loaded.map_err(|defect: JoinError| {
            error!("reading --web.config.file {}: {defect}", self.path.display());
        }) else {
            return;
        };
        self.seen = seen;
        match loaded {
            Ok(settings) => {
                info!("--web.config.file {}: read again: {settings}", self.path.display());
                self.settings.send_replace(Arc::new(settings));
                let status = WebConfigValues { successful: true, last_success: clock::now() };
                self.status.send_replace(status);
            }
            Err(fault) => {
                let error = fault.in_file(&self.path);
                warn!("{error}; the settings before stay in force");
                self.status.send_modify(|status| status.successful = false);
            }
        }
    }
}

/// Returns when `requests` changes.
async fn changed(requests: &mut watch::Receiver<u64>) {
    if requests.changed().await.is_err() {
        // No more requests can come.
        std::future::pending::<()>().await;
    }
}

/// Reads `path` and the files that it names. If it cannot be read, the files that are known stay the ones to follow.
fn load(path: &Path, known: &Seen, before: Option<&Settings>) -> (Seen, Result<Settings, Fault>) {
    let of = |files: Vec<PathBuf>| {
        let stamps = stamps(&files);
        Seen { files, stamps }
    };
    // Before they are read, so that a change meanwhile is found.
    let mut seen =
        if known.files.is_empty() { of(vec![path.to_owned()]) } else { of(known.files.clone()) };
    let parsed = Parsed::read(path);
    let settings = parsed.and_then(|Parsed { config, files }| {
        let own = seen.stamps.first().copied().flatten();
        seen = of(std::iter::once(path.to_owned()).chain(files).collect());
        if let Some(stamp) = seen.stamps.first_mut() {
            *stamp = own;
        }
        let settings = Settings::new(config, before.and_then(|before| before.limiter.as_ref()))?;
        before.map_or(Ok(()), |before| before.check_locks(&settings))?;
        Ok(settings)
    });
    (seen, settings)
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        let identity = [found.dev(), found.ino()].map(u64::cast_signed);
        let length = i64::try_from(found.len()).unwrap_or(i64::MAX);
        // A file that is renamed over another one can have an older time, but not the same change time.
        let [device, inode] = identity;
        Some([device, inode, length, found.mtime(), found.ctime(), found.ctime_nsec()])
    };
    files.iter().map(stamp).collect()
}
