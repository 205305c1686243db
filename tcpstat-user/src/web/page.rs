//! The pages for people: `/`, which gets its numbers from the API, and `/runbook`.

use std::fmt::Write as _;

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    assets,
    coding::{Coded, Coding},
};
use crate::{
    states::{State, state_word},
    transitions::TRANSITIONS,
};

/// Allows scripts, styles and data only from this server, no inline ones, and no frame around the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A page, filled in and compressed once.
#[derive(Clone, Debug)]
pub(super) struct Page {
    html: String,
    compressed: Coded,
    etag: String,
}

impl Page {
    /// The page of the numbers. Its links are relative, so that it works behind a proxy that serves it below
    /// a path.
    pub(super) fn numbers(telemetry_path: &str, host: &str) -> Self {
        let html = include_str!("../../assets/page/page.html")
            .replace("{{metrics}}", &escaped(telemetry_path.trim_start_matches('/')))
            .replace("{{states}}", &state_rows())
            .replace("{{moves}}", &transition_rows())
            .replace("{{scope_states}}", &scope_columns());
        Self::new(&html, host)
    }

    /// The runbook; the id of a section is the name of its alert.
    pub(super) fn runbook(host: &str) -> Self {
        let text = include_str!(concat!(env!("OUT_DIR"), "/runbook.html"));
        let html = include_str!("../../assets/page/runbook.html").replace("{{runbook}}", text);
        Self::new(&html, host)
    }

    fn new(html: &str, host: &str) -> Self {
        let html = html
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{assets}}", &format!("assets/{}", *assets::VERSION))
            .replace("{{host}}", &escaped(host));
        let etag = format!("W/\"{}\"", assets::fingerprint([html.as_bytes()]));
        let compressed = Coded::new(html.clone(), Coding::Gzip);
        Self { html, compressed, etag }
    }

    /// Responds to a request with these headers; without a body if the client has the same page.
    pub(super) fn respond(&self, request: &HeaderMap) -> Response {
        let known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == self.etag.trim_start_matches("W/"));
        let headers = [
            // Weak, because the page has two codings.
            (header::ETAG, self.etag.as_str()),
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        if known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        let body = match Coding::accepted(request) {
            Coding::Gzip => self.compressed.clone(),
            Coding::Identity => Coded::new(self.html.clone(), Coding::Identity),
        };
        (headers, html, body).into_response()
    }
}

/// A row for each state, so that the layout is stable when the numbers arrive.
fn state_rows() -> String {
    rows(
        State::ALL.map(|state| {
            let word = state_word(state);
            (word.to_owned(), word.to_owned())
        }),
        &["total", "ipv4", "ipv6", "peak", "in", "out"],
    )
}

fn transition_rows() -> String {
    rows(
        TRANSITIONS.map(|(old, new)| {
            let (old, new) = (state_word(old), state_word(new));
            (format!("{old} {new}"), format!("{old} <span class=\"arrow\">→</span> {new}"))
        }),
        &["rate", "total"],
    )
}

/// The head of a column for each state, with a button that sorts by it.
fn scope_columns() -> String {
    let column = |state| {
        let word = state_word(state);
        format!(
            "<th scope=\"col\" data-column=\"{word}\"><button type=\"button\">{word}</button></th>"
        )
    };
    State::ALL.map(column).concat()
}

/// A row for each series, given by key and label: a button that shows it in the plot, and empty cells.
fn rows(series: impl IntoIterator<Item = (String, String)>, columns: &[&str]) -> String {
    let mut rows = String::new();
    for (key, label) in series {
        // Writing to a String cannot fail.
        let _ = write!(
            rows,
            "<tr data-series=\"{key}\" class=\"zero\"><th scope=\"row\"><button type=\"button\" \
             aria-pressed=\"true\"><svg class=\"swatch\" viewBox=\"0 0 18 4\" aria-hidden=\"true\"><line \
             x1=\"0\" y1=\"2\" x2=\"18\" y2=\"2\"/></svg>{label}</button></th>"
        );
        for column in columns {
            let _ = write!(rows, "<td class=\"{column}\">–</td>");
        }
        rows.push_str("</tr>\n");
    }
    rows
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telemetry_path_is_escaped_in_the_page() {
        let page = Page::numbers("/\"><script src=x>&", "on web-3");
        assert!(page.html.contains("href=\"&quot;&gt;&lt;script src=x&gt;&amp;\""));
    }

    #[test]
    fn no_placeholder_is_left_and_nothing_is_inline() {
        let html = Page::numbers("/metrics", "on web-3").html;
        for found in
            ["{{", "<style", " style=", " onclick=", "<script>", "javascript:", "http:", "https:"]
        {
            assert!(!html.contains(found), "{found}");
        }
    }

    #[test]
    fn every_state_and_every_transition_has_a_row() {
        let html = Page::numbers("/metrics", "on web-3").html;
        assert_eq!(html.matches("<tr data-series=").count(), State::ALL.len() + TRANSITIONS.len());
        assert!(html.contains("data-series=\"close_wait\""));
        assert!(html.contains("data-series=\"listen syn_recv\""));
        // Name and total, too.
        assert_eq!(html.matches("data-column=").count(), State::ALL.len() + 2);
    }
}
