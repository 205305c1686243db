//! The text format that a scraper requests (RFC 9110, section 12.5.1).

use axum::http::HeaderValue;

use super::coding::ranges;
use crate::metrics::Format;

/// The format that the Accept headers prefer; the classic one if they prefer none.
pub(super) fn format<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>) -> Format {
    let (mut openmetrics, mut classic) = (0.0, 0.0);
    for value in accept {
        for (name, quality) in ranges(value) {
            let preference = match name {
                "application/openmetrics-text" => &mut openmetrics,
                "text/plain" | "text/*" | "*/*" => &mut classic,
                _ => continue,
            };
            *preference = f32::max(*preference, quality);
        }
    }
    if openmetrics > classic { Format::OpenMetrics } else { Format::Classic }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(accept: &'static str) -> Format {
        format([&HeaderValue::from_static(accept)])
    }

    #[test]
    fn without_a_preference_the_format_is_the_classic_one() {
        assert_eq!(format([]), Format::Classic);
        assert_eq!(requested("*/*"), Format::Classic);
        assert_eq!(requested("text/html,application/xhtml+xml,*/*;q=0.8"), Format::Classic);
    }

    #[test]
    fn prometheus_gets_openmetrics() {
        assert_eq!(
            requested(
                "application/openmetrics-text;version=1.0.0;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=0.0.4;q=0.4,*/*;q=0.3"
            ),
            Format::OpenMetrics
        );
    }

    #[test]
    fn the_quality_decides_and_an_invalid_one_is_zero() {
        assert_eq!(requested("text/plain, application/openmetrics-text;q=0.5"), Format::Classic);
        assert_eq!(requested("application/openmetrics-text;q=0"), Format::Classic);
        assert_eq!(requested("application/openmetrics-text;q=much"), Format::Classic);
    }
}
