//! Whether a failed test runs once more: only on a kernel that skips events without counting them.
//!
//! Such a kernel makes any test fail that makes transitions, once in millions of them, and nothing shows whether the kernel was
//! the reason: tcpstat-user/docs/kernels.md. Stock kernels, which the guests of the matrix boot, do not, so that no test is repeated
//! there.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel_release::kernel_release;

/// How the release of a kernel that skips events without counting them shows: `6.18.44-fc-v595`.
const SKIPPING: &str = "-fc-";

/// Failed tests of one test binary that are repeated. The kernel is not the reason for more.
const MOST: usize = 3;

/// The failed tests that can still be repeated.
pub(crate) struct Repeats {
    left: AtomicUsize,
}

impl Repeats {
    /// Those of the kernel that runs.
    pub(crate) fn of_this_kernel() -> Self {
        Self::of(&kernel_release().unwrap_or_default())
    }

    fn of(release: &str) -> Self {
        let most = if release.contains(SKIPPING) { MOST } else { 0 };
        Self { left: AtomicUsize::new(most) }
    }

    /// Takes one; `false` if none is left.
    pub(crate) fn take(&self) -> bool {
        self.left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_stock_kernel_no_test_is_repeated() {
        for release in ["7.3.4+deb13-cloud-amd64", "6.1.0-56-arm64", "5.10.0-46-cloud-amd64", ""] {
            assert!(!Repeats::of(release).take(), "{release}");
        }
    }

    #[test]
    fn on_a_kernel_that_skips_events_the_first_failed_tests_are_repeated() {
        let repeats = Repeats::of("6.18.44-fc-v595\n");
        assert_eq!([(); MOST + 1].map(|()| repeats.take()), [true, true, true, false]);
    }
}
