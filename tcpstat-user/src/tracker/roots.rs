//! The directories of procfs that list a namespace, or several namespaces that are counted together.

use tracing::debug;

use super::{Files, SnapshotError};
use crate::{
    procfs::{Limits, ProcessStatus, Procfs, ProcfsError, Sockstat},
    snapshot::RowSink,
};

/// One directory for each namespace: the procfs itself, or that of a process in the namespace. None if no process
/// is in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Roots(Vec<Procfs>);

impl Roots {
    pub(super) fn new(directories: Vec<Procfs>) -> Self {
        Self(directories)
    }

    /// The directory of the first namespace.
    pub(super) fn first(&self) -> Option<&Procfs> {
        self.0.first()
    }

    /// Whether they list the namespace of this process alone, as the iterator does.
    pub(super) fn list_own_namespace(&self) -> bool {
        matches!(self.0.as_slice(), [own] if own.lists_own_namespace())
    }

    /// Passes every socket to `sink`.
    ///
    /// # Errors
    /// [`SnapshotError::NoProcess`], or those of [`Procfs::each_socket`].
    pub(super) fn each_socket(&self, sink: &mut impl RowSink) -> Result<(), SnapshotError> {
        if self.0.is_empty() {
            return Err(SnapshotError::NoProcess);
        }
        for procfs in &self.0 {
            procfs.each_socket(sink)?;
        }
        Ok(())
    }

    /// The sums of sockstat.
    ///
    /// # Errors
    /// [`SnapshotError::NoProcess`], or that of the first file that cannot be read.
    pub(super) fn read_sockstat(&self) -> Result<Sockstat, SnapshotError> {
        let mut all = self.0.iter().map(Procfs::sockstat);
        let first = all.next().ok_or(SnapshotError::NoProcess)??;
        all.try_fold(first, |sum, next| Ok(sum.plus(next?)))
    }

    /// The limits of the first namespace that can be read. A folder that only looks like a procfs has none.
    pub(super) fn limits(&self) -> Limits {
        let known = |limit: fn(&Procfs) -> Result<u64, ProcfsError>| {
            limit(self.first()?).inspect_err(|error| debug!(%error, "a limit is unknown")).ok()
        };
        Limits {
            time_wait: known(Procfs::time_wait_limit),
            ephemeral_ports: known(Procfs::ephemeral_ports),
        }
    }
}

impl Files for Roots {
    fn process(&self) -> Option<ProcessStatus> {
        ProcessStatus::read().ok()
    }

    fn sockstat(&self) -> Option<Sockstat> {
        self.read_sockstat().ok()
    }
}
