//! /proc as it is read here: reading apart from parsing. The one place that reads it.

mod file;
mod limits;
mod privileges;
mod process;
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

pub use limits::Limits;
pub use privileges::{Lockdown, Privileges};
pub use process::{Capabilities, ProcessStatus};
use root::{Kind, inode};
pub use root::{ListedNamespace, WrongNamespace};
pub use sockstat::Sockstat;

use crate::{snapshot::RowSink, states::Family};

/// A mounted procfs, the directory of one process in it, or a folder that is laid out likewise.
#[derive(Clone, Debug)]
pub struct Procfs {
    root: PathBuf,
    kind: Kind,
    /// Where the files of one network namespace are.
    net: PathBuf,
    /// Of a process' directory: the inode of net/tcp when this was made.
    listed: Option<u64>,
}

/// What went wrong in reading a file of /proc.
#[derive(Debug, Error)]
pub enum ProcfsError {
    /// The file is not there or not for us.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The file does not say what it should.
    #[error("{}: invalid {field}: {value:?}", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What stands there instead of a number; empty where the field is missing.
        value: String,
    },
    /// Something else than a regular file stands at the path.
    #[error("{}: this is {kind}, not a regular file: --path.procfs must be a procfs", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The file has more bytes than it can have.
    #[error("{}: more than {limit} bytes: --path.procfs must be a procfs", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How many were read.
        limit: u64,
    },
    /// Reading took too long.
    #[error("{}: not read within {limit:?}: its file system does not answer", path.display())]
    TooSlow {
        /// The file.
        path: PathBuf,
        /// How long it was read.
        limit: Duration,
    },
    /// A table without a line, a header included: no kernel that knows its sockets writes that.
    #[error(
        "{}: the file is empty, not even a header: this kernel does not list its sockets (for example WSL1); \
         run tcpstat where the sockets are, or on WSL2",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The path is no procfs, so there is no namespace to count.
    #[error("{}: this is not a mounted procfs, so the network namespace to count is unknown", path.display())]
    NotMounted {
        /// The path.
        path: PathBuf,
    },
    /// The process has gone to another namespace, or its number now belongs to another process.
    #[error(
        "{}: this lists a different network namespace from the one at the start: the process has changed its namespace, or has ended",
        path.display()
    )]
    Moved {
        /// The path.
        path: PathBuf,
    },
    /// The procfs lists the namespace of other processes than this one.
    #[error(
        "{}: this lists a different network namespace from that of this process, and a tracer counts only that of this process",
        path.display()
    )]
    ForeignNamespace {
        /// The path.
        path: PathBuf,
    },
}

impl Procfs {
    /// Where procfs is mounted, unless a flag says otherwise.
    pub const DEFAULT_ROOT: &str = "/proc";

    /// The procfs at `root`, of the kind that stands there now.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let kind = Kind::of(&root);
        // With subset=pid a mount has no `net`, which is a link to `self/net` otherwise.
        let net = root.join(if kind == Kind::Mount { "self/net" } else { "net" });
        let listed = if kind == Kind::Process { inode(&net.join("tcp")).ok() } else { None };
        Self { root, kind, net, listed }
    }

    /// The folder this was made with.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Hands every socket of net/tcp and net/tcp6 to `sink`. A missing tcp6 is a host without IPv6.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`], where net/tcp is missing or reading stops half-way; where another
    /// thing than a table stands there: `NotRegular`, `TooLong`, `TooSlow`, `Empty`.
    pub fn each_socket(&self, sink: &mut impl RowSink) -> Result<(), ProcfsError> {
        self.check_process()?;
        let tcp = self.net.join("tcp");
        tcp::each_row(&tcp, Family::Ipv4, sink)?;
        let listed = match tcp::each_row(&self.net.join("tcp6"), Family::Ipv6, sink) {
            Err(ProcfsError::Unreadable { cause, .. })
                // Not so where all of it has gone meanwhile: a procfs of a process that has ended.
                if cause.kind() == io::ErrorKind::NotFound && tcp.exists() =>
            {
                Ok(())
            }
            result => result,
        };
        listed.and_then(|()| self.check_process())
    }

    /// The totals of net/sockstat and net/sockstat6; without the latter IPv6 counts 0.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub fn sockstat(&self) -> Result<Sockstat, ProcfsError> {
        self.check_process()?;
        sockstat::read(&self.sockstat_path(), &self.net.join("sockstat6"))
    }

    /// Whether the kernel itself gives the totals. Then reading them takes microseconds; what any other
    /// file system gives may take for ever.
    #[must_use]
    pub fn sockstat_is_the_kernels(&self) -> bool {
        let kernels =
            |path: &Path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC);
        let path = self.sockstat_path();
        kernels(if path.exists() { &path } else { &self.net })
    }

    /// Where the totals are read; those of IPv6 are beside it.
    #[must_use]
    pub fn sockstat_path(&self) -> PathBuf {
        self.net.join("sockstat")
    }
}
