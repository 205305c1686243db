//! Files that a flag or a configuration names, read up to a bound: what is there is not known.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::fcntl::OFlag;

/// Longest file that is read, in bytes; a chain of certificates has a few thousand.
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

/// The bytes of the file at `path`, at most one more than [`MAX_BYTES`].
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    bytes(File::open(path)?)
}

/// As [`read`], for files that are read again and again: a FIFO or a terminal would wait for a writer.
///
/// # Errors
/// If it cannot be read, or is a FIFO, a device, or a socket.
pub(crate) fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    // std adds O_CLOEXEC.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let kind = file.metadata()?.file_type();
    // Reading a directory fails.
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("not a regular file"));
    }
    bytes(file)
}

fn bytes(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
