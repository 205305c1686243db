//! Opens and reads files of procfs, with bounds on bytes and time.
//!
//! A path below a root that a user chooses can lead to a FIFO, a device, or a file system of another
//! process (FUSE). Only regular files are read. Each function states its bounds. A read(2) that never returns
//! (a file system that hangs) is not interrupted, because the kernel does not allow it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    sys::statfs::{PROC_SUPER_MAGIC, fstatfs},
};

use super::ProcfsError;

/// Bound for files that are not tables. The largest one, uid_map, has 340 lines of 33 bytes.
const SMALL_BYTES: usize = 64 * 1024;

/// Bound for a table outside procfs whose file system reports no size.
const UNSIZED_TABLE_BYTES: u64 = 64 * 1024 * 1024;

/// Bound of the time to read a file outside procfs, checked between two reads.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// A table of sockets, read in parts.
///
/// On procfs it has no bound, because the kernel ends it. Elsewhere at most as many bytes are read as the
/// file had when it was opened (64 MiB if its file system reports no size), for at most five seconds.
pub(super) struct Table {
    file: File,
    path: PathBuf,
    bound: Option<Bound>,
}

struct Bound {
    bytes_left: u64,
    deadline: Instant,
    /// Whether `bytes_left` began as the size of the file. Then 0 is its end.
    sized: bool,
}

impl Table {
    /// Opens the table at `path`.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`], [`ProcfsError::NotRegular`].
    pub(super) fn open(path: &Path) -> Result<Self, ProcfsError> {
        let (file, size) = open(path)?;
        let on_procfs = fstatfs(&file).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC);
        let bound = (!on_procfs).then(|| Bound {
            bytes_left: if size > 0 { size } else { UNSIZED_TABLE_BYTES },
            deadline: Instant::now() + TIME_LIMIT,
            sized: size > 0,
        });
        Ok(Self { file, path: path.to_owned(), bound })
    }

    /// Reads the next part into `buffer`. Returns the number of bytes, 0 at the end.
    ///
    /// # Errors
    /// [`ProcfsError::Unreadable`], [`ProcfsError::TooLong`], [`ProcfsError::TooSlow`].
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ProcfsError> {
        let Some(bound) = &mut self.bound else { return read(&mut self.file, &self.path, buffer) };
        if Instant::now() >= bound.deadline {
            return Err(ProcfsError::TooSlow { path: self.path.clone(), limit: TIME_LIMIT });
        }
        let most = usize::try_from(bound.bytes_left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 && !bound.sized {
            let path = self.path.clone();
            return Err(ProcfsError::TooLong { path, limit: UNSIZED_TABLE_BYTES });
        }
        let count = read(&mut self.file, &self.path, &mut buffer[..most])?;
        bound.bytes_left -= count as u64;
        Ok(count)
    }
}

/// The text of a file that is not a table. Reads at most 64 KiB, for at most five seconds.
///
/// # Errors
/// [`ProcfsError`], except for `Empty`.
pub(super) fn read_to_string(path: &Path) -> Result<String, ProcfsError> {
    String::from_utf8(read_all(path)?).map_err(|error| ProcfsError::Unreadable {
        path: path.to_owned(),
        cause: io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()),
    })
}

/// The bytes of a file that is not a table, with the bounds of [`read_to_string`].
///
/// # Errors
/// [`ProcfsError`], except for `Empty`.
pub(super) fn read_all(path: &Path) -> Result<Vec<u8>, ProcfsError> {
    let (mut file, _) = open(path)?;
    let deadline = Instant::now() + TIME_LIMIT;
    let mut bytes = vec![0; 4096];
    let mut filled = 0;
    loop {
        if filled == bytes.len() {
            if filled >= SMALL_BYTES {
                return Err(ProcfsError::TooLong {
                    path: path.to_owned(),
                    limit: SMALL_BYTES as u64,
                });
            }
            bytes.resize(filled * 2, 0);
        }
        match read(&mut file, path, &mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
        if Instant::now() >= deadline {
            return Err(ProcfsError::TooSlow { path: path.to_owned(), limit: TIME_LIMIT });
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The file and its size in bytes. With O_NONBLOCK opening a FIFO does not wait for a writer.
fn open(path: &Path) -> Result<(File, u64), ProcfsError> {
    let unreadable = |cause| ProcfsError::Unreadable { path: path.to_owned(), cause };
    // std adds O_CLOEXEC.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = opened.map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok((file, metadata.len()));
    }
    let kind = if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_char_device() {
        "a character device"
    } else if kind.is_block_device() {
        "a block device"
    } else {
        "a special file"
    };
    Err(ProcfsError::NotRegular { path: path.to_owned(), kind })
}

fn read(file: &mut File, path: &Path, buffer: &mut [u8]) -> Result<usize, ProcfsError> {
    loop {
        match file.read(buffer) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(ProcfsError::Unreadable { path: path.to_owned(), cause }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_longer_than_its_bound_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sockstat");
        fs::write(&path, "x".repeat(SMALL_BYTES - 1)).unwrap();
        assert_eq!(read_to_string(&path).unwrap().len(), SMALL_BYTES - 1);
        fs::write(&path, "x".repeat(SMALL_BYTES + 1)).unwrap();
        let error = read_to_string(&path).unwrap_err();
        assert!(matches!(error, ProcfsError::TooLong { limit: 65_536, .. }), "{error}");
    }

    #[test]
    fn a_table_that_grows_while_it_is_read_ends_at_the_size_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tcp");
        fs::write(&path, "one\n").unwrap();
        let mut table = Table::open(&path).unwrap();
        fs::write(&path, "one\ntwo\n").unwrap();
        let mut buffer = [0; 64];
        assert_eq!(table.read(&mut buffer).unwrap(), 4);
        assert_eq!(table.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn a_table_outside_procfs_has_a_time_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tcp");
        fs::write(&path, "one\n").unwrap();
        let mut table = Table::open(&path).unwrap();
        table.bound.as_mut().unwrap().deadline = Instant::now();
        let error = table.read(&mut [0; 64]).unwrap_err();
        assert!(matches!(error, ProcfsError::TooSlow { .. }), "{error}");
    }

    #[test]
    fn a_device_or_directory_is_refused_and_named() {
        for (path, kind) in [("/dev/zero", "a character device"), ("/", "a directory")] {
            let error = read_to_string(Path::new(path)).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{path}: this is {kind}")), "{error}");
        }
    }
}
