//! Private mounts: a different /proc or /sys for this process and its children.

use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

const TRACEFS: &str = "/sys/kernel/tracing";

/// The mounts of the calling thread, and of the threads and processes that it starts later. The kernel removes them
/// with the last of these.
#[derive(Debug)]
pub struct PrivateMounts(());

impl PrivateMounts {
    /// Enters a mount namespace with a copy of all mounts. Changes stay inside it.
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
    /// Fails if the kernel does not know the options.
    pub fn proc(&self, options: &str) -> Result<()> {
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), Some(options))
            .with_context(|| format!("mount a procfs with {options}"))
    }

    /// Mounts an empty file system over `path`.
    ///
    /// # Errors
    /// Fails if the kernel refuses the mount.
    pub fn empty(&self, path: &Path) -> Result<()> {
        let none: Option<&str> = None;
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), none)
            .with_context(|| format!("mount a tmpfs over {}", path.display()))
    }

    /// Mounts tracefs at its usual path, unless it is mounted.
    ///
    /// # Errors
    /// Fails if the kernel has no tracefs.
    pub fn tracefs(&self) -> Result<()> {
        let none: Option<&str> = None;
        match mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), none) {
            // It is mounted.
            Ok(()) | Err(Errno::EBUSY) => Ok(()),
            Err(error) => Err(error).context("mount tracefs"),
        }
    }

    /// Hides tracefs at its usual path.
    ///
    /// # Errors
    /// Fails if the kernel refuses the mount.
    pub fn no_tracefs(&self) -> Result<()> {
        self.empty(Path::new(TRACEFS))
    }

    /// Mounts an empty file system in memory at `path`.
    ///
    /// # Errors
    /// Fails if the kernel does not know the options.
    pub fn tmpfs(&self, path: &Path, options: &str) -> Result<()> {
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options))
            .with_context(|| format!("mount a tmpfs with {options}"))
    }

    /// Mounts the sysfs of the calling thread's network namespace at `path`, and returns `path`.
    ///
    /// # Errors
    /// Fails if the kernel refuses the mount.
    pub fn sysfs<'a>(&self, path: &'a Path) -> Result<&'a Path> {
        let none: Option<&str> = None;
        mount(Some("sysfs"), path, Some("sysfs"), MsFlags::empty(), none).context("mount sysfs")?;
        Ok(path)
    }

    /// Bind-mounts the file or folder `other` over `path`.
    ///
    /// # Errors
    /// Fails if one of the two is missing.
    pub fn replace(&self, path: &Path, other: &Path) -> Result<()> {
        let none: Option<&str> = None;
        mount(Some(other), path, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("bind {} to {}", other.display(), path.display()))
    }
}
