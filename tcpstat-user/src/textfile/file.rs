//! The file itself: written whole, and removed only by the process that wrote it.

use std::{
    fs::{self, Metadata, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use tempfile::NamedTempFile;

use super::{Textfile, TextfileError, leftovers};

/// The collector runs as another user than this process.
const MODE: u32 = 0o644;

/// Which file it is that was written.
///
/// An inode number alone does not tell: the inode of a file that was replaced is soon given to another. The
/// time and the size come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

/// What there is under the name of the textfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The file that this process wrote last.
    Own,
    /// Another one.
    Foreign,
    /// None.
    Nothing,
}

impl Textfile {
    /// Tries whether it can be written, without writing it. Removes what killed runs left in its folder, and
    /// returns how many files those were.
    ///
    /// # Errors
    /// [`TextfileError::Folder`], [`TextfileError::Unwritable`].
    pub fn check(&self) -> Result<usize, TextfileError> {
        if self.path.is_dir() {
            return Err(TextfileError::Folder(self.path.clone()));
        }
        let unwritable = |cause| TextfileError::Unwritable { path: self.path.clone(), cause };
        let removed = leftovers::remove(&self.folder);
        self.temporary().map(drop).map_err(unwritable)?;
        Ok(removed)
    }

    /// Replaces the file as a whole: a reader sees the old text or the new one. A failure leaves the old
    /// file, and no other.
    ///
    /// # Errors
    /// As the system gives them, without the name of the temporary file.
    pub(super) fn write(&self, text: &str) -> io::Result<Identity> {
        let temporary = self.temporary()?;
        temporary.as_file().write_all(text.as_bytes())?;
        // Not at its making: the umask would apply.
        temporary.as_file().set_permissions(Permissions::from_mode(MODE))?;
        let file = temporary.persist(&self.path).map_err(|failed| failed.error)?;
        Ok(Identity::of(&file.metadata()?))
    }

    /// What is under its name, `own` being what this process wrote last.
    ///
    /// # Errors
    /// As the system gives them.
    pub(super) fn find(&self, own: Identity) -> io::Result<Found> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if Identity::of(&metadata) == own => Ok(Found::Own),
            Ok(_) => Ok(Found::Foreign),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Removes it if it is `own`, and returns what was there. Another process that replaces it in the
    /// microseconds between the look and the removal loses its file until it writes the next one.
    ///
    /// # Errors
    /// As the system gives them.
    pub(super) fn remove(&self, own: Identity) -> io::Result<Found> {
        let found = self.find(own)?;
        if found == Found::Own {
            fs::remove_file(&self.path)?;
        }
        Ok(found)
    }

    /// In the same folder, so that it can be renamed; the collector passes over such a name.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let made = tempfile::Builder::new()
            .prefix(leftovers::PREFIX)
            .suffix(leftovers::SUFFIX)
            .tempfile_in(&self.folder)
            .map_err(without_path)?;
        leftovers::claim(made.as_file());
        Ok(made)
    }
}

/// The system's own error: tempfile's names the temporary file, which tells nobody anything.
fn without_path(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.source());
    let errno = inner.and_then(|inner| inner.downcast_ref::<io::Error>()?.raw_os_error());
    errno.map_or(error, io::Error::from_raw_os_error)
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
    fn a_file_that_another_wrote_in_the_meantime_is_foreign() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tcpstat.prom");
        let textfile: Textfile = path.to_str().unwrap().parse().unwrap();
        let own = textfile.write("first\n").unwrap();
        assert_eq!(textfile.find(own).unwrap(), Found::Own);
        // Whatever inode it gets.
        let another = textfile.write("second\n").unwrap();
        assert_eq!(textfile.remove(own).unwrap(), Found::Foreign);
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(textfile.remove(another).unwrap(), Found::Own);
        assert_eq!(textfile.remove(another).unwrap(), Found::Nothing);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
