//! Writes the file atomically, and removes it only if this process wrote it.

use std::{
    fs::{self, File, Metadata, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use tempfile::NamedTempFile;

use super::{Textfile, TextfileError, leftovers};

/// The collector runs as a different user from this process.
const MODE: u32 = 0o644;

/// Identifies a file that was written.
///
/// The inode number alone does not identify it, because the file system reuses the inode of a file that was
/// replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

/// The file under the name of the textfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The file that this process wrote last.
    Own,
    Foreign,
    Nothing,
}

impl Textfile {
    /// Checks that the file can be written, without writing it. Removes the temporary files of runs that were
    /// killed, and returns their number.
    pub(crate) fn check(&self) -> Result<usize, TextfileError> {
        if self.path.is_dir() {
            return Err(TextfileError::Folder(self.path.clone()));
        }
        let unwritable = |cause| TextfileError::Unwritable { path: self.path.clone(), cause };
        let removed = leftovers::remove(&self.folder);
        self.temporary().map(drop).map_err(unwritable)?;
        Ok(removed)
    }

    /// Replaces the file atomically. A failure leaves the old file, and no temporary one.
    ///
    /// # Errors
    /// The system's, without the name of the temporary file.
    pub(super) fn write(&self, text: &str) -> io::Result<Identity> {
        let temporary = self.temporary()?;
        temporary.as_file().write_all(text.as_bytes())?;
        // Not when the file is created, because then the umask applies.
        temporary.as_file().set_permissions(Permissions::from_mode(MODE))?;
        let file = temporary.persist(&self.path).map_err(|failed| failed.error)?;
        Ok(Identity::of(&file.metadata()?))
    }

    /// Compares the file under the name with `own`, which this process wrote last.
    pub(super) fn find(&self, own: Identity) -> io::Result<Found> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if Identity::of(&metadata) == own => Ok(Found::Own),
            Ok(_) => Ok(Found::Foreign),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Removes the file if it is `own`. Another process that replaces the file in the microseconds between
    /// check and removal loses its file until it writes the next one.
    pub(super) fn remove(&self, own: Identity) -> io::Result<Found> {
        let found = self.find(own)?;
        if found == Found::Own {
            fs::remove_file(&self.path)?;
        }
        Ok(found)
    }

    /// In the same folder, so that it can be renamed. The collector ignores its name.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let mut refusal = None;
        let open = |path: &Path| {
            let mut options = File::options();
            let opened = options.read(true).write(true).create_new(true).mode(0o600).open(path);
            opened.inspect_err(|error| refusal = error.raw_os_error())
        };
        let temporary = tempfile::Builder::new()
            .prefix(leftovers::PREFIX)
            .suffix(leftovers::SUFFIX)
            .make_in(&self.folder, open);
        // Without the name of the temporary file, which tempfile adds.
        let temporary =
            temporary.map_err(|error| refusal.map_or(error, io::Error::from_raw_os_error))?;
        leftovers::mark_used(temporary.as_file());
        Ok(temporary)
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            bytes: metadata.size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_another_process_wrote_meanwhile_is_foreign() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tcpstat.prom");
        let textfile: Textfile = path.to_str().unwrap().parse().unwrap();
        let own = textfile.write("first\n").unwrap();
        assert_eq!(textfile.find(own).unwrap(), Found::Own);
        // It may get the same inode.
        let another = textfile.write("second\n").unwrap();
        assert_eq!(textfile.remove(own).unwrap(), Found::Foreign);
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(textfile.remove(another).unwrap(), Found::Own);
        assert_eq!(textfile.remove(another).unwrap(), Found::Nothing);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
