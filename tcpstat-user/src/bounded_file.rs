//! Files that a flag or a configuration names, read up to a bound: what is there is not known.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Longest file that is read, in bytes; a chain of certificates has a few thousand.
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

/// The bytes of the file at `path`, at most one more than [`MAX_BYTES`].
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
