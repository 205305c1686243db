//! Private network namespaces: each test sees its own sockets and no others.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::Write;
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};

/// The namespace of the calling thread, not of its process (which is the main thread's).
const THREAD_NETNS: &str = "/proc/thread-self/ns/net";

/// A fresh network namespace that the current thread is in.
///
/// Threads and processes started from this thread inherit it. Dropping it returns the thread to its previous
/// namespace. The kernel destroys the new one, with its sockets, after the last thread, process and socket in it.
#[derive(Debug)]
pub struct Namespace {
    origin: File,
    inum: u64,
    /// A namespace belongs to a thread: neither `Send` nor `Sync`.
    thread_bound: PhantomData<*const ()>,
}

impl Namespace {
    /// Enters a new network namespace with the calling thread, and sets its `lo` up.
    ///
    /// # Errors
    /// Fails without `CAP_SYS_ADMIN`, or when `ip` (iproute2) is missing.
    pub fn enter() -> Result<Self> {
        let origin = File::open(THREAD_NETNS).context(THREAD_NETNS)?;
        unshare(CloneFlags::CLONE_NEWNET).context("unshare(CLONE_NEWNET)")?;
        // From here dropping `namespace` returns to the previous one, also if a later step fails.
        let mut namespace = Self { origin, inum: 0, thread_bound: PhantomData };
        namespace.inum = current_inum()?;
        if Path::new("/proc/sys/net/ipv6").exists() {
            // Addresses are usable at once, without any packet to neighbours.
            for scope in ["all", "default"] {
                namespace.set_sysctl(&format!("net.ipv6.conf.{scope}.accept_dad"), 0)?;
                namespace.set_sysctl(&format!("net.ipv6.conf.{scope}.router_solicitations"), 0)?;
            }
        }
        namespace.ip(&["link set lo up"])?;
        Ok(namespace)
    }

    /// The inode number of the namespace: `net.ns.inum` in the kernel.
    #[must_use]
    pub fn inum(&self) -> u64 {
        self.inum
    }

    /// `/proc/thread-self/net/<file>`: means this namespace when opened by a thread inside it.
    #[must_use]
    pub fn procfs_net(&self, file: &str) -> PathBuf {
        Path::new("/proc/thread-self/net").join(file)
    }

    /// Sets a `net.*` sysctl of this namespace; dots separate the parts of the name.
    ///
    /// # Errors
    /// Fails for a name outside `net.` (those are the machine's), and when the kernel refuses it.
    pub fn set_sysctl(&self, name: &str, value: impl Display) -> Result<()> {
        ensure!(name.starts_with("net."), "{name}: only net.* belongs to a network namespace");
        let path = sysctl_path(name);
        fs::write(&path, value.to_string())
            .with_context(|| format!("write {value} to {}", path.display()))
    }

    /// Reads a `net.*` sysctl of this namespace.
    ///
    /// # Errors
    /// Fails when there is no such sysctl.
    pub fn sysctl(&self, name: &str) -> Result<String> {
        let path = sysctl_path(name);
        let value = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(value.trim().to_owned())
    }

    /// Runs commands of `ip` (iproute2) in this namespace, in one process; the first that fails
    /// stops the rest.
    ///
    /// # Errors
    /// Fails with what `ip` said.
    pub fn ip(&self, commands: &[&str]) -> Result<()> {
        ip(commands)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A thread in the wrong namespace would falsify everything that follows.
        setns(&self.origin, CloneFlags::CLONE_NEWNET).expect("return to the namespace of origin");
    }
}

/// As [`Namespace::ip`], in the network namespace of the calling thread.
///
/// # Errors
/// Fails with what `ip` said.
pub fn ip(commands: &[&str]) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start `ip` (iproute2)")?;
    let mut input = child.stdin.take().context("stdin of `ip`")?;
    input.write_all(commands.join("\n").as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("ip {commands:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The inode number of the calling thread's network namespace.
///
/// # Errors
/// Fails when `/proc` is not mounted.
pub fn current_inum() -> Result<u64> {
    Ok(fs::metadata(THREAD_NETNS).context(THREAD_NETNS)?.ino())
}

/// Runs `work` in the network namespace of an open file, on a thread of its own that ends with it. Sockets and
/// processes that it makes are of that namespace.
///
/// # Errors
/// Fails when `work` fails or panics, and without `CAP_SYS_ADMIN`.
pub fn within<T: Send>(namespace: &File, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let inside = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
        work()
    };
    let done = thread::scope(|scope| scope.spawn(inside).join());
    done.map_err(|_| anyhow!("the work in another namespace panicked"))?
}

/// Work for the thread in another network namespace.
type Job = Box<dyn FnOnce() + Send>;

/// A thread that keeps something alive in another network namespace.
#[derive(Debug)]
pub struct Elsewhere {
    inum: u64,
    jobs: Option<Sender<Job>>,
    keeper: Option<JoinHandle<()>>,
}

impl Elsewhere {
    /// The inode number of that other namespace.
    #[must_use]
    pub fn inum(&self) -> u64 {
        self.inum
    }

    /// Runs `work` in that namespace. Sockets and processes that it makes are of it wherever they are
    /// kept, and keep it alive.
    ///
    /// # Errors
    /// Fails when `work` fails or panics.
    pub fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (report, reported) = channel();
        // The receiver waits for the report.
        let job: Job = Box::new(move || drop(report.send(work())));
        let jobs = self.jobs.as_ref().context("it is being dropped")?;
        jobs.send(job).ok().context("earlier work in another namespace panicked")?;
        reported.recv().context("the work in another namespace panicked")?
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(Err(_)) = self.keeper.take().map(JoinHandle::join) {
            eprintln!("what was kept in another namespace panicked when it was dropped");
        }
    }
}

/// Runs `work` in another fresh namespace, on another thread, and keeps what it returns (sockets,
/// say) alive there until the guard is dropped.
///
/// # Errors
/// Fails if `work` fails or panics, or if no other namespace can be created.
pub fn elsewhere<T, F>(work: F) -> Result<Elsewhere>
where
    T: 'static,
    F: FnOnce(&Namespace) -> Result<T> + Send + 'static,
{
    let (report, reported) = channel();
    let (jobs, given) = channel::<Job>();
    let keeper = thread::spawn(move || {
        let started = Namespace::enter().and_then(|namespace| {
            let kept = work(&namespace)?;
            Ok((namespace, kept))
        });
        // The receiver waits for the report.
        let _ = match started {
            Err(error) => report.send(Err(error)),
            // Dropped from the last to the first: what is kept, then the namespace.
            Ok((namespace, _kept)) => {
                let sent = report.send(Ok(namespace.inum()));
                // This ends when the guard lets go of its sender.
                for job in given {
                    job();
                }
                sent
            }
        };
    });
    let inum = reported.recv().context("the work in another namespace panicked")??;
    Ok(Elsewhere { inum, jobs: Some(jobs), keeper: Some(keeper) })
}

fn sysctl_path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}
