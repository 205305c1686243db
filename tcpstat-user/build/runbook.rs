//! docs/runbook.md as HTML.

use pulldown_cmark::{CowStr, Event, HeadingLevel, Parser, Tag, TagEnd, html};

/// The body of the page. Each section has the alert's name as its id, and the same in lower case, as other
/// renderers have it. Links that lead out of the page are left out, their text stays: what they lead to is
/// not served.
pub(crate) fn html(markdown: &str) -> String {
    let mut events = Vec::new();
    let mut anchor = String::new();
    let (mut in_heading, mut in_link) = (false, false);
    for event in Parser::new(markdown) {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) => {
                in_heading = true;
                anchor.clear();
            }
            Event::End(TagEnd::Heading(HeadingLevel::H2)) => {
                in_heading = false;
                events.push(Event::Html(CowStr::from(section(&anchor))));
            }
            Event::Text(text) if in_heading => anchor.push_str(&text),
            Event::Start(Tag::Link { ref dest_url, .. }) => {
                in_link = dest_url.starts_with('#');
                if in_link {
                    events.push(event);
                }
            }
            Event::End(TagEnd::Link) if !in_link => {}
            // None is written there, and none gets through.
            Event::Html(_) | Event::InlineHtml(_) => {}
            event => events.push(event),
        }
    }
    let mut page = String::new();
    html::push_html(&mut page, events.into_iter());
    page
}

fn section(name: &str) -> String {
    assert!(
        name.chars().all(|letter| letter.is_ascii_alphanumeric()),
        "a section of the runbook has the name of an alert, not {name:?}"
    );
    let lower = name.to_lowercase();
    format!("<h2 id=\"{name}\"><a id=\"{lower}\" href=\"#{name}\">{name}</a></h2>\n")
}
