//! Removes the temporary files of runs that were killed.
//!
//! A run holds a lock on its temporary file (flock(2)), which ends with the process. A file without a lock is
//! unused.

use std::{
    fs::{self, DirEntry, File, OpenOptions},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use nix::unistd::geteuid;

pub(super) const PREFIX: &str = ".tcpstat-";
pub(super) const SUFFIX: &str = ".tmp";

/// Maximum number of entries of the folder that are checked.
const MAX_ENTRIES: usize = 10_000;

/// Marks `file` as used. On a file system without locks this fails, and no file is removed.
pub(super) fn mark_used(file: &File) {
    // See above.
    let _ = file.try_lock();
}

/// Removes the unused temporary files of this user in `folder`, and returns their number. In the microseconds
/// between the creation and the locking of a file it counts as unused: that write fails, and the next one
/// succeeds.
pub(super) fn remove(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let entries = entries.take(MAX_ENTRIES).filter_map(Result::ok);
    entries.filter(|entry| is_temporary(entry) && remove_unused(entry)).count()
}

fn is_temporary(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.as_bytes();
    name.starts_with(PREFIX.as_bytes()) && name.ends_with(SUFFIX.as_bytes())
}

fn remove_unused(entry: &DirEntry) -> bool {
    // A file that cannot be opened or locked stays.
    let Ok(file) = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(entry.path())
    else {
        return false;
    };
    let own = file
        .metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.uid() == geteuid().as_raw());
    own && file.try_lock().is_ok() && fs::remove_file(entry.path()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_files_and_files_with_other_names_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let used = File::create(path(".tcpstat-used.tmp")).unwrap();
        mark_used(&used);
        for name in [".tcpstat-left.tmp", ".tcpstat-left", "tcpstat-left.tmp"] {
            File::create(path(name)).unwrap();
        }
        fs::create_dir(path(".tcpstat-folder.tmp")).unwrap();
        assert_eq!(remove(folder.path()), 1);
        assert!(!path(".tcpstat-left.tmp").exists());
        drop(used);
        assert_eq!(remove(folder.path()), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
