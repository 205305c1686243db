//! node_exporter's metric as a file for its textfile collector.
//!
//! The file is written when the tracker has listed the sockets, and when an interval has passed since
//! it was: the numbers in it are those of the moment of writing. It is never rewritten with numbers
//! that are known to be old, so that its age (`node_textfile_mtime_seconds`) is theirs. At the end it
//! is removed: node_exporter would export its last numbers for ever. A file that another process wrote
//! under the same name stays.

mod file;
mod leftovers;
mod writer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

pub use writer::Writer;

/// What the collector looks for.
const SUFFIX: &str = ".prom";

/// A path that the textfile collector takes: it ends in `.prom`. Shown as the user gave it, with control
/// characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Textfile {
    path: PathBuf,
    folder: PathBuf,
}

/// Why there is no textfile.
#[derive(Debug, Error)]
pub enum TextfileError {
    /// The collector would pass it over.
    #[error("node_exporter reads only files whose names end in {SUFFIX}")]
    Suffix,
    /// Something else has that name.
    #[error("{}: is a directory: give the path of a file", shown(.0))]
    Folder(PathBuf),
    /// The folder takes no file.
    #[error(
        "{}: {cause}: the directory of the file must exist, and this user must be able to write to it",
        shown(path)
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl FromStr for Textfile {
    type Err = TextfileError;

    fn from_str(text: &str) -> Result<Self, TextfileError> {
        let path = PathBuf::from(text);
        // A slash at its end would name a folder.
        let named = path.file_name().and_then(|name| name.to_str());
        let named = named.filter(|_| !text.ends_with('/'));
        if !named.is_some_and(|name| name.len() > SUFFIX.len() && name.ends_with(SUFFIX)) {
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
        f.write_str(&shown(&self.path))
    }
}

/// `path` in one line.
fn shown(path: &Path) -> String {
    let mut shown = String::new();
    for character in path.to_string_lossy().chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_collector_passes_over_is_refused() {
        for text in ["tcpstat", "tcpstat.txt", ".prom", "folder.prom/tcpstat", "a.prom/", ""] {
            assert!(text.parse::<Textfile>().is_err(), "{text}");
        }
        assert_eq!("tcpstat.prom".parse::<Textfile>().unwrap().folder, Path::new("."));
        assert_eq!("/a/tcpstat.prom".parse::<Textfile>().unwrap().folder, Path::new("/a"));
    }

    #[test]
    fn a_path_is_shown_in_one_line() {
        let path: Textfile = "/a b/é\n\u{1b}[31m.prom".parse().unwrap();
        assert_eq!(path.to_string(), "/a b/é\\n\\u{1b}[31m.prom");
    }
}
