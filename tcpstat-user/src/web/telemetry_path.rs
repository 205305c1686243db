//! The path of the metrics: one that every client can ask for and that nothing else has.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::is_taken;

/// Longest path in bytes; clients and proxies take far longer ones.
const LONGEST: usize = 1_000;

/// An absolute path of segments as RFC 3986 (3.3) has them, without empty ones in between and without
/// the segments `.` and `..`, which clients resolve before they ask. Percent-encoded characters stay
/// encoded: they are matched as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryPath(String);

/// Why a path is none for metrics.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TelemetryPathError {
    /// No slash at its beginning.
    #[error("a path must begin with /")]
    Relative,
    /// More bytes than are taken.
    #[error("{0} bytes: a path has at most {LONGEST}")]
    Long(usize),
    /// A character that no path has.
    #[error(
        "a path cannot contain {}: write it as {encoded}; only letters, digits and - . _ ~ ! $ & ' ( ) * + , ; = : @ \
         need no encoding",
        character.escape_debug()
    )]
    Character {
        /// The character.
        character: char,
        /// It, percent-encoded.
        encoded: String,
    },
    /// A percent sign without its two digits.
    #[error("% must be followed by two hexadecimal digits, as in %20; write % itself as %25")]
    Percent,
    /// An empty segment in between, or one that clients resolve.
    #[error(
        "a path cannot contain //, nor . or .. between slashes: clients do not request such a path"
    )]
    Segment,
    /// Something else is served there.
    #[error("/, /-/healthy, /-/ready, /api, /runbook and paths below /assets are reserved")]
    Taken,
}

impl FromStr for TelemetryPath {
    type Err = TelemetryPathError;

    fn from_str(text: &str) -> Result<Self, TelemetryPathError> {
        let segments = text.strip_prefix('/').ok_or(TelemetryPathError::Relative)?;
        if text.len() > LONGEST {
            return Err(TelemetryPathError::Long(text.len()));
        }
        if let Some(character) = text.chars().find(|&c| !is_of_path(c)) {
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
        if is_taken(text) {
            return Err(TelemetryPathError::Taken);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TelemetryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may stand in a path as it is: pchar, the slash, and the percent sign of what is encoded.
fn is_of_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%".contains(c)
}

fn percent_encoded(character: char) -> String {
    let mut bytes = [0; 4];
    let bytes = character.encode_utf8(&mut bytes).as_bytes();
    let encoded: Vec<_> = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    encoded.concat()
}

/// `.` and `..`, encoded or not: clients take the encoded form for the same (WHATWG URL, 4.1).
fn is_dots(segment: &str) -> bool {
    let decoded = segment.to_ascii_lowercase().replace("%2e", ".");
    decoded == "." || decoded == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rfc_3986_has_for_a_path_is_taken_as_it_is_written() {
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
    fn what_no_client_asks_for_is_refused() {
        use TelemetryPathError::{Long, Percent, Relative, Segment, Taken};
        let long = format!("/{}", "a".repeat(LONGEST));
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
            ("/", Taken),
            ("/api/v1/status", Taken),
            (long.as_str(), Long(LONGEST + 1)),
        ] {
            assert_eq!(path.parse::<TelemetryPath>(), Err(error), "{path}");
        }
    }

    #[test]
    fn a_character_that_no_path_has_is_told_with_its_encoding() {
        for (path, told, encoded) in [
            ("/a b", " ", "%20"),
            ("/é", "é", "%C3%A9"),
            ("/{x}", "{", "%7B"),
            ("/a?b", "?", "%3F"),
            ("/\u{1b}", "\\u{1b}", "%1B"),
            ("/a\\b", "\\", "%5C"),
        ] {
            let error = path.parse::<TelemetryPath>().unwrap_err().to_string();
            let start = format!("a path cannot contain {told}");
            assert!(error.starts_with(&start) && error.contains(encoded), "{path:?}: {error}");
        }
    }
}
