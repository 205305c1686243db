//! Temporary files that killed runs left behind: each of them would leave one, for ever.
//!
//! A run holds a lock on its temporary file (flock(2)), which goes with the process. A file without a lock
//! is nobody's any more.

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

/// Entries of the folder that are looked at.
const MOST_ENTRIES: usize = 10_000;

/// Marks `file` as in use, where the file system has locks: where it has none, nothing is removed.
pub(super) fn claim(file: &File) {
    // See above.
    let _ = file.try_lock();
}

/// Removes what nobody uses of the temporary files of this user in `folder`. Returns how many. In the
/// microseconds between the making and the locking of a file it counts as unused: that writing fails, and the
/// next one succeeds.
pub(super) fn remove(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let entries = entries.take(MOST_ENTRIES).filter_map(Result::ok);
    entries.filter(|entry| is_named_so(entry) && remove_unused(entry)).count()
}

fn is_named_so(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.as_bytes();
    name.starts_with(PREFIX.as_bytes()) && name.ends_with(SUFFIX.as_bytes())
}

fn remove_unused(entry: &DirEntry) -> bool {
    // What cannot be opened or locked stays.
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
    fn what_is_in_use_and_what_has_another_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let used = File::create(path(".tcpstat-used.tmp")).unwrap();
        claim(&used);
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
