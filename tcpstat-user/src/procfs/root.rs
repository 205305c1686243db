//! What kind of procfs a path leads to, and which network namespace it lists.

use std::{
    ffi::OsStr,
    fs,
    io::ErrorKind,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use thiserror::Error;
use tracing::debug;

use super::{Procfs, ProcfsError, file::read_to_string};

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootKind {
    /// A mounted procfs. Its `net` is a link to `self/net`: the namespace of the reading process.
    Mount,
    /// The directory of one process in a mounted procfs. It lists the namespace of that process.
    Process,
    /// A folder with the same files.
    Folder,
}

impl RootKind {
    /// With `subset=pid` a mount has `self` and no `net`.
    pub(super) fn of(root: &Path) -> Self {
        // A symbolic link, which is dangling if the procfs does not show this process.
        if root.join("self").is_symlink() {
            Self::Mount
        } else if root.join("status").is_file() && root.join("ns").is_dir() {
            Self::Process
        } else {
            Self::Folder
        }
    }
}

/// The network namespace that a procfs lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedNamespace {
    /// Its inode number, the one in `net:[NUMBER]`; `None` if it cannot be read.
    pub(crate) inum: Option<u32>,
    /// Whether it is the namespace of this process, the only one that tracer and iterator see.
    pub(crate) own: bool,
    /// Whether process 1 of this procfs is in it; `None` if that cannot be read.
    pub(crate) of_pid_1: Option<bool>,
}

/// A procfs that lists another network namespace than its path suggests.
#[derive(Debug, Error)]
pub(crate) enum WrongNamespace {
    /// The procfs lists the namespace of this process, and its process 1 is in another one.
    #[error(
        "{root}: {root}/net shows the network namespace of this process, not that of process 1 there: \
         run tcpstat in that namespace (hostNetwork: true, --network host), or use {root}/1 for snapshots \
         of that namespace, or {root}/self for that of this process"
    )]
    NotOfPid1 {
        /// The path.
        root: String,
    },
    /// The procfs belongs to a PID namespace that does not include this process.
    #[error(
        "{root}: this procfs does not show this process, so {root}/net does not exist: use {root}/1 for \
         snapshots of the network namespace of process 1 there"
    )]
    NotShown {
        /// The path.
        root: String,
    },
}

/// A path that is no procfs and has none of its files.
#[derive(Debug, Error)]
pub(crate) enum NotProcfs {
    /// Nothing is there.
    #[error("{root}: it does not exist: {REMEDY}")]
    Missing {
        /// The path.
        root: String,
    },
    /// The directory of a process in a procfs, and that process does not exist.
    #[error("{root}: {procfs} has no process with this number, or hides it: {REMEDY}")]
    NoProcess {
        /// The path.
        root: String,
        /// The procfs.
        procfs: String,
    },
    /// A file, or a directory with other files.
    #[error("{root}: {root}/net/tcp does not exist, so this is not a procfs: {REMEDY}")]
    NoTable {
        /// The path.
        root: String,
    },
}

const REMEDY: &str = "use the mount point of a procfs, such as /proc, or the directory of a process in it, such as /proc/1";

impl Procfs {
    /// Checks that a path other than the default one is a procfs, the directory of a process in one, or a folder with such
    /// files. A file that cannot be read now is no error. Nor is a missing procfs at the default path: the iterator lists
    /// sockets without it.
    ///
    /// # Errors
    /// [`NotProcfs`].
    pub(crate) fn check_kind(&self) -> Result<(), NotProcfs> {
        let is_missing = |path: &Path| {
            let missing = [ErrorKind::NotFound, ErrorKind::NotADirectory];
            matches!(fs::symlink_metadata(path), Err(error) if missing.contains(&error.kind()))
        };
        let is_default = self.root == Path::new(Self::DEFAULT_ROOT);
        if is_default || self.kind != RootKind::Folder || !is_missing(&self.net.join("tcp")) {
            return Ok(());
        }
        let root = self.root.display().to_string();
        if !is_missing(&self.root) {
            return Err(NotProcfs::NoTable { root });
        }
        let is_number = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
        match self.root.parent() {
            Some(parent)
                if self.root.file_name().is_some_and(is_number)
                    && RootKind::of(parent) == RootKind::Mount =>
            {
                Err(NotProcfs::NoProcess { root, procfs: parent.display().to_string() })
            }
            _ => Err(NotProcfs::Missing { root }),
        }
    }

