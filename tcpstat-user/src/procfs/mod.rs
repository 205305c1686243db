//! Reads and parses files of /proc. Only this module does.

mod cgroups;
mod descriptors;
mod file;
mod limits;
mod privileges;
mod process;
mod processes;
mod root;
mod sockstat;
mod tcp;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use thiserror::Error;

pub(crate) use cgroups::CgroupHierarchy;
pub use limits::Limits;
pub(crate) use limits::{AutomaticPorts, PortList};
pub(crate) use privileges::{Lockdown, Privileges};
pub(crate) use process::Capabilities;
pub use process::ProcessStatus;
pub(crate) use processes::{ListedProcess, Processes};
pub(crate) use root::ListedNamespace;
use root::{RootKind, inode};
pub use sockstat::Sockstat;

use crate::{snapshot::RowSink, states::Family};

/// A mounted procfs, the directory of one process in it, or a folder with the same files.
#[derive(Clone, Debug)]
pub struct Procfs {
    root: PathBuf,
    kind: RootKind,
    /// The directory with the files of one network namespace.
    net: PathBuf,
    /// For the directory of a process: the inode of net/tcp when this was created.
    listed: Option<u64>,
    /// Whether this is the directory of a thread of this process, which stays in its namespace: the number of
    /// the namespace cannot become that of another one.
    held: bool,
}

/// Why a file of /proc cannot be used.
#[derive(Debug, Error)]
pub enum ProcfsError {
    /// The file cannot be opened or read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of open(2) or read(2).
        cause: io::Error,
    },
    /// A field has no valid value.
    #[error("{}: invalid {field}: {value:?}", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The name of the field.
        field: &'static str,
        /// The text of the field; empty if the field is missing.
        value: String,
    },
    /// The path leads to something other than a regular file.
    #[error("{}: this is {kind}, not a regular file: --path.procfs must be a procfs", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// The kind of file, with its article.
        kind: &'static str,
    },
    /// The file has more bytes than such a file can have.
    #[error("{}: more than {limit} bytes: --path.procfs must be a procfs", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The bound in bytes.
        limit: u64,
    },
    /// Reading took too long.
    #[error("{}: not read within {limit:?}: its file system does not answer", path.display())]
    TooSlow {
        /// The file.
        path: PathBuf,
        /// The bound of the time to read it.
        limit: Duration,
    },
    /// A table without any line. Kernels that list their sockets write at least a header.
    #[error(
        "{}: the file is empty, not even a header: this kernel does not list its sockets (for example WSL1); \
         run tcpstat where the sockets are, or on WSL2",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The path is no procfs, so it has no namespace to count.
    #[error("{}: this is not a mounted procfs, so the network namespace to count is unknown", path.display())]
    NotMounted {
        /// The path.
        path: PathBuf,
    },
    /// The process has entered another namespace, or its number belongs to another process now.
    #[error(
        "{}: this lists a different network namespace from the one at the start: the process has changed its namespace, or has ended",
        path.display()
    )]
    NamespaceChanged {
        /// The path.
        path: PathBuf,
    },
    /// The procfs lists another namespace than that of this process.
    #[error(
        "{0}: this lists a different network namespace from that of this process, and a tracer counts only that of this process: \
         `--netns {0}/ns/net` without --path.procfs counts it with a tracer",
        path.display()
    )]
    ForeignNamespace {
        /// The path.
        path: PathBuf,
    },
}

impl ProcfsError {
    /// Whether this process lacks the permission: the file exists.
    #[must_use]
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Unreadable { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether the process whose directory was read has ended.
    #[must_use]
    pub(crate) fn is_of_ended_process(&self) -> bool {
        matches!(self, Self::Unreadable { cause, .. } if cause.kind() == io::ErrorKind::NotFound
            || cause.raw_os_error() == Some(libc::ESRCH))
    }
}

impl Procfs {
    /// The default of `--path.procfs`.
    pub(crate) const DEFAULT_ROOT: &str = "/proc";

