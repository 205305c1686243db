//! The BPF iterator, loaded at its first use, and tried again or given up after a failure.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::SnapshotError;
use crate::{
    kernel::{IterError, LoadError, SocketIterator},
    procfs::Privileges,
};

/// Time until the next attempt after the kernel lacked memory or descriptors. Loading the iterator takes
/// some tens of milliseconds.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The iterator over the sockets of this process's network namespace.
pub(super) struct LazyIterator {
    loaded: Option<SocketIterator>,
    refusal: Option<Refusal>,
    /// The cause of the last failure. A failure is logged if its cause is new.
    logged: Option<String>,
    /// Whether the user chose the iterator: a refusal is a warning then.
    chosen: bool,
    /// Whether its rows have cgroups.
    cgroups: bool,
}

/// Why the iterator cannot be used now.
struct Refusal {
    cause: String,
    /// `None` if the iterator is given up.
    retry_at: Option<Instant>,
}

impl LazyIterator {
    pub(super) fn new(chosen: bool) -> Self {
        Self { loaded: None, refusal: None, logged: None, chosen, cgroups: false }
    }

    /// Lets the rows have cgroups.
    pub(super) fn need_cgroups(&mut self) {
        self.cgroups = true;
        self.loaded = None;
    }

    /// The iterator; loads it if necessary.
    ///
    /// # Errors
    /// [`SnapshotError::Refused`].
    pub(super) fn get(&mut self) -> Result<&mut SocketIterator, SnapshotError> {
        if let Some(Refusal { cause, retry_at }) = &self.refusal
            && retry_at.is_none_or(|retry_at| Instant::now() < retry_at)
        {
            return Err(SnapshotError::Refused(cause.clone()));
        }
        self.refusal = None;
        let iterator = match self.loaded.take() {
            Some(iterator) => iterator,
            None => self.load()?,
        };
        Ok(self.loaded.insert(iterator))
    }

    fn load(&mut self) -> Result<SocketIterator, SnapshotError> {
        match SocketIterator::load_with(self.cgroups) {
            Ok(iterator) => {
                info!("iter/tcp is loaded, for snapshots");
                Ok(iterator)
            }
            Err(error) => {
                let cause = error.to_string();
                if self.is_new(&cause) {
                    self.log_refusal(&error);
                }
                self.refuse(cause.clone(), error.is_temporary());
                Err(SnapshotError::Refused(cause))
            }
        }
    }

    /// Notes that a snapshot by the iterator succeeded.
    pub(super) fn succeeded(&mut self) {
        if self.logged.take().is_some() {
            info!("iter/tcp works again");
        }
    }

    /// Notes that a snapshot by the iterator failed.
    pub(super) fn failed(&mut self, error: &IterError) {
        let (cause, temporary) = (error.to_string(), error.is_temporary());
        if self.is_new(&cause) {
            let until = if temporary { "for now" } else { "from now on" };
            let error = error.with_remedy(&Privileges::read());
            warn!("{error}: taking snapshots from /proc {until}");
        }
        if !temporary {
            self.loaded = None;
        }
        self.refuse(cause, temporary);
    }

    fn refuse(&mut self, cause: String, temporary: bool) {
        let retry_at = temporary.then(|| Instant::now() + RETRY_INTERVAL);
        self.refusal = Some(Refusal { cause, retry_at });
    }

    fn is_new(&mut self, cause: &str) -> bool {
        self.logged.replace(cause.to_owned()).is_none_or(|before| before != cause)
    }

    /// Warns only a user who chose the iterator: without it snapshots are slower, and nothing else.
    fn log_refusal(&self, error: &LoadError) {
        error.write_kernel_log();
        let refusal = format!(
            "taking snapshots from /proc: iter/tcp: {}",
            error.with_remedy(&Privileges::read())
        );
        if self.chosen {
            warn!("{refusal}");
        } else {
            info!("{refusal}");
        }
    }
}
