//! Cgroups (v2) of the running kernel, below the one of this process.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A cgroup that this process made. Dropping it returns the process to the cgroup it was in, and removes this one.
pub(super) struct Cgroup {
    path: PathBuf,
    home: PathBuf,
}

/// The mounted hierarchy and the cgroup of this process; `None` if there is none or it cannot be changed.
fn own() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = Path::new(mount).join(own);
    let writable = fs::metadata(path.join("cgroup.procs")).is_ok();
    writable.then_some(path)
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
