//! The limit on descriptors, and how many of them connections may use.

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use thiserror::Error;

/// For everything but connections: listeners, programs and maps of two tracers while one replaces the other,
/// files of /proc, the textfile, the runtime.
const RESERVE: u64 = 48;

/// Connections that are accepted even if there are too few descriptors.
const MIN_CONNECTIONS: usize = 4;

#[derive(Clone, Copy, Debug, Error)]
#[error("cannot raise the limit on open files (RLIMIT_NOFILE): {errno}: it stays at {soft}")]
pub(crate) struct DescriptorError {
    errno: Errno,
    /// The limit, which did not change; 0 if it is not known.
    pub(crate) soft: u64,
}

/// Raises the soft limit on open descriptors to the hard limit, and returns it.
pub(crate) fn raise_descriptor_limit() -> Result<u64, DescriptorError> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(|errno| DescriptorError { errno, soft: 0 })?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
            .map_err(|errno| DescriptorError { errno, soft })?;
    }
    Ok(hard)
}

/// Maximum number of connections of a process that may have `descriptors` open.
pub(super) fn connections(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(RESERVE)).unwrap_or(usize::MAX).max(MIN_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved_for_other_work() {
        assert_eq!(connections(1024), 976);
        assert_eq!(connections(64), 16);
        assert_eq!(connections(0), 4);
        assert_eq!(connections(u64::MAX), usize::try_from(u64::MAX - 48).unwrap());
    }
}
