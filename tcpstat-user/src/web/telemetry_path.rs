//! The path of the metrics: one that every client can request, and that nothing else is served at.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::is_reserved;

/// In bytes; clients and proxies accept far longer paths.
const MAX_BYTES: usize = 1_000;

/// An absolute path (RFC 3986, section 3.3) without empty segments between slashes and without the segments
/// `.` and `..`, which clients resolve before a request. Percent-encoded characters stay encoded: the path is
/// matched literally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TelemetryPath(String);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum TelemetryPathError {
    #[error("a path must begin with /")]
    Relative,
    #[error("{0} bytes: a path has at most {MAX_BYTES}")]
    TooLong(usize),
    #[error(
        "a path cannot contain {}: write it as {encoded}; only letters, digits and - . _ ~ ! $ & ' ( ) * + , ; = : @ \
         need no encoding",
        character.escape_debug()
    )]
    Character { character: char, encoded: String },
    #[error("% must be followed by two hexadecimal digits, as in %20; write % itself as %25")]
    Percent,
    #[error(
        "a path cannot contain //, nor . or .. between slashes: clients do not request such a path"
    )]
    Segment,
    #[error("/, /-/healthy, /-/ready, /api, /runbook and paths below /assets are reserved")]
    Reserved,
}

impl FromStr for TelemetryPath {
    type Err = TelemetryPathError;

    fn from_str(text: &str) -> Result<Self, TelemetryPathError> {
        let segments = text.strip_prefix('/').ok_or(TelemetryPathError::Relative)?;
        if text.len() > MAX_BYTES {
            return Err(TelemetryPathError::TooLong(text.len()));
        }
        if let Some(character) = text.chars().find(|&c| !is_path_character(c)) {
            let encoded = percent_encoded(character);
            return Err(TelemetryPathError::Character { character, encoded });
        }
        let mut after_percent = text.split('%').skip(1);
        if !after_percent
            .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
        {
            return Err(TelemetryPathError::Percent);
        }
        if text.contains("//") || segments.split('/').any(is_dots) {
            return Err(TelemetryPathError::Segment);
        }
        if is_reserved(text) {
            return Err(TelemetryPathError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TelemetryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a path may contain `c`: pchar, the slash, and the percent sign.
fn is_path_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%".contains(c)
}

fn percent_encoded(character: char) -> String {
    let mut bytes = [0; 4];
    let bytes = character.encode_utf8(&mut bytes).as_bytes();
    let encoded: Vec<_> = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    encoded.concat()
}

/// `.` and `..`, encoded or not: clients treat both forms alike (WHATWG URL, section 4.1).
fn is_dots(segment: &str) -> bool {
    let decoded = segment.to_ascii_lowercase().replace("%2e", ".");
    decoded == "." || decoded == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_rfc_3986_is_accepted_and_not_changed() {
        for path in [
            "/metrics",
            "/a/b/c",
            "/metrics/",
            "/:x",
            "/*x",
            "/a/:b/*c",
            "/%20",
            "/a%2fb",
            "/...",
            "/-._~!$&'()*+,;=:@",
            "/assets",
            "/apiary",
        ] {
            assert_eq!(
                path.parse::<TelemetryPath>().map(|path| path.to_string()),
                Ok(path.to_owned())
            );
        }
    }

    #[test]
    fn a_path_that_no_client_requests_is_refused() {
        use TelemetryPathError::{Percent, Relative, Reserved, Segment, TooLong};
        let long = format!("/{}", "a".repeat(MAX_BYTES));
        for (path, error) in [
            ("", Relative),
            ("metrics", Relative),
            ("/%", Percent),
            ("/%2", Percent),
            ("/%%20", Percent),
            ("/%zz", Percent),
            ("//", Segment),
            ("//host/metrics", Segment),
            ("/a//b", Segment),
            ("/./a", Segment),
            ("/a/..", Segment),
            ("/%2e%2E/a", Segment),
            ("/.%2e", Segment),
            ("/", Reserved),
            ("/api/v1/status", Reserved),
            (long.as_str(), TooLong(MAX_BYTES + 1)),
        ] {
            assert_eq!(path.parse::<TelemetryPath>(), Err(error), "{path}");
        }
    }

    #[test]
    fn the_error_for_a_character_names_its_encoding() {
        for (path, shown, encoded) in [
            ("/a b", " ", "%20"),
            ("/é", "é", "%C3%A9"),
            ("/{x}", "{", "%7B"),
            ("/a?b", "?", "%3F"),
            ("/\u{1b}", "\\u{1b}", "%1B"),
            ("/a\\b", "\\", "%5C"),
        ] {
            let error = path.parse::<TelemetryPath>().unwrap_err().to_string();
            let start = format!("a path cannot contain {shown}");
            assert!(error.starts_with(&start) && error.contains(encoded), "{path:?}: {error}");
        }
    }
}
