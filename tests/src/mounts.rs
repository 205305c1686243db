//! Another /proc, another /sys: mounts that this process and its children alone see.

use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

const TRACEFS: &str = "/sys/kernel/tracing";

/// The mounts of the calling thread, and of what it starts from now on. They go with the last of them.
#[derive(Debug)]
pub struct PrivateMounts(());

impl PrivateMounts {
    /// Takes a copy of the mounts there are; what is done to it stays in it.
    ///
    /// # Errors
    /// Fails without `CAP_SYS_ADMIN`.
    pub fn enter() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS).context("unshare(CLONE_NEWNS)")?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .context("make all mounts private")?;
        Ok(Self(()))
    }

    /// Mounts a procfs with `options` over /proc.
    ///
    /// # Errors
    /// Fails for options that the kernel does not know.
    pub fn proc(&self, options: &str) -> Result<()> {
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), Some(options))
            .with_context(|| format!("mount a procfs with {options}"))
    }

    /// Mounts an empty file system over `path`.
    ///
    /// # Errors
    /// Fails where the kernel does.
    pub fn empty(&self, path: &Path) -> Result<()> {
        let none: Option<&str> = None;
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), none)
            .with_context(|| format!("mount a tmpfs over {}", path.display()))
    }

    /// Has tracefs mounted where it belongs.
    ///
    /// # Errors
    /// Fails for a kernel without it.
    pub fn tracefs(&self) -> Result<()> {
        let none: Option<&str> = None;
        match mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), none) {
            // It is there.
            Ok(()) | Err(Errno::EBUSY) => Ok(()),
            Err(error) => Err(error).context("mount tracefs"),
        }
    }

    /// Has no tracefs where it belongs.
    ///
    /// # Errors
    /// Fails where the kernel does.
    pub fn no_tracefs(&self) -> Result<()> {
        self.empty(Path::new(TRACEFS))
    }

    /// Mounts an empty file system in memory at `path`.
    ///
    /// # Errors
    /// Fails for options that the kernel does not know.
    pub fn tmpfs(&self, path: &Path, options: &str) -> Result<()> {
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options))
            .with_context(|| format!("mount a tmpfs with {options}"))
    }

    /// Mounts the sysfs of the calling thread's network namespace at `path`, which is returned.
    ///
    /// # Errors
    /// Fails where the kernel does.
    pub fn sysfs<'a>(&self, path: &'a Path) -> Result<&'a Path> {
        let none: Option<&str> = None;
        mount(Some("sysfs"), path, Some("sysfs"), MsFlags::empty(), none).context("mount sysfs")?;
        Ok(path)
    }

    /// Has `path` show the file or folder at `other`.
    ///
    /// # Errors
    /// Fails when one of the two is missing.
    pub fn replace(&self, path: &Path, other: &Path) -> Result<()> {
        let none: Option<&str> = None;
        mount(Some(other), path, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("bind {} to {}", other.display(), path.display()))
    }
}
