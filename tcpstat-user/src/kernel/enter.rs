//! A thread in another network namespace. The rest of this process stays where it is.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::mpsc::{RecvError, channel},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sched::{CloneFlags, setns},
};
use thiserror::Error;

use super::capabilities::Kept;
use crate::procfs::{Capabilities, Procfs, ProcfsError};

/// Why a thread cannot enter a network namespace.
#[derive(Debug, Error)]
pub(crate) enum EnterError {
    /// The file cannot be opened.
    #[error("{}: {cause}{}", path.display(), open_remedy(cause))]
    Open { path: PathBuf, cause: io::Error },
    /// The file is something else.
    #[error(
        "{}: this is not a network namespace: use a file that `ip netns add` made, or PATH/PID/ns/net of a process",
        path.display()
    )]
    NotNetns { path: PathBuf },
    /// setns(2) failed.
    #[error("{}: entering this network namespace: {cause}{remedy}", path.display())]
    Refused { path: PathBuf, cause: io::Error, remedy: &'static str },
    /// The thread cannot be started.
    #[error("starting a thread: {0}: raise the limit on tasks (RLIMIT_NPROC, TasksMax=, pids.max)")]
    Thread(#[from] io::Error),
    /// The procfs does not show the thread.
    #[error(transparent)]
    Procfs(#[from] ProcfsError),
    /// A defect in this program.
    #[error("the thread in the network namespace panicked")]
    Panicked(#[from] RecvError),
}

/// Starts a thread that enters the network namespace at `path` and stays there until this process ends. Returns
/// the directory of the thread in `procfs`, a mount, which lists the sockets of that namespace. It needs
/// CAP_SYS_ADMIN.
///
/// # Errors
/// [`EnterError`]. Then no thread stays.
pub(crate) fn enter(path: &Path, procfs: &Procfs) -> Result<Procfs, EnterError> {
    let file = open(path)?;
    let (report, entered) = channel();
    let (path, procfs) = (path.to_owned(), procfs.clone());
    thread::Builder::new().name("netns".into()).spawn(move || {
        let entered = set_netns(file, path).and_then(|()| Ok(procfs.of_this_thread()?));
        let stays = entered.is_ok();
        // It only waits from now on. That its capabilities cannot be given up is reported elsewhere.
        let _ = Kept::NONE.keep();
        // The receiver waits for the report.
        let _ = report.send(entered);
        if stays {
            loop {
                thread::park();
            }
        }
    })?;
    entered.recv()?
}

/// With O_NONBLOCK opening a FIFO does not wait for a writer.
fn open(path: &Path) -> Result<File, EnterError> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    opened.map_err(|cause| EnterError::Open { path: path.to_owned(), cause })
}

fn set_netns(file: File, path: PathBuf) -> Result<(), EnterError> {
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|cause| match cause {
        Errno::EINVAL => EnterError::NotNetns { path },
        Errno::EPERM => EnterError::Refused { path, cause: cause.into(), remedy: remedy() },
        _ => EnterError::Refused { path, cause: cause.into(), remedy: "" },
    })
}

/// What to do if the file cannot be opened.
fn open_remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => {
            ": `ip netns list` shows the names in /run/netns; PATH/PID/ns/net of a process works too"
        }
        io::ErrorKind::PermissionDenied => {
            ": run as root, or grant CAP_SYS_ADMIN, and CAP_SYS_PTRACE for PATH/PID/ns/net of another user's process"
        }
        _ => "",
    }
}

/// The remedy for EPERM.
fn remedy() -> &'static str {
    if Capabilities::effective().is_ok_and(Capabilities::sys_admin) {
        ": let the seccomp filter of this process allow setns (RestrictNamespaces=no in a unit), or run in the \
         initial user namespace"
    } else {
        ": grant CAP_SYS_ADMIN, or let root start tcpstat in it (ip netns exec NAME tcpstat)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(path: &Path) -> String {
        enter(path, &Procfs::new(Procfs::DEFAULT_ROOT)).unwrap_err().to_string()
    }

    #[test]
    fn a_path_that_is_no_network_namespace_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let remedy = ": `ip netns list` shows the names in /run/netns; PATH/PID/ns/net of a process works too";
        let cause = "No such file or directory (os error 2)";
        assert_eq!(error(&missing), format!("{}: {cause}{remedy}", missing.display()));
        let start = format!("{}: this is not a network namespace", folder.path().display());
        assert!(error(folder.path()).starts_with(&start));
    }
}
