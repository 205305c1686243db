//! node_exporter's metric as a file for its textfile collector.
//!
//! The file is written after each snapshot, and an interval after it was last written, with the numbers of
//! that moment. It is never rewritten with old numbers, so that its age (`node_textfile_mtime_seconds`) is
//! their age. At the end the file is removed, because node_exporter would export its last numbers forever. A
//! file that another process wrote under the same name is not removed.

mod file;
mod leftovers;
mod writer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

use crate::text::plain;
pub(crate) use writer::Writer;

/// The collector reads only files with this suffix.
const SUFFIX: &str = ".prom";

/// A path that the textfile collector reads: it ends in `.prom`. Displayed as the user wrote it, with control
/// characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Textfile {
    path: PathBuf,
    folder: PathBuf,
}

#[derive(Debug, Error)]
pub(crate) enum TextfileError {
    #[error("node_exporter reads only files whose names end in {SUFFIX}")]
    Suffix,
    #[error("{}: is a directory: give the path of a file", one_line(.0))]
    Folder(PathBuf),
    #[error(
        "{}: {cause}: the directory of the file must exist, and this user must be able to write to it",
        one_line(path)
    )]
    Unwritable { path: PathBuf, cause: io::Error },
}

impl FromStr for Textfile {
    type Err = TextfileError;

    fn from_str(text: &str) -> Result<Self, TextfileError> {
        let path = PathBuf::from(text);
        // A path that ends in a slash names a folder.
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.filter(|_| !text.ends_with('/'));
        if !name.is_some_and(|name| name.len() > SUFFIX.len() && name.ends_with(SUFFIX)) {
            return Err(TextfileError::Suffix);
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { path, folder })
    }
}

impl fmt::Display for Textfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.path))
    }
}

fn one_line(path: &Path) -> String {
    plain(&path.to_string_lossy(), usize::MAX).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_collector_ignores_is_refused() {
        for text in ["tcpstat", "tcpstat.txt", ".prom", "folder.prom/tcpstat", "a.prom/", ""] {
            assert!(text.parse::<Textfile>().is_err(), "{text}");
        }
        assert_eq!("tcpstat.prom".parse::<Textfile>().unwrap().folder, Path::new("."));
        assert_eq!("/a/tcpstat.prom".parse::<Textfile>().unwrap().folder, Path::new("/a"));
    }

    #[test]
    fn a_path_is_displayed_in_one_line() {
        let path: Textfile = "/a b/é\n\u{1b}[31m.prom".parse().unwrap();
        assert_eq!(path.to_string(), "/a b/é\\n\\u{1b}[31m.prom");
    }
}
