//! Comments, literals and test items told from code.

use super::*;

fn codes(text: &str) -> Vec<String> {
    Source::parse("x.rs", text).lines.into_iter().map(|line| line.code).collect()
}

fn literals(text: &str) -> Vec<(usize, String)> {
    let source = Source::parse("x.rs", text);
    source
        .numbered()
        .flat_map(|(number, line)| line.literals.iter().map(move |text| (number, text.clone())))
        .collect()
}

#[test]
fn comments_are_no_code() {
    assert_eq!(codes("a // b\nc /* d /* e */ f\n g */ h\n"), ["a ", "c ", " h"]);
    assert_eq!(codes("/// unsafe\nfn f() {}"), ["", "fn f() {}"]);
}

#[test]
fn literals_are_apart_from_code() {
    assert_eq!(codes(r#"f("unsafe // x", 'u', '\'', b"y") // z"#), ["f(\"\", '', '', b\"\") "]);
    assert_eq!(codes(r##"r#"a " b"# + br"c" + x"##), [r#""" + "" + x"#]);
    assert_eq!(
        literals("f(\n  \"a\\\"b\",\n  r#\"c\"d\"#)"),
        [(2, "a\\\"b".to_owned()), (3, "c\"d".to_owned())]
    );
}

#[test]
fn lines_are_counted_through_long_literals() {
    let source = Source::parse("x.rs", "let a = \"one\n two\n\";\nlet b = 1;\n");
    assert_eq!(source.lines.len(), 4);
    assert_eq!(source.lines[3].code, "let b = 1;");
}

#[test]
fn lifetimes_are_code() {
    assert_eq!(
        codes("fn f<'a>(x: &'a str) -> char { 'a' }"),
        ["fn f<'a>(x: &'a str) -> char { '' }"]
    );
}

#[test]
fn test_items_are_marked_to_their_end() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() -> [u8; 4] {}\n}\nfn c() {}\n#[cfg(test)]\n\
                mod more;\nfn d() {}\n";
    let source = Source::parse("x.rs", text);
    let marked: Vec<bool> = source.lines.iter().map(|line| line.test).collect();
    assert_eq!(marked, [false, true, true, true, true, false, true, true, false]);
}

#[test]
fn a_grouped_use_is_one_piece() {
    let source =
        Source::parse("x.rs", "use a::b;\npub use std::{\n    fs,\n    io,\n};\nfn f() {}\n");
    assert_eq!(
        source.uses(),
        [(1, "use a::b;".to_owned()), (2, "pub use std::{fs,io,};".to_owned())]
    );
}

#[test]
fn words_are_whole() {
    assert!(contains_word("use aya::x", "aya"));
    assert!(!contains_word("use aya_log::x; papaya::y", "aya"));
}