    /// Checks that net/tcp lists the namespace that a user expects at this path. A procfs that is mounted at
    /// another path than the default one is expected to be the host's, and to list the namespace of the
    /// host's process 1. The default path and the directory of a process are always right.
    ///
    /// # Errors
    /// [`WrongNamespace`].
    pub(crate) fn check_namespace(&self) -> Result<(), WrongNamespace> {
        let default = Path::new(Self::DEFAULT_ROOT);
        let is_default =
            self.root == default || fs::canonicalize(&self.root).is_ok_and(|path| path == default);
        if self.kind != RootKind::Mount || is_default {
            return Ok(());
        }
        let root = self.root.display().to_string();
        if !self.root.join("self/net").exists() {
            return Err(WrongNamespace::NotShown { root });
        }
        match self.lists_pid_1() {
            Ok(true) => Ok(()),
            Ok(false) => Err(WrongNamespace::NotOfPid1 { root }),
            Err(error) => {
                debug!(%error, "the network namespace of process 1 is unknown");
                Ok(())
            }
        }
    }

    /// The network namespace that net/tcp lists.
    ///
    /// # Errors
    /// [`ProcfsError::NotMounted`] for a folder that is not a procfs, [`ProcfsError::Unreadable`].
    pub(crate) fn namespace(&self) -> Result<ListedNamespace, ProcfsError> {
        let own = own_process();
        let (process, is_own) = match self.kind {
            RootKind::Folder => return Err(ProcfsError::NotMounted { path: self.root.clone() }),
            RootKind::Mount => (self.root.join("self"), true),
            RootKind::Process
                if inode(&self.root.join("net/tcp"))? == inode(&own.join("net/tcp"))? =>
            {
                (own, true)
            }
            RootKind::Process => (self.root.clone(), false),
        };
        let inum = netns_inode(&process);
        Ok(ListedNamespace {
            inum: inum.and_then(|inum| u32::try_from(inum).ok()),
            own: is_own,
            of_pid_1: self.lists_pid_1().ok(),
        })
    }

    /// The directory of the calling thread in this mount. The thread must stay in its network namespace.
    ///
    /// # Errors
    /// [`ProcfsError::NotMounted`], [`ProcfsError::Unreadable`] if this procfs does not show the thread.
    pub(crate) fn of_this_thread(&self) -> Result<Self, ProcfsError> {
        if self.kind != RootKind::Mount {
            return Err(ProcfsError::NotMounted { path: self.root.clone() });
        }
        let path = self.root.join("thread-self");
        let thread = fs::read_link(&path);
        let thread = thread.map_err(|cause| ProcfsError::Unreadable { path, cause })?;
        Ok(Self { held: true, ..Self::new(self.root.join(thread)) })
    }

    /// The inode number of the namespace that net/tcp lists, if it is that of this process or of one of its
    /// threads.
    ///
    /// # Errors
    /// Those of [`Procfs::namespace`]; [`ProcfsError::ForeignNamespace`] if it is another namespace;
    /// [`ProcfsError::Unexpected`] if the number cannot be read.
    pub(crate) fn netns_inum(&self) -> Result<u32, ProcfsError> {
        let namespace = self.namespace()?;
        if !namespace.own && !self.held {
            return Err(ProcfsError::ForeignNamespace { path: self.root.clone() });
        }
        namespace.inum.ok_or_else(|| ProcfsError::Unexpected {
            path: self.root.join("self/ns/net"),
            field: "inode number",
            value: String::new(),
        })
    }

