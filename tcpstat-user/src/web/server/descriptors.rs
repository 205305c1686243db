//! How many descriptors there are, and how many of them connections may take.

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use thiserror::Error;

/// Kept back for this process' own work: listeners, programs and maps of two tracers while one takes the
/// place of the other, files of /proc, the textfile, the runtime.
const RESERVE: u64 = 48;

/// Connections that are accepted however few descriptors there are.
const FEWEST: usize = 4;

/// Why the limit could not be raised.
#[derive(Clone, Copy, Debug, Error)]
#[error("RLIMIT_NOFILE: {errno}: {soft} descriptors may be open")]
pub struct DescriptorError {
    /// What the system said.
    pub errno: Errno,
    /// The limit that stays; 0 where it is not known.
    pub soft: u64,
}

/// Raises the soft limit on open descriptors to the hard one, and gives it.
///
/// # Errors
/// [`DescriptorError`].
pub fn raise_descriptor_limit() -> Result<u64, DescriptorError> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(|errno| DescriptorError { errno, soft: 0 })?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
            .map_err(|errno| DescriptorError { errno, soft })?;
    }
    Ok(hard)
}

/// Connections that there may be where `descriptors` may be open.
pub(super) fn connections(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(RESERVE)).unwrap_or(usize::MAX).max(FEWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_work_keeps_its_descriptors() {
        assert_eq!(connections(1024), 976);
        assert_eq!(connections(64), 16);
        assert_eq!(connections(0), 4);
        assert_eq!(connections(u64::MAX), usize::try_from(u64::MAX - 48).unwrap());
    }
}
