//! A Markdown file, taken apart into what the checks read.

use std::collections::HashMap;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A Markdown file. Each line is counted from 1.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// As it is written.
    pub(crate) source: String,
    /// The targets of its links and images, each with its line.
    pub(crate) links: Vec<(usize, String)>,
    /// What stands in backquotes, each with its line.
    pub(crate) code: Vec<(usize, String)>,
    /// The anchors of its headings, as GitHub makes them.
    pub(crate) anchors: Vec<String>,
}

impl Document {
    /// Takes `text` apart.
    pub(crate) fn parse(text: &str) -> Self {
        let mut document = Self { source: text.to_owned(), ..Self::default() };
        let (mut heading, mut slugs) = (String::new(), HashMap::<_, usize>::new());
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push((line, dest_url.into_string()));
                }
                Event::Start(Tag::Heading { .. }) => heading.clear(),
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading);
                    // A number follows where an earlier heading has the same.
                    let before = slugs.entry(slug.clone()).or_default();
                    let number = if *before == 0 { String::new() } else { format!("-{before}") };
                    *before += 1;
                    document.anchors.push(slug + &number);
                }
                Event::Text(part) => heading += &part,
                Event::Code(code) => {
                    heading += &code;
                    document.code.push((line, code.into_string()));
                }
                _ => {}
            }
        }
        document
    }
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
    fn links_images_and_code_are_found_with_their_lines() {
        let document = Document::parse(
            "[a](a.md)\n![b](b.png)\n\n| x |\n| --- |\n| [c](c.md#d) |\n\n`[e](e.md)` and [f][1]\n\n```\n[g](g.md)\n```\n\n[1]: f.md\n",
        );
        let links = [(1, "a.md"), (2, "b.png"), (6, "c.md#d"), (8, "f.md")];
        assert_eq!(document.links, links.map(|(line, link)| (line, link.to_owned())));
        assert_eq!(document.code, [(8, "[e](e.md)".to_owned())]);
    }
}
