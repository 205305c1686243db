//! The BPF iterator, loaded at its first use, and tried again or given up after a failure.

use std::time::Instant;

use tracing::{info, warn};

use super::{
    SnapshotError,
    attempts::{LastFailure, retry_at},
};
use crate::{
    kernel::{IterError, LoadError, SocketIterator},
    procfs::Privileges,
};

/// The iterator over the sockets of this process's network namespace.
pub(super) struct LazyIterator {
    loaded: Option<SocketIterator>,
    refusal: Option<Refusal>,
    last_failure: LastFailure,
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
        Self {
            loaded: None,
            refusal: None,
            last_failure: LastFailure::default(),
            chosen,
            cgroups: false,
        }
    }

    /// Lets the rows have cgroups. `loaded`: those of this iterator have.
    pub(super) fn need_cgroups(&mut self, loaded: Option<SocketIterator>) {
        self.cgroups = true;
        self.loaded = loaded;
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
                if self.last_failure.is_new(&cause) {
                    self.log_refusal(&error);
                }
                self.refuse(cause.clone(), error.is_temporary());
                Err(SnapshotError::Refused(cause))
            }
        }
    }

    /// Notes that a snapshot by the iterator succeeded.
    pub(super) fn succeeded(&mut self) {
        if self.last_failure.is_over() {
            info!("iter/tcp works again");
        }
    }

    /// Notes that a snapshot by the iterator failed.
    pub(super) fn failed(&mut self, error: &IterError) {
        let (cause, temporary) = (error.to_string(), error.is_temporary());
        if self.last_failure.is_new(&cause) {
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
        self.refusal = Some(Refusal { cause, retry_at: retry_at(temporary) });
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
