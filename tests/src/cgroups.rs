//! The cgroup hierarchies of this machine: v2, v1, or both.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Moves a process to the root of every hierarchy, so that its cgroup says nothing about it.
///
/// # Errors
/// Fails when a hierarchy cannot be written.
pub fn move_to_root(pid: u32) -> Result<()> {
    for mount in mounts()? {
        let file = mount.join("cgroup.procs");
        fs::write(&file, pid.to_string()).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Removes the directory of that path from every hierarchy, and those above it that are empty then.
pub(crate) fn remove_cgroup(path: &str) {
    for mount in mounts().unwrap_or_default() {
        let whole = mount.join(path.trim_start_matches('/'));
        for folder in whole.ancestors().take_while(|folder| *folder != mount) {
            // It is not there in this hierarchy, or another cgroup is in it.
            let _ = fs::remove_dir(folder);
        }
    }
}

fn mounts() -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let path_of = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let is_cgroup = kind.starts_with("cgroup ") || kind.starts_with("cgroup2 ");
        mount.split(' ').nth(4).filter(|_| is_cgroup).map(PathBuf::from)
    };
    Ok(text.lines().filter_map(path_of).collect())
}