    /// Whether the process whose directory this is has ended: there are no socket tables.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        !self.root.join("net/tcp").exists()
    }

    /// Whether this procfs lists the namespace of this process, as the iterator does. True if nothing is
    /// mounted at the default path.
    #[must_use]
    pub(crate) fn lists_own_namespace(&self) -> bool {
        match self.namespace() {
            Ok(namespace) => namespace.own,
            Err(_) => self.root == Path::new(Self::DEFAULT_ROOT),
        }
    }

    /// Checks that the directory of a process still lists the namespace that it listed at the start. A
    /// process can change its namespace, and its number can be reused.
    pub(super) fn check_process(&self) -> Result<(), ProcfsError> {
        match self.listed {
            Some(listed) if inode(&self.net.join("tcp"))? != listed => {
                Err(ProcfsError::NamespaceChanged { path: self.root.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Processes of this mount whose files can be read, at most so many.
    #[must_use]
    pub(crate) fn some_readable_processes(&self, most: usize) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| self.shows_process(pid)).take(most).collect()
    }

    /// Whether the files of this process can be read in this mount.
    #[must_use]
    pub(crate) fn shows_process(&self, pid: u32) -> bool {
        self.root.join(format!("{pid}/net/tcp")).exists()
    }

    /// Whether process 1 of this procfs is in the namespace that net/tcp lists. Compares inodes of net/tcp:
    /// each live namespace has its own, and reading it needs no privileges, unlike that of `ns/net`.
    fn lists_pid_1(&self) -> Result<bool, ProcfsError> {
        let pid_1 = match self.kind {
            RootKind::Process => fs::canonicalize(&self.root).ok().and_then(|process| {
                // PID or PID/task/TID.
                let mount = process.ancestors().find(|path| path.join("self").is_symlink())?;
                Some(mount.join("1"))
            }),
            RootKind::Mount => Some(self.root.join("1")),
            RootKind::Folder => None,
        };
        let pid_1 = pid_1.ok_or_else(|| ProcfsError::NotMounted { path: self.root.clone() })?;
        Ok(inode(&pid_1.join("net/tcp"))? == inode(&self.net.join("tcp"))?)
    }

    /// The directory with the network settings of the namespace that net/tcp lists.
    pub(super) fn sys_net(&self) -> Result<PathBuf, ProcfsError> {
        match self.kind {
            RootKind::Mount | RootKind::Folder => Ok(self.root.join("sys/net")),
            // sys/net shows the namespace of the reader (`net_ctl_root` in net/sysctl_net.c).
            RootKind::Process if self.namespace()?.own => Ok(own_sys().join("net")),
            RootKind::Process => Err(ProcfsError::ForeignNamespace { path: self.root.clone() }),
        }
    }

    /// The value of the sysctl kernel.`name`, read at the default path.
    ///
    /// # Errors
    /// [`ProcfsError`], [`ProcfsError::Unreadable`] if procfs is mounted with `subset=pid`, which hides sys.
    pub(crate) fn kernel_setting(name: &str) -> Result<i64, ProcfsError> {
        number(own_sys().join("kernel").join(name))
    }
}

/// The directory of this process at the default path.
pub(super) fn own_process() -> PathBuf {
    Path::new(Procfs::DEFAULT_ROOT).join("self")
}

fn own_sys() -> PathBuf {
    Path::new(Procfs::DEFAULT_ROOT).join("sys")
}

/// The number in a file that has nothing else.
pub(super) fn number(path: PathBuf) -> Result<i64, ProcfsError> {
    let text = read_to_string(&path)?;
    text.trim().parse().map_err(|_| ProcfsError::Unexpected {
        path,
        field: "value",
        value: text.trim().to_owned(),
    })
}

/// The inode number of the file that `path` leads to.
pub(super) fn inode(path: &Path) -> Result<u64, ProcfsError> {
    let metadata = fs::metadata(path);
    let metadata =
        metadata.map_err(|cause| ProcfsError::Unreadable { path: path.to_owned(), cause })?;
    Ok(metadata.ino())
}

/// The inode number of the network namespace of a process, by its directory; `None` without the permission to trace
/// it, or if it has ended.
///
/// Without the permission, Linux 5.10 gives a file of procfs instead of an error.
pub(super) fn netns_inode(process: &Path) -> Option<u64> {
    let namespace = fs::metadata(process.join("ns/net")).ok()?;
    let is_followed = namespace.dev() != fs::metadata(process).ok()?.dev();
    is_followed.then(|| namespace.ino())
}
