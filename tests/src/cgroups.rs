//! The cgroup hierarchies of this machine: v2, v1, or both.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::skip::Skip;

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
    mounts_of(&["cgroup ", "cgroup2 "])
}

/// The hierarchies of these types, each with a space after it.
fn mounts_of(types: &[&str]) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let path_of = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let is_cgroup = types.iter().any(|wanted| kind.starts_with(wanted));
        mount.split(' ').nth(4).filter(|_| is_cgroup).map(PathBuf::from)
    };
    Ok(text.lines().filter_map(path_of).collect())
}

/// A cgroup (v2) below the root of the hierarchy, which this process made. Dropping it moves the process back and
/// removes the cgroup.
#[derive(Debug)]
pub struct Cgroup {
    root: PathBuf,
    name: String,
    /// The path of the cgroup that the process was in.
    home: String,
}

impl Cgroup {
    /// Makes one. Its last component begins with the id of this process, and ends with `name`.
    ///
    /// # Errors
    /// A [`Skip`] where no cgroup2 is mounted or none can be made.
    pub fn new(name: &str) -> Result<Self> {
        let root = unified_mount()?;
        let text = fs::read_to_string("/proc/self/cgroup").context("/proc/self/cgroup")?;
        let home = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let name = format!("tcpstat-{}-{name}", std::process::id());
        let cgroup = Self { root, name, home: home.to_owned() };
        if let Err(error) = fs::create_dir(cgroup.folder()) {
            let reason = format!("no cgroup (v2) can be made: {error}");
            return Err(Skip::because(reason).into());
        }
        Ok(cgroup)
    }

    /// Makes one with that name in `parent`.
    ///
    /// # Errors
    /// Fails if that is impossible.
    pub fn below(parent: &Self, name: &str) -> Result<Self> {
        let name = format!("{}/{name}", parent.name);
        let cgroup = Self { root: parent.root.clone(), name, home: parent.home.clone() };
        fs::create_dir(cgroup.folder()).with_context(|| cgroup.path())?;
        Ok(cgroup)
    }

    /// Its path, as the label has it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// Where the hierarchy is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.root
    }

    /// Runs `work` with this process in the cgroup. Sockets that it makes stay in the cgroup.
    ///
    /// # Errors
    /// Fails if the process cannot be moved, and with the error of `work`.
    pub fn inside<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        join(&self.folder())?;
        let done = work();
        join(&self.root.join(&self.home))?;
        done
    }

    /// Moves a process into it. Sockets that the process has made before keep their cgroup.
    ///
    /// # Errors
    /// Fails if the process has ended.
    pub fn take(&self, pid: u32) -> Result<()> {
        let file = self.folder().join("cgroup.procs");
        fs::write(&file, pid.to_string()).with_context(|| file.display().to_string())
    }

    /// Removes the cgroup and makes it again, as the restart of a unit does: it has another id then.
    ///
    /// # Errors
    /// Fails if that is impossible.
    pub fn restart(&self) -> Result<()> {
        fs::remove_dir(self.folder()).with_context(|| self.path())?;
        fs::create_dir(self.folder()).with_context(|| self.path())
    }

    /// Removes the cgroup. Its sockets stay.
    ///
    /// # Errors
    /// Fails if a process is in it.
    pub fn remove(&self) -> Result<()> {
        fs::remove_dir(self.folder()).with_context(|| self.path())
    }

    fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.folder());
    }
}

/// A cgroup whose processes have a limit on their memory, which includes that of BPF maps since Linux 5.11.
#[derive(Debug)]
pub struct MemoryLimit {
    folder: PathBuf,
}

impl MemoryLimit {
    /// Makes one with a limit of so many bytes.
    ///
    /// # Errors
    /// A [`Skip`] where no hierarchy has a controller of memory.
    pub fn new(bytes: u64) -> Result<Self> {
        let name = format!("tcpstat-{}-memory", std::process::id());
        for mount in mounts()? {
            let folder = mount.join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let limit = Self { folder };
            let files = ["memory.max", "memory.limit_in_bytes"];
            let mut files = files.into_iter().map(|file| limit.folder.join(file));
            if let Some(file) = files.find(|file| file.exists()) {
                fs::write(&file, bytes.to_string()).with_context(|| file.display().to_string())?;
                return Ok(limit);
            }
        }
        Err(Skip::because("no cgroup limits memory: mount one with the controller memory").into())
    }

    /// The words of a command that runs the command after them in this cgroup.
    #[must_use]
    pub fn within(&self) -> Vec<String> {
        let procs = self.folder.join("cgroup.procs");
        let script = r#"echo $$ > "$0" && exec "$@""#;
        ["sh", "-c", script, &procs.to_string_lossy()].map(str::to_owned).to_vec()
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

fn join(folder: &Path) -> Result<()> {
    let file = folder.join("cgroup.procs");
    fs::write(&file, std::process::id().to_string()).with_context(|| file.display().to_string())
}

/// Where cgroup2 is mounted.
fn unified_mount() -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let mount = text.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        mount.split(' ').nth(4).filter(|_| kind.starts_with("cgroup2 "))
    });
    mount.map(PathBuf::from).ok_or_else(|| Skip::because("cgroup2 is not mounted").into())
}
