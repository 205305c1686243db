//! /proc as it is read here: reading apart from parsing. The one place that reads it.

mod limits;
mod process;
mod sockstat;
mod tcp;

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use limits::Limits;
pub use process::{Capabilities, ProcessStatus};
pub use sockstat::Sockstat;

use crate::{snapshot::RowSink, states::Family};

/// A procfs mount, or a folder that looks like one.
#[derive(Clone, Debug)]
pub struct Procfs {
    root: PathBuf,
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
    #[error("{}: {field} is {value:?}", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What stands there instead of a number; empty where the field is missing.
        value: String,
    },
}

impl Procfs {
    /// Where procfs is mounted, unless a flag says otherwise.
    pub const DEFAULT_ROOT: &str = "/proc";

    /// The procfs below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder this was made with.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Hands every socket of net/tcp and net/tcp6 to `sink`. A missing tcp6 is a host without IPv6.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`], where net/tcp is missing or reading stops half-way.
    pub fn each_socket(&self, sink: &mut impl RowSink) -> Result<(), ProcfsError> {
        let tcp = self.root.join("net/tcp");
        tcp::each_row(&tcp, Family::Ipv4, sink)?;
        match tcp::each_row(&self.root.join("net/tcp6"), Family::Ipv6, sink) {
            Err(ProcfsError::Unreadable { cause, .. })
                // Not so where all of it has gone meanwhile: a procfs of a process that has ended.
                if cause.kind() == io::ErrorKind::NotFound && tcp.exists() =>
            {
                Ok(())
            }
            result => result,
        }
    }

    /// The totals of net/sockstat and net/sockstat6; without the latter IPv6 counts 0.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub fn sockstat(&self) -> Result<Sockstat, ProcfsError> {
        sockstat::read(&self.sockstat_path(), &self.root.join("net/sockstat6"))
    }

    /// Where the totals are read; those of IPv6 are beside it.
    #[must_use]
    pub fn sockstat_path(&self) -> PathBuf {
        self.root.join("net/sockstat")
    }

    /// The inode number of the network namespace whose sockets net/tcp shows.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`], for a folder that is no mounted procfs.
    pub fn netns_inum(&self) -> Result<u32, ProcfsError> {
        let path = self.root.join("self/ns/net");
        let metadata = std::fs::metadata(&path)
            .map_err(|cause| ProcfsError::Unreadable { path: path.clone(), cause })?;
        u32::try_from(metadata.ino()).map_err(|_| ProcfsError::Unexpected {
            path,
            field: "inode number",
            value: metadata.ino().to_string(),
        })
    }

    /// The number at sys/`name`.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub fn sysctl(&self, name: &str) -> Result<i64, ProcfsError> {
        let path = self.root.join("sys").join(name);
        let text = read_to_string(&path)?;
        text.trim().parse().map_err(|_| ProcfsError::Unexpected {
            path,
            field: "value",
            value: text.trim().to_owned(),
        })
    }
}

fn read_to_string(path: &Path) -> Result<String, ProcfsError> {
    std::fs::read_to_string(path)
        .map_err(|cause| ProcfsError::Unreadable { path: path.to_owned(), cause })
}
