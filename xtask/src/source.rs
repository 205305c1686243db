//! A Rust file taken apart into code and prose: string literals and comments. One regular expression tells
//! them apart, which is enough for rules by line; nested block comments are not known to it.

use std::sync::LazyLock;

use regex::Regex;

/// A comment, a raw string, a string, or a character.
static PROSE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r####"(?s)//[^\n]*|/\*.*?\*/|(?-u:\b)[bc]?r(?:"[^"]*"|#".*?"#|##".*?"##|###".*?"###)|"(?:\\.|[^"\\])*"|'(?:\\.[^']*|[^'\\\n])'"####;
    Regex::new(pattern).expect("the pattern is constant")
});

/// A backslash with what it escapes; a line break stays.
static ESCAPE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\\(?:(\n)|.)").expect("the pattern is constant"));

/// The name of an item.
static DECLARED: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"\b(?:const|enum|fn|mod|static|struct|trait|type)\s+(\w+)";
    Regex::new(pattern).expect("the pattern is constant")
});

/// The border of two words in a name.
static INNER_BORDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("([a-z])([A-Z])").expect("the pattern is constant"));

/// A string literal or a comment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Prose<'a> {
    /// The line that it begins in, from 1.
    pub(crate) line: usize,
    /// Without quotes or slashes, escapes as written.
    pub(crate) text: &'a str,
    pub(crate) literal: bool,
}

/// The string literals and the comments of a file, each line of a `//` comment apart.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = Prose<'_>> {
    let (mut line, mut at) = (1, 0);
    PROSE.find_iter(text).filter_map(move |found| {
        line += text[at..found.start()].matches('\n').count();
        at = found.start();
        let whole = found.as_str();
        let (text, literal) = if whole.starts_with("//") {
            (whole.trim_start_matches(['/', '!']), false)
        } else if whole.starts_with("/*") {
            (whole.trim_matches(['/', '*']), false)
        } else if whole.starts_with('\'') {
            return None;
        } else {
            let quoted = whole.trim_start_matches(['b', 'c', 'r']).trim_matches('#');
            (&quoted[1..quoted.len() - 1], true)
        };
        Some(Prose { line, text, literal })
    })
}

/// What people read of a file, all lines in their places: comments without their slashes, string literals with
/// spaces for their escapes, and the names that are declared, such as `LastScan` as two words.
pub(crate) fn words(text: &str) -> String {
    let (mut words, mut at) = (String::with_capacity(text.len()), 0);
    for found in PROSE.find_iter(text) {
        declared(&text[at..found.start()], &mut words);
        let prose = found.as_str();
        match prose.as_bytes()[0] {
            b'/' => words.push_str(prose.trim_start_matches(['/', '!', '*'])),
            _ => words.push_str(&ESCAPE.replace_all(prose, " ${1}")),
        }
        at = found.end();
    }
    declared(&text[at..], &mut words);
    words
}

/// Appends the names that code declares, and all of its white space up to the first word.
fn declared(code: &str, words: &mut String) {
    let mut at = 0;
    for found in DECLARED.captures_iter(code) {
        let name = found.get(1).map_or(0..0, |name| name.range());
        words.extend(code[at..name.start].chars().map(blank));
        words.push_str(&INNER_BORDER.replace_all(&code[name.clone()], "$1 $2"));
        at = name.end;
    }
    words.extend(code[at..].chars().map(blank));
}

/// White space as it is; a mark that no word has for anything else.
fn blank(c: char) -> char {
    if c.is_whitespace() { c } else { ';' }
}

/// The code of a file, without comments, with nothing between quotes, and with all of its line breaks.
pub(crate) fn code(text: &str) -> String {
    let (mut code, mut at) = (String::with_capacity(text.len()), 0);
    for found in PROSE.find_iter(text) {
        code.push_str(&text[at..found.start()]);
        code.push_str(if found.as_str().starts_with('/') { "" } else { "\"\"" });
        code.extend(found.as_str().matches('\n'));
        at = found.end();
    }
    code + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_left_without_comments_and_literals() {
        for (text, left) in [
            ("a // b\nc /* d\n g */ h\n", "a \nc \n h\n"),
            ("/// unsafe\nfn f() {}", "\nfn f() {}"),
            (r#"f("unsafe // x", 'u', '\'', "a\"b") // z"#, r#"f("", "", "", "") "#),
            (r##"r#"a " b"# + br"c\" + x"##, r#""" + "" + x"#),
            ("\"one\n two\";\nb", "\"\"\n;\nb"),
            ("fn f<'a>(x: &'a str) -> char { 'a' }", "fn f<'a>(x: &'a str) -> char { \"\" }"),
        ] {
            assert_eq!(code(text), left);
        }
    }

    #[test]
    fn prose_is_literals_and_comments_with_their_lines() {
        let found = "//! Why\nf(\n  \"a\\\"b\", '\"',\n  r#\"c\"\nd\"#) /* e */ // f";
        let found: Vec<_> =
            prose(found).map(|Prose { line, text, literal }| (line, text, literal)).collect();
        let expected = [
            (1, " Why", false),
            (3, "a\\\"b", true),
            (4, "c\"\nd", true),
            (5, " e ", false),
            (5, " f", false),
        ];
        assert_eq!(found, expected);
    }
}
