//! The ID of a container, or its name.

use super::pod_uid::is_hex;

/// Longest ID or name in bytes: a directory's name has up to 255.
const LONGEST: usize = 255;

/// Digits of an ID that runtimes show.
const SHORT: usize = 12;

/// A container's ID as its cgroup has it: mostly 64 hexadecimal digits; some runtimes write a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// An ID or a name: letters, digits, `-`, `_`, `.` and `+`, at most 255 bytes; else none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fits = (1..=LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte));
        fits.then(|| Self(text.to_owned()))
    }

    /// Hexadecimal digits alone, at least the 12 that runtimes show.
    pub(super) fn parse_hex(text: &str) -> Option<Self> {
        let hex = (SHORT..=64).contains(&text.len()) && is_hex(text, text.len());
        hex.then(|| Self(text.to_owned()))
    }

    /// The 64 digits that only the ID of a container has.
    pub(super) fn parse_certain(text: &str) -> Option<Self> {
        is_hex(text, 64).then(|| Self(text.to_owned()))
    }

    /// The whole ID or name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits of an ID of hexadecimal digits, as runtimes show it; else the whole name: two
    /// containers of one ECS task, or of one Nomad allocation, begin with the same digits.
    #[must_use]
    pub fn short(&self) -> &str {
        if is_hex(&self.0, self.0.len()) { self.0.get(..SHORT).unwrap_or(&self.0) } else { &self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shortened_and_a_name_is_not() {
        let digits = "3f2a9c1b04de".repeat(5) + "0123";
        assert_eq!(ContainerId::parse_certain(&digits).unwrap().short(), "3f2a9c1b04de");
        for name in ["web", "34dc0b5e626f2c5c4c5170e34b10e765-1234567890", "abc"] {
            assert_eq!(ContainerId::parse(name).unwrap().short(), name);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let digits = "a".repeat(64);
        assert!(ContainerId::parse_certain(&digits[1..]).is_none());
        assert!(ContainerId::parse_certain(&digits.to_uppercase()).is_none());
        assert!(ContainerId::parse_hex("abc").is_none());
        assert!(ContainerId::parse_hex(&(digits + "a")).is_none());
        for name in ["", "a b", "a/b", "a\u{1b}", "ü", &"a".repeat(256)] {
            assert!(ContainerId::parse(name).is_none(), "{name:?}");
        }
    }
}
