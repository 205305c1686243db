//! Cgroups (v2) of the running kernel, below the one of this process.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::processes;
use crate::procfs::CgroupHierarchy;

/// A cgroup that this process made. Dropping it returns the process to the cgroup it was in, and removes this one.
pub(super) struct Cgroup {
    path: PathBuf,
    home: PathBuf,
}

/// The directory of the cgroup of this process; `None` if it is not mounted.
fn own() -> Option<PathBuf> {
    let hierarchy = CgroupHierarchy::find().ok()?;
    let id = processes()[&std::process::id()].cgroup;
    Some(hierarchy.folder(hierarchy.paths().get(&id)?))
}

impl Cgroup {
    /// Makes a cgroup below that of this process; `None` if that is impossible here.
    pub(super) fn new(name: &str) -> Option<Self> {
        let home = own()?;
        let path = home.join(format!("tcpstat-test-{}-{name}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self { path, home })
    }

    /// The id: the inode number of the directory.
    pub(super) fn id(&self) -> u64 {
        fs::metadata(&self.path).unwrap().ino()
    }

    /// Runs `work` with this process in the cgroup.
    pub(super) fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        join(&self.path);
        let done = work();
        join(&self.home);
        done
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        join(&self.home);
        let _ = fs::remove_dir(&self.path);
    }
}

fn join(cgroup: &Path) {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string()).unwrap();
}
