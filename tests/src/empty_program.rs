//! A BPF program that does nothing at every event of a tracepoint, and the time that the kernel measures for
//! programs: the difference is the time of a program's own work.

#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper here")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Error, Result, bail};

use crate::bpf_call;

// include/uapi/linux/bpf.h
const BPF_PROG_LOAD: i32 = 5;
const BPF_RAW_TRACEPOINT_OPEN: i32 = 17;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// `r0 = 0` and `exit`.
const INSTRUCTIONS: [u64; 2] = [0xb7, 0x95];

const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The program is attached until this is dropped.
#[derive(Debug)]
pub struct EmptyProgram {
    program: OwnedFd,
    _link: OwnedFd,
}

/// `union bpf_attr` for `BPF_PROG_LOAD`, only the fields in use.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// `union bpf_attr` for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct Open {
    name: u64,
    prog_fd: u32,
    padding: u32,
}

impl EmptyProgram {
    /// Attaches one to the tracepoint of TCP's transitions.
    ///
    /// # Errors
    /// Fails if bpf(2) is refused.
    pub fn attach() -> Result<Self> {
        let load = Load {
            prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
            insn_cnt: 2,
            insns: INSTRUCTIONS.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
        };
        // SAFETY: the attributes are those of the command; instructions and licence are static.
        let program = unsafe { bpf_call::open(BPF_PROG_LOAD, &load) }.context("BPF_PROG_LOAD")?;
        let open = Open {
            name: c"inet_sock_set_state".as_ptr() as u64,
            prog_fd: program.as_raw_fd().unsigned_abs(),
            padding: 0,
        };
        // SAFETY: the attributes are those of the command; the name is static.
        let link = unsafe { bpf_call::open(BPF_RAW_TRACEPOINT_OPEN, &open) };
        Ok(Self { program, _link: link.context("BPF_RAW_TRACEPOINT_OPEN")? })
    }

    /// Its runs so far.
    ///
    /// # Errors
    /// As [`Runs::of`].
    pub fn runs(&self) -> Result<Runs> {
        let runs = Runs::of(&format!("/proc/self/fdinfo/{}", self.program.as_raw_fd()))?;
        runs.map(|(_, runs)| runs).context("no program")
    }
}

/// The runs of a program while the kernel counts them, and their nanoseconds, including the reading of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Their number.
    pub count: u64,
    /// Their duration.
    pub nanoseconds: u64,
}

impl Runs {
    /// The runs of each program of that process, by the id of the program.
    ///
    /// # Errors
    /// Fails if its descriptors are not readable.
    pub fn of_process(pid: u32) -> Result<BTreeMap<u64, Self>> {
        let folder = format!("/proc/{pid}/fdinfo");
        let mut all = BTreeMap::new();
        for file in fs::read_dir(&folder).with_context(|| folder.clone())? {
            let runs = match Self::of(&file?.path().to_string_lossy()) {
                // The process has closed it meanwhile.
                Err(error) if is_missing(&error) => None,
                runs => runs?,
            };
            all.extend(runs);
        }
        Ok(all)
    }

    /// Nanoseconds of one run of the program that ran most often between two times of [`Runs::of_process`].
    ///
    /// # Errors
    /// Fails if none ran.
    pub fn each_of_busiest(
        earlier: &BTreeMap<u64, Self>,
        later: &BTreeMap<u64, Self>,
    ) -> Result<f64> {
        let both = later.iter().filter_map(|(id, later)| Some((earlier.get(id)?, later)));
        let busiest = both.max_by_key(|(earlier, later)| later.count - earlier.count);
        let (earlier, later) = busiest.context("the process has no program")?;
        later.each_since(*earlier)
    }

    /// Parses an fdinfo; `None` if it does not belong to a program.
    fn of(path: &str) -> Result<Option<(u64, Self)>> {
        let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
        let field = |name| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.map(|value| value.trim().parse()).transpose().with_context(|| path.to_owned())
        };
        let (Some(id), Some(count), Some(nanoseconds)) =
            (field("prog_id:")?, field("run_cnt:")?, field("run_time_ns:")?)
        else {
            return Ok(None);
        };
        Ok(Some((id, Self { count, nanoseconds })))
    }

    /// Nanoseconds of one run since `earlier`.
    ///
    /// # Errors
    /// Fails if there was no run.
    #[expect(clippy::cast_precision_loss, reason = "figures are far below 2^52")]
    pub fn each_since(self, earlier: Self) -> Result<f64> {
        let count = self.count - earlier.count;
        if count == 0 {
            bail!("the program did not run");
        }
        Ok((self.nanoseconds - earlier.nanoseconds) as f64 / count as f64)
    }
}

fn is_missing(error: &Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Makes the kernel measure the time of programs until this is dropped.
#[derive(Debug)]
pub struct Statistics {
    before: String,
}

impl Statistics {
    /// Turns it on.
    ///
    /// # Errors
    /// Fails without `CAP_SYS_ADMIN`.
    pub fn enable() -> Result<Self> {
        let before = fs::read_to_string(STATISTICS).context(STATISTICS)?;
        fs::write(STATISTICS, "1").context(STATISTICS)?;
        Ok(Self { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        if let Err(error) = fs::write(STATISTICS, &self.before) {
            eprintln!("{STATISTICS} stays 1: {error}");
        }
    }
}
