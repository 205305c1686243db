//! Text bodies, compressed for clients that accept it.

use std::io::Write as _;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};

/// A shorter body fits a few packets and is not compressed.
const MIN_COMPRESSED: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Coding {
    Identity,
    /// RFC 1952.
    Gzip,
}

/// A body in its coding.
#[derive(Clone, Debug)]
pub(super) struct Coded {
    bytes: Bytes,
    coding: Coding,
}

impl Coding {
    /// The coding that a client with these headers accepts (RFC 9110, section 12.5.3).
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let (mut gzip, mut any) = (None, None);
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            for (name, quality) in ranges(value) {
                match name.to_ascii_lowercase().as_str() {
                    "gzip" | "x-gzip" => gzip = Some(quality),
                    "*" => any = Some(quality),
                    _ => {}
                }
            }
        }
        let accepted = gzip.or(any).is_some_and(|quality| quality > 0.0);
        if accepted { Self::Gzip } else { Self::Identity }
    }
}

/// Each name in an Accept header with its quality: 1 if it has none, 0 if it is not a number.
pub(super) fn ranges(value: &HeaderValue) -> impl Iterator<Item = (&str, f32)> {
    value.to_str().unwrap_or_default().split(',').map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
        (name, quality)
    })
}

impl Coded {
    /// `text`, compressed if `accepted` allows it and `text` is long enough.
    pub(super) fn new(text: impl Into<Bytes>, accepted: Coding) -> Self {
        let bytes = text.into();
        if accepted == Coding::Gzip && bytes.len() >= MIN_COMPRESSED {
            Self { bytes: compressed(&bytes), coding: Coding::Gzip }
        } else {
            Self { bytes, coding: Coding::Identity }
        }
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &[u8] {
        &self.bytes
    }
}

impl IntoResponse for Coded {
    /// Sets the headers of the coding; the caller sets the content type.
    fn into_response(self) -> Response {
        let mut response = self.bytes.into_response();
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
        if self.coding == Coding::Gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn compressed(bytes: &[u8]) -> Bytes {
    // An exposition compresses to a tenth.
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    // Writing to a Vec cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &'static str) -> Coding {
        let headers = [(header::ACCEPT_ENCODING, HeaderValue::from_static(value))];
        Coding::accepted(&headers.into_iter().collect())
    }

    #[test]
    fn a_client_gets_gzip_only_if_it_accepts_it() {
        assert_eq!(Coding::accepted(&HeaderMap::new()), Coding::Identity);
        for yes in ["gzip", "GZIP", "deflate, gzip;q=0.5", "*", "br, *;q=0.1", "identity, x-gzip"] {
            assert_eq!(accepted(yes), Coding::Gzip, "{yes}");
        }
        for no in ["", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzip;q=0, *", "deflate", "gzip;q=x"] {
            assert_eq!(accepted(no), Coding::Identity, "{no}");
        }
    }

    #[test]
    fn a_short_body_is_not_compressed() {
        let coding = |length| Coded::new(vec![b'x'; length], Coding::Gzip).coding;
        assert_eq!(coding(MIN_COMPRESSED - 1), Coding::Identity);
        assert_eq!(coding(MIN_COMPRESSED), Coding::Gzip);
        let plain = Coded::new(vec![b'x'; MIN_COMPRESSED], Coding::Identity);
        assert_eq!(plain.coding, Coding::Identity);
    }
}
