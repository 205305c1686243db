//! Reads from /proc what concerns this process: the values of the `process_*` metrics, capabilities, descriptors.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    path::{Path, PathBuf},
};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use procfs::{ProcError, WithCurrentSystemInfo, process::Process};

use super::{Procfs, ProcfsError, file::read_to_string, root::own_process};

/// Values of the `process_*` metrics of Prometheus' client libraries.
#[derive(Clone, Copy, Debug)]
pub struct ProcessStatus {
    /// User and system CPU time in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Virtual memory in bytes.
    pub virtual_bytes: u64,
    /// Time of the start, in seconds since the Unix epoch.
    pub start_time_seconds: f64,
    /// Number of open file descriptors.
    pub open_fds: u64,
    /// Soft limit of open file descriptors; `None` if there is no limit.
    pub max_fds: Option<u64>,
}

impl ProcessStatus {
    /// Reads the values of this process, always at the default path.
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

    /// The directory that [`ProcessStatus::read`] uses, for error messages.
    #[must_use]
    pub fn path() -> PathBuf {
        Path::new(Procfs::DEFAULT_ROOT).join("self")
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The effective capabilities of this process.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`].
    pub fn effective() -> Result<Self, ProcfsError> {
        let status = Process::myself().and_then(|process| process.status()).map_err(unreadable)?;
        Ok(Self(status.capeff))
    }

    /// The capabilities in a bit mask such as `CapEff` in /proc/PID/status.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether it has CAP_BPF, or CAP_SYS_ADMIN, which includes it.
    #[must_use]
    pub fn bpf(self) -> bool {
        self.has(CAP_BPF) || self.sys_admin()
    }

    /// Whether it has CAP_PERFMON, or CAP_SYS_ADMIN, which includes it.
    #[must_use]
    pub fn perfmon(self) -> bool {
        self.has(CAP_PERFMON) || self.sys_admin()
    }

    /// Whether it has CAP_SYS_ADMIN.
    #[must_use]
    pub fn sys_admin(self) -> bool {
        self.has(CAP_SYS_ADMIN)
    }

    /// Whether it has CAP_DAC_OVERRIDE or CAP_DAC_READ_SEARCH: the process can read files of other users.
    #[must_use]
    pub fn reads_all(self) -> bool {
        self.has(CAP_DAC_OVERRIDE) || self.has(CAP_DAC_READ_SEARCH)
    }

    fn has(self, capability: u32) -> bool {
        self.0 >> capability & 1 == 1
    }
}

impl Procfs {
    /// The number of events that the kernel skipped for a BPF program since it was loaded, from the program's
    /// fdinfo at the default path. `None` before 5.12, where fdinfo has no such number.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`], [`ProcfsError::Unexpected`].
    pub fn recursion_misses(program: BorrowedFd<'_>) -> Result<Option<u64>, ProcfsError> {
        let path = own_process().join(format!("fdinfo/{}", program.as_raw_fd()));
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

/// The soft limit of open files. getrlimit(2) costs less than reading /proc.
fn max_fds() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

// include/uapi/linux/capability.h
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

fn unreadable(error: ProcError) -> ProcfsError {
    ProcfsError::Unreadable { path: ProcessStatus::path(), cause: io::Error::other(error) }
}
