//! What /proc tells of this process: the `process_*` metrics, its capabilities, its descriptors.

use std::{
    io,
    os::fd::RawFd,
    path::{Path, PathBuf},
};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use procfs::{ProcError, WithCurrentSystemInfo, process::Process};

use super::{Procfs, ProcfsError, read_to_string};

/// What Prometheus' client libraries report of their process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessStatus {
    /// User and system CPU time.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Virtual memory.
    pub virtual_bytes: u64,
    /// Start, in seconds since the epoch.
    pub start_time_seconds: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The soft limit on them; `None` for unlimited.
    pub max_fds: Option<u64>,
}

impl ProcessStatus {
    /// Reads it, always from the default procfs: it is of this process, not of what is watched.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`].
    #[expect(clippy::cast_precision_loss, reason = "seconds of a process' life are exact in f64")]
    pub fn read() -> Result<Self, ProcfsError> {
        let read = || -> Result<Self, ProcError> {
            let process = Process::myself()?;
            let stat = process.stat()?;
            let ticks = procfs::ticks_per_second() as f64;
            Ok(Self {
                cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
                resident_bytes: stat.rss_bytes().get(),
                virtual_bytes: stat.vsize,
                start_time_seconds: procfs::boot_time_secs()? as f64
                    + stat.starttime as f64 / ticks,
                open_fds: process.fd_count()? as u64,
                max_fds: max_fds(),
            })
        };
        read().map_err(unreadable)
    }

    /// The folder that it is read from.
    #[must_use]
    pub fn path() -> PathBuf {
        Path::new(Procfs::DEFAULT_ROOT).join("self")
    }
}

/// The capabilities that matter here, of the effective set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// CAP_BPF, or CAP_SYS_ADMIN which contains it.
    pub bpf: bool,
    /// CAP_PERFMON, likewise.
    pub perfmon: bool,
}

impl Capabilities {
    /// Those of this process.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`].
    pub fn effective() -> Result<Self, ProcfsError> {
        let status = Process::myself().and_then(|process| process.status()).map_err(unreadable)?;
        let has = |capability: u32| status.capeff >> capability & 1 == 1;
        let admin = has(CAP_SYS_ADMIN);
        Ok(Self { bpf: admin || has(CAP_BPF), perfmon: admin || has(CAP_PERFMON) })
    }
}

impl Procfs {
    /// How many events the kernel skipped for the BPF program `program_fd` of this process; `None`
    /// before 5.12, which does not tell.
    ///
    /// # Errors
    /// [`ProcfsError`].
    pub fn recursion_misses(&self, program_fd: RawFd) -> Result<Option<u64>, ProcfsError> {
        let path = self.root().join(format!("self/fdinfo/{program_fd}"));
        let text = read_to_string(&path)?;
        let Some(value) = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))
        else {
            return Ok(None);
        };
        value.trim().parse().map(Some).map_err(|_| ProcfsError::Unexpected {
            path,
            field: "recursion_misses",
            value: value.trim().to_owned(),
        })
    }
}

/// The soft limit on open files; asked of the system itself, which costs less than the text in /proc.
fn max_fds() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

// include/uapi/linux/capability.h
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

fn unreadable(error: ProcError) -> ProcfsError {
    ProcfsError::Unreadable { path: ProcessStatus::path(), cause: io::Error::other(error) }
}
