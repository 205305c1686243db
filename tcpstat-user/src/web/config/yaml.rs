//! A YAML document as a tree in which every key and value has its line. Pure: the text comes in, no file is read.
//!
//! Scalars stay text, so the reader of a key decides what a value means. Anchors, aliases, and tags are refused:
//! no key needs them, and an alias can make a short text a huge tree.

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::error::{Fault, Problem};

/// The deepest key is in the fourth level.
const MAX_DEPTH: usize = 8;

/// A value, and the line on which it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// No value: nothing, `~`, or `null`.
    Null,
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One key of a mapping, with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The line of the key.
    pub(super) line: usize,
    pub(super) node: Node,
}

/// The document in `text`; [`Value::Null`] if there is none.
///
/// # Errors
/// If the text is not YAML, has more than one document, or has a part that is refused.
pub(super) fn document(text: &str) -> Result<Node, Fault> {
    // An alias without an anchor is refused as such, not as a fault of syntax.
    let options = granit_parser::options! { emit_unresolved_aliases: true };
    let mut reader = Reader { events: Parser::new_from_str_with_options(text, options) };
    let mut root = None;
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) if root.is_some() => {
                return Err(Fault::new(line, Problem::SecondDocument));
            }
            Event::DocumentStart(..) => {
                let (event, line) = reader.next()?;
                root = Some(reader.node(event, line, 0)?);
            }
            _ => return Ok(root.unwrap_or(Node { line: 1, value: Value::Null })),
        }
    }
}

struct Reader<'a, I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> {
    events: I,
}

impl<'a, I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> Reader<'a, I> {
    /// The next event, and its line. After the last one: the end of the stream.
    fn next(&mut self) -> Result<(Event<'a>, usize), Fault> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => {
                Err(Fault::new(error.marker().line(), Problem::Syntax { cause: error.info() }))
            }
            None => Ok((Event::StreamEnd, 1)),
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(line, Problem::TooDeep));
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse(anchor, tag.is_some(), line)?;
                let is_null = style == ScalarStyle::Plain
                    && ["", "~", "null", "Null", "NULL"].contains(&text.as_ref());
                if is_null { Value::Null } else { Value::Text(text.into_owned()) }
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse(anchor, tag.is_some(), line)?;
                self.list(depth)?
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse(anchor, tag.is_some(), line)?;
                self.mapping(depth)?
            }
            _ => return Err(Fault::new(line, Problem::Reference)),
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(nodes)),
                (event, line) => nodes.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut entries = Vec::new();
        loop {
            let (event, line) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Mapping(entries)),
                Event::Scalar(text, _, anchor, tag) => {
                    refuse(anchor, tag.is_some(), line)?;
                    text.into_owned()
                }
                _ => return Err(Fault::new(line, Problem::KeyIsNoText)),
            };
            let (event, value_line) = self.next()?;
            let node = self.node(event, value_line, depth + 1)?;
            entries.push(Entry { key, line, node });
        }
    }
}

/// Refuses a node with an anchor (0 is none) or a tag.
fn refuse(anchor: usize, tagged: bool, line: usize) -> Result<(), Fault> {
    if anchor != 0 || tagged { Err(Fault::new(line, Problem::Reference)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (usize, String) {
        let fault = document(text).unwrap_err();
        (fault.line, fault.problem.to_string())
    }

    #[test]
    fn a_text_without_a_value_is_null() {
        for text in ["", "\n\n", "# a comment\n", "---\n", "~", "null\n", "---\n# x\n...\n"] {
            assert!(matches!(document(text).unwrap().value, Value::Null), "{text:?}");
        }
    }

    #[test]
    fn each_key_and_value_has_its_line() {
        let Value::Mapping(entries) = document("# x\na:\n  b: c\n\nd:\n- e\n- f\n").unwrap().value
        else {
            panic!("not a mapping")
        };
        assert_eq!((entries[0].key.as_str(), entries[0].line), ("a", 2));
        let Value::Mapping(inner) = &entries[0].node.value else { panic!("not a mapping") };
        assert_eq!((inner[0].line, inner[0].node.line), (3, 3));
        let Value::List(list) = &entries[1].node.value else { panic!("not a list") };
        assert_eq!([list[0].line, list[1].line], [6, 7]);
    }

    #[test]
    fn a_quoted_null_is_text() {
        for text in ["\"\"", "'null'", "\"~\""] {
            assert!(matches!(document(text).unwrap().value, Value::Text(_)), "{text}");
        }
    }

    #[test]
    fn what_is_not_yaml_is_an_error_with_its_line() {
        assert_eq!(fault("a: b\nc: [1, 2\n").0, 2);
        assert_eq!(fault("a:\n\tb: c\n").0, 2);
        assert_eq!(fault("a: 'b\n").0, 1);
    }

    #[test]
    fn anchors_aliases_tags_and_a_second_document_are_refused() {
        assert_eq!(fault("a: &x b\n").1, Problem::Reference.to_string());
        assert_eq!(fault("a: &x b\nc: *x\n").0, 1);
        assert_eq!(fault("a: !!binary b\n").1, Problem::Reference.to_string());
        assert_eq!(fault("a: b\n---\nc: d\n"), (2, Problem::SecondDocument.to_string()));
        assert_eq!(fault("[a]: b\n").1, Problem::KeyIsNoText.to_string());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(fault(&deep).1, Problem::TooDeep.to_string());
        assert!(document("a: [[[[x]]]]").is_ok());
    }
}
