//! Why a program does not run, and what would help: one line each.

use std::{error::Error, io};

use aya::{programs::trace_point::TracePointError, util::KernelVersion};
use thiserror::Error;

use super::btf::BtfError;

/// Why a program does not run.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The build had no BPF object.
    #[error("this binary was built without the tracer; `cargo xtask build` makes one with it")]
    NoObject,
    /// The object is not that of this version.
    #[error("the BPF object has no `{0}`")]
    WrongObject(&'static str),
    /// The kernel's types cannot be read, or lack one.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The classic record is laid out otherwise than the program expects.
    #[error("the record of sock:inet_sock_set_state has `{field}` at byte {found}, not {expected}")]
    RecordLayout {
        /// The record's field.
        field: &'static str,
        /// Where the kernel has it.
        found: u32,
        /// Where the program reads it.
        expected: usize,
    },
    /// The kernel said no.
    #[error("{step}: {cause}")]
    Refused {
        /// What was being done.
        step: &'static str,
        /// The cause in one line; the verifier's log is in the source only.
        cause: String,
        /// What would help.
        remedy: &'static str,
        /// All of it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl LoadError {
    /// Cause and remedy, in one line.
    #[must_use]
    pub fn with_remedy(&self) -> String {
        format!("{self}; {}", self.remedy())
    }

    /// What would help, in one line.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoObject | Self::WrongObject(_) => "run `cargo xtask build`",
            Self::Btf(BtfError::Unreadable { .. }) => {
                "mount /sys, or run a kernel built with CONFIG_DEBUG_INFO_BTF=y"
            }
            Self::Btf(_) | Self::RecordLayout { .. } => "report it with the output of `uname -r`",
            Self::Refused { remedy, .. } => remedy,
        }
    }
}

/// One line of cause and one of remedy from whatever aya reports.
pub(super) fn refusal(step: &'static str, source: Box<dyn Error + Send + Sync>) -> LoadError {
    let no_tracefs = chain(source.as_ref()).any(<dyn Error>::is::<TracePointError>);
    let os = chain(source.as_ref()).filter_map(|error| error.downcast_ref::<io::Error>()).last();
    let denied = os.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    let remedy = match (no_tracefs, denied, step) {
        (true, ..) => "mount it: `mount -t tracefs tracefs /sys/kernel/tracing`",
        (_, true, "attaching the program") => {
            "grant CAP_PERFMON and set kernel.perf_event_paranoid to 2 or less, or run as root"
        }
        (_, true, _) if charges_memlock() => {
            "grant CAP_BPF and CAP_PERFMON and raise RLIMIT_MEMLOCK (`ulimit -l unlimited`), or run as root"
        }
        (_, true, _) => "grant CAP_BPF and CAP_PERFMON, or run as root",
        _ => "run with `--log.level debug` for all of the kernel's answer",
    };
    let cause = os.map_or_else(
        || source.to_string().lines().next().unwrap_or_default().to_owned(),
        ToString::to_string,
    );
    LoadError::Refused { step, cause, remedy, source }
}

/// Whether the kernel charges maps to RLIMIT_MEMLOCK, which is 64 KiB by default: before 5.11. aya
/// raises it where it may.
fn charges_memlock() -> bool {
    KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(5, 11, 0))
}

/// An error and what it came from.
fn chain<'a>(
    error: &'a (dyn Error + Send + Sync + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let first: &'a (dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error: &&'a (dyn Error + 'static)| (*error).source())
}
