//! What is for people: `/`, which asks the API for what it shows, and `/runbook`.

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

/// Scripts, styles and data from here alone, none of them inline, and no frame around it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page as this exporter serves it, made once.
#[derive(Clone, Debug)]
pub(super) struct Page {
    html: String,
    compressed: Coded,
    etag: String,
}

impl Page {
    /// The page of the numbers. Links are relative, so that it works behind a proxy that puts it below a
    /// path.
    pub(super) fn numbers(telemetry_path: &str, host: &str) -> Self {
        let html = include_str!("../../assets/page/page.html")
            .replace("{{metrics}}", &escaped(telemetry_path.trim_start_matches('/')))
            .replace("{{states}}", &state_rows())
            .replace("{{moves}}", &move_rows());
        Self::new(&html, host)
    }

    /// What each alert means, and what to do; a section has its alert's name as its id.
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

    /// The page; without it where `asked` has the same one already.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response {
        let known = asked
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == self.etag.trim_start_matches("W/"));
        let headers = [
            // Weak: the same page is sent in two codings.
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
        let body = match Coding::accepted(asked) {
            Coding::Gzip => self.compressed.clone(),
            Coding::Identity => Coded::new(self.html.clone(), Coding::Identity),
        };
        (headers, html, body).into_response()
    }
}

/// A row for each state, so that nothing moves when the numbers come.
fn state_rows() -> String {
    rows(
        State::ALL.map(|state| {
            let word = state_word(state);
            (word.to_owned(), word.to_owned())
        }),
        &["total", "ipv4", "ipv6", "in", "out"],
    )
}

fn move_rows() -> String {
    rows(
        TRANSITIONS.map(|(old, new)| {
            let (old, new) = (state_word(old), state_word(new));
            (format!("{old} {new}"), format!("{old} <span class=\"arrow\">→</span> {new}"))
        }),
        &["rate", "total"],
    )
}

/// A row for each series, by its key and what it is called: a button that shows it in the plot, and empty
/// cells.
fn rows(series: impl IntoIterator<Item = (String, String)>, columns: &[&str]) -> String {
    let mut rows = String::new();
    for (key, name) in series {
        // Writing to a String cannot fail.
        let _ = write!(
            rows,
            "<tr data-series=\"{key}\" class=\"zero\"><th scope=\"row\"><button type=\"button\" \
             aria-pressed=\"true\"><svg class=\"swatch\" viewBox=\"0 0 18 4\" aria-hidden=\"true\"><line \
             x1=\"0\" y1=\"2\" x2=\"18\" y2=\"2\"/></svg>{name}</button></th>"
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
    fn a_path_of_the_metrics_cannot_write_into_the_page() {
        let page = Page::numbers("/\"><script src=x>&", "on web-3");
        assert!(page.html.contains("href=\"&quot;&gt;&lt;script src=x&gt;&amp;\""));
    }

    #[test]
    fn nothing_is_left_to_be_filled_in_and_nothing_is_inline() {
        let html = Page::numbers("/metrics", "on web-3").html;
        for found in
            ["{{", "<style", " style=", " onclick=", "<script>", "javascript:", "http:", "https:"]
        {
            assert!(!html.contains(found), "{found}");
        }
    }

    #[test]
    fn every_state_and_every_move_has_a_row() {
        let html = Page::numbers("/metrics", "on web-3").html;
        assert_eq!(html.matches("<tr data-series=").count(), State::ALL.len() + TRANSITIONS.len());
        assert!(html.contains("data-series=\"close_wait\""));
        assert!(html.contains("data-series=\"listen syn_recv\""));
    }
}
