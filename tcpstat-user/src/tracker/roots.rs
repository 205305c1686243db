//! The directories of procfs that list a namespace, or several namespaces that are counted together.

use std::time::Duration;

use tracing::debug;

use super::{Files, SnapshotError};
use crate::{
    clock,
    destinations::EphemeralPorts,
    procfs::{Limits, ProcessStatus, Procfs, ProcfsError, Sockstat},
    snapshot::RowSink,
};

/// One directory for each namespace: the procfs itself, or that of a process in the namespace. None if no process
/// is in it.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    directories: Vec<Procfs>,
    /// Whether a directory is left out if its process has ended.
    ended_left_out: bool,
    /// The most CPU time of a list.
    limit: Duration,
}

/// Nothing else is read while several namespaces are listed together, and one of them can take 40 ms: the kernel walks its
/// whole hash table for each.
const LIMIT: Duration = Duration::from_secs(4);

impl Default for Roots {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Roots {
    pub(super) fn new(directories: Vec<Procfs>) -> Self {
        Self { directories, ended_left_out: false, limit: LIMIT }
    }

    /// The roots, where a directory whose process has ended has no sockets.
    pub(super) fn without_ended(self) -> Self {
        Self { ended_left_out: true, ..self }
    }

    /// The directory of the first namespace.
    pub(super) fn first(&self) -> Option<&Procfs> {
        self.directories.first()
    }

    /// Whether they list the namespace of this process alone, as the iterator does.
    pub(super) fn list_own_namespace(&self) -> bool {
        matches!(self.directories.as_slice(), [own] if own.lists_own_namespace())
    }

    /// Passes every socket to `sink`.
    ///
    /// # Errors
    /// [`SnapshotError::NoProcess`], [`SnapshotError::TooMany`], or those of [`Procfs::each_socket`].
    pub(super) fn each_socket(&self, sink: &mut impl RowSink) -> Result<(), SnapshotError> {
        self.list(|procfs| procfs.each_socket(sink))
    }

    /// Passes every socket to `sink`: see [`Procfs::each_counted_socket`].
    ///
    /// # Errors
    /// As [`Self::each_socket`].
    pub(super) fn each_counted_socket<S: RowSink>(
        &self,
        sink: &mut S,
        rows: impl Fn(&S) -> u64,
    ) -> Result<(), SnapshotError> {
        self.list(|procfs| procfs.each_counted_socket(sink, &rows))
    }

    fn list(
        &self,
        mut list: impl FnMut(&Procfs) -> Result<(), ProcfsError>,
    ) -> Result<(), SnapshotError> {
        if self.directories.is_empty() {
            return Err(SnapshotError::NoProcess);
        }
        let begun = clock::thread_cpu();
        for (listed, procfs) in self.directories.iter().enumerate() {
            if listed > 0 && clock::thread_cpu().saturating_sub(begun) > self.limit {
                let all = self.directories.len();
                return Err(SnapshotError::TooMany { all, listed, limit: self.limit });
            }
            match list(procfs) {
                Err(error) if self.ended_left_out && error.is_of_ended_process() => {}
                listed => listed?,
            }
        }
        Ok(())
    }

    /// The sums of sockstat.
    ///
    /// # Errors
    /// [`SnapshotError::NoProcess`], or that of the first file that cannot be read.
    pub(super) fn read_sockstat(&self) -> Result<Sockstat, SnapshotError> {
        let mut all = self.directories.iter().map(Procfs::sockstat);
        let first = all.next().ok_or(SnapshotError::NoProcess)??;
        all.try_fold(first, |sum, next| Ok(sum.plus(next?)))
    }

