//! The processes that a mounted procfs shows, with their network namespaces and cgroups.
//!
//! No function keeps a descriptor below PATH/PID/net: an open one would keep the namespace alive.

use std::{
    fs, io,
    os::unix::fs::DirEntryExt,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::{
    Procfs, ProcfsError,
    file::{read_all, read_to_string},
    root::{RootKind, inode, netns_inode, own_process},
};

/// The processes of a mounted procfs. Their ids are those of its PID namespace.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    root: PathBuf,
}

/// A process in a list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedProcess {
    pub(crate) pid: u32,
    /// The inode number of its directory. Another process that gets the same id has another one.
    pub(crate) directory: u64,
}

/// `PROC_PID_INIT_INO` in include/linux/proc_ns.h.
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

impl Procfs {
    /// Whether this is a mounted procfs, which shows many processes.
    #[must_use]
    pub(crate) fn is_mount(&self) -> bool {
        self.kind == RootKind::Mount
    }

    /// # Errors
    /// [`ProcfsError::NotMounted`] if this is the directory of one process, or a folder.
    pub(crate) fn processes(&self) -> Result<Processes, ProcfsError> {
        if self.is_mount() {
            Ok(Processes { root: self.root.clone() })
        } else {
            Err(ProcfsError::NotMounted { path: self.root.clone() })
        }
    }

    /// Whether this process is in the initial PID namespace, whose ids the kernel itself uses; `None` if that
    /// cannot be read.
    #[must_use]
    pub(crate) fn in_initial_pid_namespace() -> Option<bool> {
        let number = inode(&own_process().join("ns/pid")).ok()?;
        Some(number == INITIAL_PID_NAMESPACE)
    }

    /// Whether processes are in cgroups of version 2: this one is, or its hierarchy is mounted where systemd and
    /// container runtimes mount it. With version 1 alone all processes are in the root of version 2.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub(crate) fn has_cgroup_v2() -> Result<bool, ProcfsError> {
        let text = read_all(&own_process().join("cgroup"))?;
        let mut lines = text.split(|&byte| byte == b'\n');
        let is_in_one =
            lines.any(|line| line.strip_prefix(b"0::/").is_some_and(|path| !path.is_empty()));
        let is_mounted = |path| {
            statfs(Path::new(path)).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
        };
        Ok(is_in_one || ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().any(is_mounted))
    }
}

impl Processes {
    /// The directory of a process.
    #[must_use]
    pub(crate) fn directory(&self, pid: u32) -> PathBuf {
        self.root.join(pid.to_string())
    }

    /// The id that this process has here.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`] if this procfs does not show this process.
    pub(crate) fn own_pid(&self) -> Result<u32, ProcfsError> {
        let path = self.root.join("self");
        let link = fs::read_link(&path);
        let link = link.map_err(|cause| ProcfsError::Unreadable { path: path.clone(), cause })?;
        let pid = link.to_str().and_then(|text| text.parse().ok());
        pid.ok_or_else(|| ProcfsError::Unexpected {
            path,
            field: "process id",
            value: link.to_string_lossy().into_owned(),
        })
    }

    /// How many levels the PID namespace of this procfs is above that of this process: 0 if it is the same.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub(crate) fn pid_levels_up(&self) -> Result<u32, ProcfsError> {
        let path = self.root.join("self/status");
        let text = read_to_string(&path)?;
        // One id for each namespace, from that of the procfs down to that of the process.
        let line = text.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        let levels = u32::try_from(line.split_ascii_whitespace().count()).ok();
        levels.and_then(|levels| levels.checked_sub(1)).ok_or_else(|| ProcfsError::Unexpected {
            path,
            field: "NSpid",
            value: line.to_owned(),
        })
    }

    /// All processes that this procfs shows, by id.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`].
    pub(crate) fn list(&self) -> Result<Vec<ListedProcess>, ProcfsError> {
        let unreadable =
            |cause: io::Error| ProcfsError::Unreadable { path: self.root.clone(), cause };
        let mut processes = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                processes.push(ListedProcess { pid, directory: entry.ino() });
            }
        }
        processes.sort_unstable_by_key(|process| process.pid);
        Ok(processes)
    }

    /// The inode number of net/tcp of this process, which each live namespace has for itself. Reading it
    /// needs no privileges, unless the procfs hides the process.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`]; also if the process has ended.
    pub(crate) fn own_table(&self) -> Result<u64, ProcfsError> {
        inode(&self.root.join("self/net/tcp"))
    }

    /// The inode number of net/tcp of another process.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`].
    pub(crate) fn table(&self, pid: u32) -> Result<u64, ProcfsError> {
        inode(&self.directory(pid).join("net/tcp"))
    }

    /// The inode number of the network namespace of a process; `None` without the permission to trace it, or
    /// if it has ended.
    #[must_use]
    pub(crate) fn netns_inum(&self, pid: u32) -> Option<u64> {
        netns_inode(&self.directory(pid))
    }

    /// The text of PATH/PID/cgroup. Names in it need not be UTF-8.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub(crate) fn cgroups(&self, pid: u32) -> Result<Vec<u8>, ProcfsError> {
        read_all(&self.directory(pid).join("cgroup"))
    }

    /// The mount point.
    #[must_use]
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processes() -> Processes {
        Procfs::new(Procfs::DEFAULT_ROOT).processes().unwrap()
    }

    #[test]
    fn this_process_is_listed_with_its_namespace_and_cgroup() {
        let processes = processes();
        let own = std::process::id();
        assert_eq!(processes.own_pid().unwrap(), own);
        assert_eq!(processes.pid_levels_up().unwrap(), 0);
        let list = processes.list().unwrap();
        assert!(list.is_sorted_by(|one, next| one.pid < next.pid));
        assert!(list.iter().any(|process| process.pid == own && process.directory != 0));
        assert_eq!(processes.table(own).unwrap(), processes.own_table().unwrap());
        let inum = Procfs::new(Procfs::DEFAULT_ROOT).netns_inum().unwrap();
        assert_eq!(processes.netns_inum(own), Some(inum.into()));
        assert!(processes.cgroups(own).unwrap().contains(&b'/'));
    }

    #[test]
    fn a_process_has_the_same_directory_in_every_list() {
        let own = |list: Vec<ListedProcess>| {
            list.into_iter().find(|process| process.pid == std::process::id())
        };
        let processes = processes();
        assert_eq!(own(processes.list().unwrap()), own(processes.list().unwrap()));
    }

    #[test]
    fn the_directory_of_a_process_and_a_folder_have_no_list() {
        let folder = tempfile::tempdir().unwrap();
        let process = Path::new(Procfs::DEFAULT_ROOT).join("self");
        for path in [folder.path(), &process] {
            let error = Procfs::new(path).processes().unwrap_err();
            assert!(matches!(error, ProcfsError::NotMounted { .. }), "{error}");
        }
    }
}
