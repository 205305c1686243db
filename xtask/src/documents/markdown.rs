//! A Markdown file, taken apart into what the checks read.

use std::collections::HashMap;
use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A Markdown file.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// As it is written.
    pub(crate) source: String,
    /// Its blocks of text: paragraphs, headings, table cells, code.
    pub(crate) passages: Vec<Passage>,
    /// Its links and images.
    pub(crate) links: Vec<Link>,
    /// The anchors of its headings, as GitHub makes them.
    pub(crate) anchors: Vec<String>,
}

/// A block of text, with a space for each line break inside it.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    /// The text, without markup.
    pub(crate) text: String,
    /// Where names of code stand in it, each in backquotes in the source.
    pub(crate) code: Vec<Range<usize>>,
    /// Offsets in the text, ascending, each with the line that the text there begins in.
    lines: Vec<(usize, usize)>,
}

/// A link or an image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its line in the file, from 1.
    pub(crate) line: usize,
    /// What it leads to, as written.
    pub(crate) target: String,
}

impl Document {
    /// Takes `text` apart.
    pub(crate) fn parse(text: &str) -> Self {
        let mut reader = Reader::new(text);
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            reader.read(event, reader.line(range.start));
        }
        reader.end_passage();
        Self { source: text.to_owned(), ..reader.document }
    }

    /// What stands in backquotes, each with its line.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.passages.iter().flat_map(|passage| {
            let code = passage.code.iter();
            code.map(|code| (passage.line(code.start), &passage.text[code.clone()]))
        })
    }
}

impl Passage {
    /// The line of the file in which the character at `offset` stands, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        let after = self.lines.partition_point(|&(begin, _)| begin <= offset);
        let Some(&(begin, line)) = after.checked_sub(1).and_then(|last| self.lines.get(last))
        else {
            return 1;
        };
        line + self.text[begin..offset].matches('\n').count()
    }

    fn push(&mut self, text: &str, line: usize) {
        self.lines.push((self.text.len(), line));
        self.text.push_str(text);
    }
}

struct Reader {
    document: Document,
    passage: Passage,
    /// Where each line of the file begins.
    line_starts: Vec<usize>,
    /// How often a heading of that slug has come.
    slugs: HashMap<String, usize>,
}

impl Reader {
    fn new(text: &str) -> Self {
        let line_starts =
            [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self {
            document: Document::default(),
            passage: Passage::default(),
            line_starts,
            slugs: HashMap::new(),
        }
    }

    /// The line that byte `at` of the file is in, from 1.
    fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= at)
    }

    fn read(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                self.document.links.push(Link { line, target: dest_url.into_string() });
            }
            Event::Start(tag) if !is_inline(tag.to_end()) => self.end_passage(),
            Event::End(TagEnd::Heading(_)) => {
                let slug = self.unique(slug(&self.passage.text));
                self.document.anchors.push(slug);
                self.end_passage();
            }
            Event::End(tag) if !is_inline(tag) => self.end_passage(),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                self.passage.push(&text, line);
            }
            Event::Code(name) => {
                let begin = self.passage.text.len();
                self.passage.push(&name, line);
                self.passage.code.push(begin..self.passage.text.len());
            }
            Event::SoftBreak | Event::HardBreak => self.passage.push(" ", line),
            _ => {}
        }
    }

    fn end_passage(&mut self) {
        let passage = std::mem::take(&mut self.passage);
        if !passage.text.is_empty() {
            self.document.passages.push(passage);
        }
    }

    /// The slug, with a number where an earlier heading has the same.
    fn unique(&mut self, slug: String) -> String {
        let before = self.slugs.entry(slug.clone()).or_default();
        *before += 1;
        if *before == 1 { slug } else { format!("{slug}-{}", *before - 1) }
    }
}

/// Whether it stands inside a line of text.
fn is_inline(tag: TagEnd) -> bool {
    matches!(
        tag,
        TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image
    )
}

/// What GitHub makes of a heading: lower case, only letters, digits, `_` and `-`, a `-` for each space.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|&c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_those_of_github() {
        let document = Document::parse(
            "# A `tp_btf` program: what it *does*\n\n## /api/v1/status\n\n## Twice\n\n## Twice\n\nSet\n---\n",
        );
        let anchors = ["a-tp_btf-program-what-it-does", "apiv1status", "twice", "twice-1", "set"];
        assert_eq!(document.anchors, anchors);
    }

    #[test]
    fn links_and_images_are_found_with_their_lines_and_code_is_not() {
        let document = Document::parse(
            "[a](a.md)\n![b](b.png)\n\n| x |\n| --- |\n| [c](c.md#d) |\n\n`[e](e.md)` and [f][1]\n\n```\n[g](g.md)\n```\n\n[1]: f.md\n",
        );
        let found: Vec<_> =
            document.links.iter().map(|link| (link.line, link.target.as_str())).collect();
        assert_eq!(found, [(1, "a.md"), (2, "b.png"), (6, "c.md#d"), (8, "f.md")]);
    }

    #[test]
    fn a_passage_knows_the_lines_of_its_words_and_what_is_code() {
        let document = Document::parse("# One\n\ntwo\n`three` four\n\n```sh\nfive\nsix\n```\n");
        let line_of = |word: &str| {
            document
                .passages
                .iter()
                .find_map(|passage| passage.text.find(word).map(|offset| passage.line(offset)))
        };
        let words = ["One", "two", "three", "four", "five", "six"].map(line_of);
        assert_eq!(words, [1, 3, 4, 4, 7, 8].map(Some));
        let two = &document.passages[1];
        assert_eq!(two.text, "two three four");
        assert_eq!(
            two.code.iter().map(|code| &two.text[code.clone()]).collect::<Vec<_>>(),
            ["three"]
        );
    }
}
