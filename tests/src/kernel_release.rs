//! The release of the running kernel.

use std::fs;

use anyhow::{Context, Result};

/// As `uname -r` prints it.
///
/// # Errors
/// Fails if `/proc` cannot be read.
pub fn kernel_release() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
    Ok(release.trim().to_owned())
}

/// The first two numbers of the running kernel's release, such as 5 and 10.
///
/// # Errors
/// Fails if `/proc` cannot be read, or if the release does not begin with two numbers.
pub fn kernel_series() -> Result<(u32, u32)> {
    series(&kernel_release()?)
}

/// Whether network namespaces have cookies, as they have since Linux 5.12. Before, a namespace is known by its inode number: if
/// that comes again before the next search, the transitions go on, under the same name.
///
/// # Errors
/// As [`kernel_series`].
pub fn namespaces_have_cookies() -> Result<bool> {
    Ok(kernel_series()? >= (5, 12))
}

/// The first two numbers of `release`.
///
/// # Errors
/// Fails if it does not begin with two numbers.
pub(crate) fn series(release: &str) -> Result<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(str::parse);
    let mut number = || numbers.next().context("a number")?.with_context(|| release.to_owned());
    Ok((number()?, number()?))
}
