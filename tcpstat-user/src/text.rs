//! Makes untrusted text safe to show: from servers, arguments, variables, and errors that quote them. All of
//! it passes through [`plain`] before it is written to a terminal, the log, or standard error.

use std::borrow::Cow;

/// Maximum characters of a message: an error with its causes and remedy has a few hundred.
pub(crate) const MESSAGE: usize = 1_000;

/// Maximum characters of a quoted value: a host name has up to 253.
pub(crate) const VALUE: usize = 256;

/// `text` in one line, with every character escaped that controls a terminal, or hides or reorders text, as in
/// `\u{1b}`. If that has more than `max` characters, it is cut and ends in `...`.
pub(crate) fn plain(text: &str, max: usize) -> Cow<'_, str> {
    // A character has at least one byte, so the characters of a short text need not be counted.
    let short = text.len() <= max || text.chars().nth(max).is_none();
    if short && !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut printed = String::new();
    let mut characters = 0;
    for c in text.chars() {
        let escaped = is_unprintable(c).then(|| escape(c));
        characters += escaped.as_ref().map_or(1, String::len);
        if characters > max {
            printed.push_str("...");
            break;
        }
        match escaped {
            Some(escaped) => printed.push_str(&escaped),
            None => printed.push(c),
        }
    }
    Cow::Owned(printed)
}

/// What is added to a noun after so many.
pub(crate) const fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// `url` with `***` in place of user and password. A user name alone may be a token, so it is hidden too.
///
/// An unencoded password may contain any character: everything from the scheme to the last `@` is hidden.
pub(crate) fn without_password(url: &str) -> Cow<'_, str> {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    match url[start..].rfind('@') {
        None => Cow::Borrowed(url),
        Some(at) => Cow::Owned(format!("{}***{}", &url[..start], &url[start + at..])),
    }
}

/// Whether a terminal may do anything other than show the character in its place: C0, DEL and C1 controls,
/// line separators, direction marks, characters without width, and tags.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn escape(c: char) -> String {
    match c {
        '\n' | '\r' | '\t' => c.escape_default().to_string(),
        c => c.escape_unicode().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn safe_text_does_not_change() {
        for text in ["", "web-1", "größer → 3", "{\"a\": 1}", "日本"] {
            assert!(matches!(plain(text, 20), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        for (text, shown) in [
            ("\u{1b}]0;title\u{7}", r"\u{1b}]0;title\u{7}"),
            ("\u{9b}2J", r"\u{9b}2J"),
            ("a\u{7f}b", r"a\u{7f}b"),
            ("one\r\ntwo\tthree", r"one\r\ntwo\tthree"),
            ("abc\u{202e}cba", r"abc\u{202e}cba"),
            ("a\u{200b}b\u{feff}", r"a\u{200b}b\u{feff}"),
        ] {
            assert_eq!(plain(text, 100), shown);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_ends_in_dots() {
        assert_eq!(plain("12345", 5), "12345");
        assert_eq!(plain("123456", 5), "12345...");
        assert_eq!(plain("größer", 3), "grö...");
        assert_eq!(plain("1234\u{1b}", 6), "1234...", "an escape is not cut in the middle");
    }

    #[test]
    fn a_url_loses_only_its_user_and_password() {
        for (url, shown) in [
            ("http://web-1:10048", "http://web-1:10048"),
            ("http://me:secret@web-1:10048", "http://***@web-1:10048"),
            ("http://token@web-1", "http://***@web-1"),
            ("http://me:se/c?r#e@t@web-1/x", "http://***@web-1/x"),
            ("https://me:secret@web-1", "https://***@web-1"),
            ("me:secret@web-1", "***@web-1"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    proptest! {
        #[test]
        fn the_result_has_no_control_characters_and_is_short(text in any::<String>(), max in 0_usize..40) {
            let shown = plain(&text, max);
            prop_assert!(!shown.chars().any(is_unprintable), "{shown:?}");
            prop_assert!(shown.chars().count() <= max + 3);
        }
    }
}
