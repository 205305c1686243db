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

/// The string literals of a file, without quotes and with escapes as written, each with the line that it begins
/// in, from 1.
pub(crate) fn literals(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut line, mut at) = (1, 0);
    PROSE.find_iter(text).filter_map(move |found| {
        line += text[at..found.start()].matches('\n').count();
        at = found.start();
        let quoted = found.as_str().trim_start_matches(['b', 'c', 'r']).trim_matches('#');
        quoted.starts_with('"').then(|| (line, &quoted[1..quoted.len() - 1]))
    })
}

/// What people read of a file, each line in its place: comments without their slashes, string literals with
/// spaces for their escapes, and the names that are declared, such as `LastScan` as two words. A semicolon
/// stands for other code.
pub(crate) fn words(text: &str) -> String {
    let (mut words, mut at) = (String::with_capacity(text.len()), 0);
    for found in PROSE.find_iter(text) {
        declared(&text[at..found.start()], &mut words);
        let prose = found.as_str();
        match prose.strip_prefix('/') {
            Some(comment) => words.push_str(comment.trim_start_matches(['/', '!', '*'])),
            None => words.push_str(&ESCAPE.replace_all(prose, " ${1}")),
        }
        at = found.end();
    }
    declared(&text[at..], &mut words);
    words
}

/// Appends the names that code declares.
fn declared(code: &str, words: &mut String) {
    for line in code.split_inclusive('\n') {
        for [name] in DECLARED.captures_iter(line).map(|found| found.extract().1) {
            words.push(';');
            words.push_str(&INNER_BORDER.replace_all(name, "$1 $2"));
        }
        words.push_str(if line.trim().is_empty() { "" } else { ";" });
        words.push_str(if line.ends_with('\n') { "\n" } else { "" });
    }
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
    fn literals_have_their_lines() {
        let text = "//! \"Why\"\nf(\n  \"a\\\"b\", '\"',\n  r#\"c\"\nd\"#) /* \"e\" */";
        assert_eq!(literals(text).collect::<Vec<_>>(), [(3, "a\\\"b"), (4, "c\"\nd")]);
    }
}
