//! Errors of loading and attaching programs, each in one line.

use std::{error::Error, fs, io};

use aya::programs::{ProgramError, trace_point::TracePointError};
use nix::errno::Errno;
use thiserror::Error;
use tracing::debug;

use super::{
    btf::BtfError,
    remedy::{self, Refusal, Tracefs},
    step::{Attachment, Step},
};
use crate::procfs::Privileges;

/// Why a program does not run.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// The binary was built without the BPF object.
    #[error("this binary was built without the tracer; `cargo xtask build` builds one with it")]
    NoObject,
    /// The BPF object lacks this program or map: it is from another version.
    #[error("the BPF object has no `{0}`")]
    WrongObject(&'static str),
    /// The kernel's types cannot be read, or do not fit the program.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel refused a step.
    #[error("{}: {cause}", refusal.step)]
    Refused {
        /// The step, and the facts that choose the remedy.
        refusal: Refusal,
        /// The cause in one line, without the verifier's log.
        cause: String,
        /// The error as aya returned it, with the verifier's log.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl LoadError {
    /// Cause and remedy in one line, as [`LoadError::remedy`] describes it.
    #[must_use]
    pub(crate) fn with_remedy(&self, privileges: &Privileges) -> String {
        format!("{self}; {}", self.remedy(privileges))
    }

    /// What to do, in one line. It asks for nothing that `privileges` already have.
    #[must_use]
    pub(crate) fn remedy(&self, privileges: &Privileges) -> String {
        match self {
            Self::NoObject | Self::WrongObject(_) => "run `cargo xtask build`".to_owned(),
            Self::Btf(BtfError::Unreadable { cause, .. }) if is_short_of_descriptors(cause) => {
                "raise RLIMIT_NOFILE (`ulimit -n`, LimitNOFILE=)".to_owned()
            }
            Self::Btf(BtfError::Unreadable { .. }) => {
                "mount /sys, or run a kernel built with CONFIG_DEBUG_INFO_BTF=y".to_owned()
            }
            Self::Btf(_) => {
                format!("report it with the kernel release, {}", remedy::kernel_release())
            }
            Self::Refused { refusal, .. } => refusal.remedy(privileges),
        }
    }

    fn kernel_log(&self) -> Option<String> {
        match self {
            Self::Refused { source, .. } => verifier_log(source.as_ref()),
            _ => None,
        }
    }

    /// Writes the verifier's log to this process' log, at level debug. Does nothing if there is none.
    pub(crate) fn write_kernel_log(&self) {
        if let Some(log) = self.kernel_log() {
            debug!("{self}: the kernel's log:\n{log}");
        }
    }

    /// Whether the same can succeed later: the kernel lacked memory or descriptors.
    #[must_use]
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused { refusal, .. } => refusal.errno.is_some_and(remedy::is_temporary),
            // Reading the types needs a descriptor.
            Self::Btf(BtfError::Unreadable { cause, .. }) => cause
                .raw_os_error()
                .is_some_and(|errno| remedy::is_temporary(Errno::from_raw(errno))),
            _ => false,
        }
    }
}

fn is_short_of_descriptors(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The error for a refused `step`, from any error that aya returns.
pub(super) fn refusal(step: Step, source: Box<dyn Error + Send + Sync>) -> LoadError {
    let os = chain(source.as_ref()).filter_map(|error| error.downcast_ref::<io::Error>()).last();
    let mut errno = os.and_then(io::Error::raw_os_error).map(Errno::from_raw);
    let (mut cause, mut tracefs) = (os.map(text), None);
    match source.downcast_ref::<ProgramError>() {
        Some(ProgramError::TracePointError(TracePointError::FileError { filename, io_error })) => {
            cause = Some(format!("{}: {io_error}", filename.display()));
            tracefs = Some(Tracefs::of(io_error));
        }
        // aya searches for tracefs, and its error has no number.
        Some(ProgramError::IOError(_)) if step == Step::Attach(Attachment::Tracepoint) => {
            if let Err(error) = fs::read_dir(TRACEFS) {
                cause = Some(format!("{TRACEFS}: {error}"));
                errno = error.raw_os_error().map(Errno::from_raw);
                tracefs = Some(Tracefs::of(&error));
            } else {
                tracefs = Some(Tracefs::Missing);
            }
        }
        _ => {}
    }
    let cause = cause.unwrap_or_else(|| one_line(source.as_ref()));
    let kernel_log = verifier_log(source.as_ref()).is_some();
    LoadError::Refused { refusal: Refusal { step, errno, tracefs, kernel_log }, cause, source }
}

const TRACEFS: &str = "/sys/kernel/tracing";

/// What the kernel answers to a program of a kind that it was built without, as to hooks on ARM64 before 6.4. The number
/// is the kernel's own (include/linux/errno.h): C libraries have no text for it.
const ENOTSUPP: i32 = 524;

fn text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(ENOTSUPP) => format!("this kernel does not support it (os error {ENOTSUPP})"),
        _ => error.to_string(),
    }
}

/// The first line of an error and of each of its sources. A line that another one contains is left out.
fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut joined = String::new();
    for error in chain(error) {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        if joined.is_empty() {
            line.clone_into(&mut joined);
        } else if !joined.contains(line) {
            joined = format!("{joined}: {line}");
        }
    }
    joined
}

/// `None` if the log is empty.
fn verifier_log(error: &(dyn Error + 'static)) -> Option<String> {
    let log = chain(error).find_map(|error| match error.downcast_ref::<ProgramError>() {
        Some(ProgramError::LoadError { verifier_log, .. }) => Some(verifier_log.to_string()),
        _ => None,
    })?;
    (!log.trim().is_empty()).then_some(log)
}

/// An error and its sources.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_without_a_text_of_the_c_library_has_one() {
        let cause = |errno| {
            let error = io::Error::from_raw_os_error(errno);
            refusal(Step::Attach(Attachment::Entry("f")), error.into()).to_string()
        };
        assert!(cause(ENOTSUPP).ends_with(": this kernel does not support it (os error 524)"));
        assert!(cause(libc::EPERM).ends_with(": Operation not permitted (os error 1)"));
    }
}