    /// The procfs at `root`. What kind it is (see [`Procfs`]) is decided now.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let kind = RootKind::of(&root);
        // A mount has `net` as a link to `self/net`; with subset=pid it has no `net`.
        let net = root.join(if kind == RootKind::Mount { "self/net" } else { "net" });
        let listed = if kind == RootKind::Process { inode(&net.join("tcp")).ok() } else { None };
        Self { root, kind, net, listed, held: false }
    }

    /// The path that [`Procfs::new`] got.
    #[must_use]
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Passes every socket of net/tcp and net/tcp6 to `sink`. Without tcp6 there are no IPv6 sockets.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`] if net/tcp is missing or a read fails, [`ProcfsError::NamespaceChanged`];
    /// `NotRegular`, `TooLong`, `TooSlow` or `Empty` if a file is no such table. `sink` has the rows before
    /// the error.
    pub fn each_socket(&self, sink: &mut impl RowSink) -> Result<(), ProcfsError> {
        self.check_process()?;
        self.each_ipv4_socket(sink)?;
        self.each_ipv6_socket(sink)?;
        self.check_process()
    }

    /// Passes every socket to `sink`, as [`Self::each_socket`] does, but does not read a table that cannot have rows:
    /// none if sockstat counts no socket, and not net/tcp6 if `rows`, which gives the full sockets and mini-sockets
    /// that `sink` has, has got all that sockstat counts from net/tcp. The kernel walks its whole hash table for each
    /// table that is read.
    ///
    /// # Errors
    /// Those of [`Self::each_socket`]. Without sockstat both tables are read.
    pub(crate) fn each_counted_socket<S: RowSink>(
        &self,
        sink: &mut S,
        rows: impl Fn(&S) -> u64,
    ) -> Result<(), ProcfsError> {
        let Ok(sockstat) = self.sockstat() else { return self.each_socket(sink) };
        let counted = sockstat.inuse.total() + sockstat.tw;
        if counted > 0 {
            let before = rows(sink);
            self.each_ipv4_socket(sink)?;
            if rows(sink) - before != counted {
                self.each_ipv6_socket(sink)?;
            }
        }
        self.check_process()
    }

    fn each_ipv4_socket(&self, sink: &mut impl RowSink) -> Result<(), ProcfsError> {
        tcp::each_row(&self.net.join("tcp"), Family::Ipv4, sink)
    }

    fn each_ipv6_socket(&self, sink: &mut impl RowSink) -> Result<(), ProcfsError> {
        let tcp = self.net.join("tcp");
        match tcp::each_row(&self.net.join("tcp6"), Family::Ipv6, sink) {
            Err(ProcfsError::Unreadable { cause, .. })
                // If tcp is missing too the process has ended.
                if cause.kind() == io::ErrorKind::NotFound && tcp.exists() =>
            {
                Ok(())
            }
            result => result,
        }
    }

    /// The totals in net/sockstat and net/sockstat6. Without sockstat6 those of IPv6 are 0.
    ///
    /// # Errors
    /// [`ProcfsError`], [`ProcfsError::Unexpected`] if a total is missing.
    pub(crate) fn sockstat(&self) -> Result<Sockstat, ProcfsError> {
        self.check_process()?;
        sockstat::read(&self.sockstat_path(), &self.net.join("sockstat6"))
    }

    /// Whether net/sockstat is on procfs. Then reading it takes microseconds; another file system may never
    /// answer.
    #[must_use]
    pub(crate) fn sockstat_is_on_procfs(&self) -> bool {
        let is_on_procfs =
            |path: &Path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC);
        let path = self.sockstat_path();
        is_on_procfs(if path.exists() { &path } else { &self.net })
    }

    /// The path of net/sockstat; sockstat6 is in the same directory.
    #[must_use]
    pub(crate) fn sockstat_path(&self) -> PathBuf {
        self.net.join("sockstat")
    }
}
