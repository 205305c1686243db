//! The UID of a Kubernetes pod, in the one form that all sources are compared in.

/// Longest UID in bytes. The API server gives a UUID (36); a manifest of a static pod may give any text.
const LONGEST: usize = 64;

/// A pod's UID as the API server writes it: a UUID with dashes, the 32 hexadecimal digits that the kubelet
/// computes for a static pod, or what a manifest of a static pod gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(String);

impl PodUid {
    /// The UID in `text`, with dashes where a UUID has underscores. Letters, digits, `-`, `_` and `.`, at
    /// most 64 bytes; else none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        fits.then(|| {
            let uuid = is_uuid(text, b'_');
            Self(if uuid { text.replace('_', "-") } else { text.to_owned() })
        })
    }

    /// Parses the name of a slice: the kubelet writes `_` there for each `-`.
    pub(super) fn parse_slice(text: &str) -> Option<Self> {
        Self::parse(&text.replace(r"\x2d", "-").replace('_', "-"))
    }

    /// Parses a name in a place where other names than those of pods are: only a UUID or 32 digits.
    pub(super) fn parse_certain(text: &str) -> Option<Self> {
        let certain = is_uuid(text, b'-') || is_uuid(text, b'_') || is_hex(text, 32);
        certain.then(|| Self::parse(text)).flatten()
    }

    /// The UID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` has the form 8-4-4-4-12 of hexadecimal digits.
pub(super) fn is_uuid(text: &str, separator: u8) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == separator,
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether `text` is `digits` lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "2c48913c-b29f-11e7-9350-020968147796";

    fn uid(text: &str) -> Option<String> {
        PodUid::parse(text).map(|uid| uid.as_str().to_owned())
    }

    #[test]
    fn a_uuid_has_dashes_in_all_forms() {
        assert_eq!(uid(UUID).as_deref(), Some(UUID));
        assert_eq!(uid(&UUID.replace('-', "_")).as_deref(), Some(UUID));
        for escape in ["_", r"\x2d"] {
            let slice = UUID.replace('-', escape);
            assert_eq!(PodUid::parse_slice(&slice).unwrap().as_str(), UUID, "{slice}");
        }
    }

    #[test]
    fn the_uid_of_a_static_pod_stays_as_it_is() {
        for text in ["9729a196c4723b60ab401eaff722982d", "my_own.uid-1"] {
            assert_eq!(uid(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn only_a_uuid_or_a_hash_is_certain() {
        assert!(PodUid::parse_certain(UUID).is_some());
        assert!(PodUid::parse_certain("9729a196c4723b60ab401eaff722982d").is_some());
        for text in ["123", "man", "9729a196c4723b60ab401eaff722982", "g".repeat(32).as_str()] {
            assert!(PodUid::parse_certain(text).is_none(), "{text}");
        }
    }

    #[test]
    fn other_bytes_and_longer_texts_are_no_uid() {
        for text in ["", "a b", "a/b", "a\n", "ä", &"a".repeat(LONGEST + 1)] {
            assert_eq!(uid(text), None, "{text:?}");
        }
    }
}
