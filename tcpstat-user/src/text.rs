//! Text from elsewhere: servers, arguments, variables, errors that quote them. All of it passes through
//! [`plain`] before a terminal, a log line or standard error gets it.

use std::borrow::Cow;

/// Longest message in characters: an error with its causes and remedy has a few hundred.
pub const MESSAGE: usize = 1_000;

/// Longest quoted value in characters: a host name has up to 253.
pub const VALUE: usize = 256;

/// `text` in one line without anything that a terminal obeys or that hides or reorders text: such
/// characters are written as `\u{1b}`. Of more than `most` characters the first are kept, and `...` says so.
#[must_use]
pub fn plain(text: &str, most: usize) -> Cow<'_, str> {
    // A byte is a character at least, so a short text need not be counted.
    let short = text.len() <= most || text.chars().nth(most).is_none();
    if short && !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut printed = String::new();
    let mut characters = 0;
    for c in text.chars() {
        let escaped = is_unprintable(c).then(|| escape(c));
        characters += escaped.as_ref().map_or(1, String::len);
        if characters > most {
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

/// `url` with `***` for its password. A user name alone may be a token, so it is hidden too.
///
/// A password may have any character where somebody did not encode it: all from the scheme to the last
/// `@` is taken for it.
#[must_use]
pub fn without_password(url: &str) -> Cow<'_, str> {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    match url[start..].rfind('@') {
        None => Cow::Borrowed(url),
        Some(at) => Cow::Owned(format!("{}***{}", &url[..start], &url[start + at..])),
    }
}

/// Whether a terminal may do something else with it than show it where it stands: C0, DEL and C1
/// controls, separators of lines, marks of direction, what has no width, and tags.
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
    fn what_is_fit_to_be_shown_stays_as_it_is() {
        for text in ["", "web-1", "größer → 3", "{\"a\": 1}", "日本"] {
            assert!(matches!(plain(text, 20), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
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
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(plain("12345", 5), "12345");
        assert_eq!(plain("123456", 5), "12345...");
        assert_eq!(plain("größer", 3), "grö...");
        assert_eq!(plain("1234\u{1b}", 6), "1234...", "an escape is not cut in the middle");
    }

    #[test]
    fn a_url_has_no_password_and_keeps_the_rest() {
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
        fn nothing_that_a_terminal_obeys_passes(text in any::<String>(), most in 0_usize..40) {
            let shown = plain(&text, most);
            prop_assert!(!shown.chars().any(is_unprintable), "{shown:?}");
            prop_assert!(shown.chars().count() <= most + 3);
        }
    }
}
