//! Which cgroups are scopes: patterns for paths and for unit names.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// A pattern of `--cgroups`: `*` stands for any text without a slash, `**` for any text, `?` for one character that
/// is no slash.
///
/// A pattern without a slash is compared with the last component of a path, another one with the whole path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPattern(String);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// It is empty.
    #[error("an empty pattern; write a unit such as *.service, or a path such as /system.slice/*")]
    Empty,
    /// It is a path that does not begin at the root.
    #[error("a path begins with a slash, such as /system.slice/*")]
    Relative,
    /// It has a bracket, which has no meaning here.
    #[error("[ and ] have no meaning: only *, **, and ? stand for other text")]
    Bracket,
    /// It is too long.
    #[error("more than {MAX_BYTES} bytes")]
    TooLong,
}

/// The time of a comparison grows with the square of the length.
const MAX_BYTES: usize = 512;

impl FromStr for CgroupPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(PatternError::TooLong);
        }
        if text.contains(['[', ']']) {
            return Err(PatternError::Bracket);
        }
        if text.contains('/') && !text.starts_with('/') {
            return Err(PatternError::Relative);
        }
        let trimmed = text.trim_end_matches('/');
        Ok(Self(if trimmed.is_empty() { "/" } else { trimmed }.to_owned()))
    }
}

impl fmt::Display for CgroupPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CgroupPattern {
    /// Whether the pattern fits this path, which begins with a slash and does not end with one unless it is `/`.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        let text =
            if self.0.contains('/') { path } else { path.rsplit('/').next().unwrap_or_default() };
        fits(&self.0.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
    }
}

/// The scope that counts a cgroup with this path: the deepest cgroup on the way to it, itself included, that one of
/// `patterns` fits.
#[must_use]
pub fn counting_cgroup<'a>(patterns: &[CgroupPattern], path: &'a str) -> Option<&'a str> {
    let mut ancestor = path;
    loop {
        if patterns.iter().any(|pattern| pattern.fits(ancestor)) {
            return Some(ancestor);
        }
        ancestor = match ancestor.rsplit_once('/')? {
            ("", "") => return None,
            ("", _) => "/",
            (parent, _) => parent,
        };
    }
}

/// Compares from left to right, and remembers the last star: when the rest does not fit, the star takes one more
/// character. `**` may take slashes; a `*` that would have to gives way to an earlier `**`.
fn fits(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        match pattern.get(at) {
            Some('*') if pattern.get(at + 1) == Some(&'*') => {
                at += 2;
                (double, star) = (Some((at, read)), None);
                continue;
            }
            Some('*') => {
                at += 1;
                star = Some((at, read));
                continue;
            }
            None if read == text.len() => return true,
            Some(expected) if read < text.len() && fits_one(*expected, text[read]) => {
                (at, read) = (at + 1, read + 1);
                continue;
            }
            _ => {}
        }
        if let Some((after, taken)) = star
            && taken < text.len()
            && text[taken] != '/'
        {
            star = Some((after, taken + 1));
            (at, read) = (after, taken + 1);
        } else if let Some((after, taken)) = double
            && taken < text.len()
        {
            (double, star) = (Some((after, taken + 1)), None);
            (at, read) = (after, taken + 1);
        } else {
            return false;
        }
    }
}

fn fits_one(expected: char, found: char) -> bool {
    if expected == '?' { found != '/' } else { expected == found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        pattern.parse::<CgroupPattern>().unwrap().fits(path)
    }

    #[test]
    fn a_pattern_without_a_slash_is_compared_with_the_last_component() {
        assert!(fits("*.service", "/system.slice/nginx.service"));
        assert!(fits("nginx.service", "/system.slice/nginx.service"));
        assert!(fits("getty@tty?.service", "/system.slice/system-getty.slice/getty@tty1.service"));
        assert!(fits("*", "/user.slice"));
        assert!(fits("?.service", "/\u{fc}.service"));
        assert!(!fits("*.service", "/system.slice/nginx.service/worker"));
        assert!(!fits("nginx", "/system.slice/nginx.service"));
        assert!(!fits("*.service", "/"));
    }

    #[test]
    fn spaces_around_a_pattern_are_ignored_and_a_bracket_is_refused() {
        assert!(fits(" *.service ", "/system.slice/nginx.service"));
        for text in ["[", "tty[12].service", "/a]/b"] {
            assert_eq!(text.parse::<CgroupPattern>(), Err(PatternError::Bracket), "{text}");
        }
        assert_eq!(" ".parse::<CgroupPattern>(), Err(PatternError::Empty));
    }

    #[test]
    fn a_pattern_with_a_slash_is_compared_with_the_whole_path() {
        assert!(fits("/system.slice/*", "/system.slice/nginx.service"));
        assert!(!fits("/system.slice/*", "/system.slice/nginx.service/worker"));
        assert!(fits("/system.slice/**", "/system.slice/nginx.service/worker"));
        assert!(fits("/**/*.service", "/a/b/c.service"));
        assert!(fits("/**/x/*-*.scope", "/a/x/b/x/c-d.scope"));
        assert!(!fits("/**/x/*.scope", "/a/x/b/c.scope"));
        assert!(fits("/", "/"));
        assert!(fits("/system.slice/", "/system.slice"));
        assert!(!fits("/system.slice", "/system.slice/nginx.service"));
    }

    #[test]
    fn a_cgroup_counts_in_its_deepest_ancestor_that_fits() {
        let patterns = ["*.service", "/kubepods/*"].map(|text| text.parse().unwrap());
        for (path, scope) in [
            ("/system.slice/nginx.service", Some("/system.slice/nginx.service")),
            ("/system.slice/nginx.service/worker/1", Some("/system.slice/nginx.service")),
            (
                "/user.slice/user@1.service/app.slice/a.service",
                Some("/user.slice/user@1.service/app.slice/a.service"),
            ),
            ("/user.slice/user@1.service/app.slice", Some("/user.slice/user@1.service")),
            ("/kubepods/pod1/container", Some("/kubepods/pod1")),
            ("/user.slice", None),
            ("/", None),
        ] {
            assert_eq!(counting_cgroup(&patterns, path), scope, "{path}");
        }
        let root = ["/".parse().unwrap()];
        assert_eq!(counting_cgroup(&root, "/user.slice"), Some("/"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!("".parse::<CgroupPattern>(), Err(PatternError::Empty));
        assert_eq!("system.slice/*".parse::<CgroupPattern>(), Err(PatternError::Relative));
        assert_eq!("a".repeat(513).parse::<CgroupPattern>(), Err(PatternError::TooLong));
    }

    #[test]
    fn a_pattern_of_many_stars_is_compared_in_time() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!fits(&pattern, &format!("/{}", "a".repeat(250))));
    }
}
