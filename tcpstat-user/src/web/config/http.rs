//! `http_server_config`: headers that are added to every answer.

use axum::http::{HeaderName, HeaderValue};

use super::{
    error::{Fault, Problem},
    section::{Section, entries},
    yaml::Node,
};

/// The headers that can be set, each with the only values that it can have; none: any value.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// The headers that are set, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::web) struct Headers(pub(in crate::web) Vec<(HeaderName, HeaderValue)>);

impl Headers {
    pub(super) fn parse(node: Node) -> Result<Self, Fault> {
        let mut section = Section::new("http_server_config", node, &["http2", "headers"])?;
        // The server speaks HTTP/1.1 only, so the value has no effect.
        section.boolean("http2", true)?;
        let Some(node) = section.take("headers") else { return Ok(Self::default()) };
        let mut headers = Vec::new();
        for entry in entries("headers", node)? {
            let known = HEADERS.iter().find(|(name, _)| *name == entry.key);
            let Some((name, values)) = known else {
                let known = HEADERS.map(|(name, _)| name).join(", ");
                let header = entry.key;
                return Err(Fault::new(entry.line, Problem::UnknownHeader { header, known }));
            };
            let line = entry.node.line;
            let value = entry.node.text(name)?;
            if value.is_empty() {
                continue;
            }
            if !values.is_empty() && !values.contains(&value.as_str()) {
                let choices = values.join(", ");
                return Err(Fault::new(line, Problem::NotAChoice { key: name, value, choices }));
            }
            let header = HeaderName::from_bytes(name.as_bytes()).ok();
            let valid = value.is_ascii().then(|| HeaderValue::from_str(&value).ok()).flatten();
            let (Some(header), Some(valid)) = (header, valid) else {
                let header = entry.key;
                return Err(Fault::new(line, Problem::HeaderValue { header, value }));
            };
            headers.push((header, valid));
        }
        Ok(Self(headers))
    }
}
