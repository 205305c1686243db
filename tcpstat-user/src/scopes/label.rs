//! Label values from bytes that another program or user chose.

use crate::text;

/// Longest name of a namespace in characters, the mark of a cut apart: `NAMESPACE/POD` has up to 317.
pub const LONGEST_NAME: usize = 400;

/// Longest cgroup path in a label, in characters: that of a pod within a container has about 300.
pub const LONGEST_PATH: usize = 512;

/// `bytes` as a label value: valid UTF-8, in one line, without control characters and without what hides or
/// reorders text. Such characters are written as `\u{1b}`, bytes that are not UTF-8 as `\xff`. Of more than
/// `most` characters the first are kept, and `...` follows.
///
/// Different bytes can give the same value: [`UniqueNames`](super::UniqueNames) keeps them apart.
#[must_use]
pub fn label_value(bytes: &[u8], most: usize) -> String {
    let mut valid = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        valid.push_str(chunk.valid());
        valid.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text::plain(&valid, most).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_readable_whatever_the_bytes() {
        for (bytes, value) in [
            (&b"/system.slice/ssh.service"[..], "/system.slice/ssh.service"),
            (br"machine-qemu\x2d1.scope", r"machine-qemu\x2d1.scope"),
            ("größer".as_bytes(), "größer"),
            (b"a\x1b[2J\nb", r"a\u{1b}[2J\nb"),
            (b"\xffab\xc3", r"\xffab\xc3"),
            ("a\u{202e}b".as_bytes(), r"a\u{202e}b"),
            (b"", ""),
        ] {
            assert_eq!(label_value(bytes, 100), value);
        }
        assert_eq!(label_value(b"abcdef", 4), "abcd...");
    }

    proptest! {
        #[test]
        fn a_value_is_bounded_and_in_one_line(bytes in any::<Vec<u8>>(), most in 0_usize..40) {
            let value = label_value(&bytes, most);
            prop_assert!(value.chars().count() <= most + 3);
            prop_assert!(!value.chars().any(char::is_control));
        }
    }
}
