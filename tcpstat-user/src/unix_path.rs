//! The path of a Unix socket, as flags take it.

use std::path::Path;

/// The path in `unix:PATH` and `unix://PATH`, and one without a prefix if it is absolute; `None` for another kind of
/// address.
pub(crate) fn of(text: &str) -> Option<&Path> {
    let path = match text.strip_prefix("unix:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None if text.starts_with('/') => text,
        None => return None,
    };
    Some(Path::new(path))
}
