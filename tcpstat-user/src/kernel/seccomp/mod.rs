//! The seccomp filter of this process: it refuses the system calls that tcpstat never makes.
//!
//! A refused call fails with EPERM, and [`refused::Refusals`] gives its number to the thread that logs it. The process goes on: the
//! call had no effect, and the host keeps its numbers.

mod calls;
mod refused;

use std::{collections::BTreeMap, env::consts::ARCH, io};

use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use thiserror::Error;

pub(crate) use calls::Needs;
pub(super) use refused::refuse;
pub(crate) use refused::{Refusals, name};

/// Why there is no filter.
#[derive(Debug, Error)]
pub(crate) enum SeccompError {
    /// tcpstat has no list for this processor, or a defect.
    #[error("{0}")]
    Build(#[from] BackendError),
    /// The kernel refuses it, or lacks CONFIG_SECCOMP_FILTER.
    #[error("{0}")]
    Install(#[from] seccompiler::Error),
    /// There is no pipe for the numbers, or no handler of SIGSYS.
    #[error("{0}")]
    Report(#[from] io::Error),
}

/// Refuses all system calls but those that a command with these `needs` makes, in the calling thread and in those that it
/// starts from now on. Returns what was refused, and the number of calls that are allowed.
///
/// # Errors
/// [`SeccompError`]. Then nothing is refused.
pub(crate) fn install(needs: Needs) -> Result<(Refusals, usize), SeccompError> {
    let rules = calls::allowed(needs)?;
    let allowed = rules.len();
    let filter = program(rules, SeccompAction::Trap, SeccompAction::Allow)?;
    // With ENOSYS the C library starts threads by clone instead, whose flags a filter can see. The strictest filter decides.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let clone3 =
        program(clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))?;
    let refusals = Refusals::start()?;
    apply_filter(&clone3)?;
    apply_filter(&filter)?;
    Ok((refusals, allowed))
}

fn program(
    rules: calls::Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    SeccompFilter::new(rules, otherwise, matched, ARCH.try_into()?)?.try_into()
}

#[cfg(test)]
mod tests;