    /// The ephemeral ports of the first namespace; `None` if they cannot be read.
    pub(super) fn ephemeral_ports(&self) -> Option<EphemeralPorts> {
        self.first()?.ephemeral_range().ok()
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

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::snapshot::{BrokenRow, Row};

    #[derive(Default)]
    struct Counted(u64);

    impl RowSink for Counted {
        fn listed(&mut self) {}

        fn row(&mut self, _: &Row) {
            self.0 += 1;
        }

        fn broken(&mut self, row: BrokenRow<'_>) {
            panic!("{row:?}");
        }
    }

    /// A folder whose sockstat has these numbers, with two sockets in net/tcp and one in net/tcp6.
    fn folder(inuse: u64, inuse6: u64) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("net");
        fs::create_dir(&net).unwrap();
        let header =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n";
        let row = |address: &str, inode: u64| {
            format!(
                "   0: {address}:1F90 {address}:0000 0A 00000000:00000000 00:00000000 00000000 0        0 \
                 {inode} 1 ffff8880 100 0 0 10 0\n"
            )
        };
        let ipv4 = [1, 2].map(|inode| row("0100007F", inode)).concat();
        let ipv6 = row("00000000000000000000000000000000", 3);
        fs::write(net.join("tcp"), format!("{header}{ipv4}")).unwrap();
        fs::write(net.join("tcp6"), format!("{header}{ipv6}")).unwrap();
        let sockstat = |name: &str, text: String| fs::write(net.join(name), text).unwrap();
        sockstat("sockstat", format!("TCP: inuse {inuse} orphan 0 tw 0 alloc 9 mem 0\n"));
        sockstat("sockstat6", format!("TCP6: inuse {inuse6}\n"));
        folder
    }

    fn listed(folders: &[&TempDir]) -> u64 {
        let roots = folders.iter().map(|folder| Procfs::new(folder.path())).collect();
        let mut counted = Counted::default();
        Roots::new(roots).each_counted_socket(&mut counted, |counted| counted.0).unwrap();
        counted.0
    }

    #[test]
    fn a_table_is_read_unless_sockstat_says_that_it_has_no_rows() {
        assert_eq!(listed(&[&folder(2, 1)]), 3);
        assert_eq!(listed(&[&folder(2, 0)]), 2, "tcp has all that sockstat counts");
        assert_eq!(listed(&[&folder(1, 0)]), 3, "sockstat does not say where the difference is");
        assert_eq!(listed(&[&folder(0, 0)]), 0, "neither table has rows");
    }

    #[test]
    fn several_namespaces_are_listed_and_summed_together() {
        let (one, two) = (folder(2, 1), folder(2, 0));
        assert_eq!(listed(&[&one, &two]), 5);
        let roots = [&one, &two].map(|folder| Procfs::new(folder.path())).to_vec();
        assert_eq!(Roots::new(roots).read_sockstat().unwrap().inuse.total(), 5);
    }

    #[test]
    fn several_namespaces_that_take_too_long_are_an_error_and_one_is_not() {
        let (one, two) = (folder(2, 1), folder(2, 0));
        let mut roots = Roots::new([&one, &two].map(|folder| Procfs::new(folder.path())).to_vec());
        roots.limit = Duration::ZERO;
        let error = roots.each_socket(&mut Counted::default()).unwrap_err();
        assert!(matches!(error, SnapshotError::TooMany { all: 2, listed: 1, .. }), "{error}");
        roots.directories.truncate(1);
        roots.each_socket(&mut Counted::default()).unwrap();
    }

    #[test]
    fn a_directory_without_its_process_fails_unless_it_is_left_out() {
        let (one, ended) = (folder(2, 1), tempfile::tempdir().unwrap());
        let roots = Roots::new([&ended, &one].map(|folder| Procfs::new(folder.path())).to_vec());
        let mut counted = Counted::default();
        roots.each_socket(&mut counted).unwrap_err();
        assert_eq!(counted.0, 0);
        roots.without_ended().each_socket(&mut counted).unwrap();
        assert_eq!(counted.0, 3);
    }

    #[test]
    fn without_a_process_nothing_is_listed_and_the_reason_is_said() {
        let none = Roots::default();
        let mut counted = Counted::default();
        for refused in [
            none.each_socket(&mut counted).unwrap_err(),
            none.each_counted_socket(&mut counted, |counted| counted.0).unwrap_err(),
            none.read_sockstat().unwrap_err(),
        ] {
            assert_eq!(refused.to_string(), "no process is in the network namespace");
        }
    }
}
