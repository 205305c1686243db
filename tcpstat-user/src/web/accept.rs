//! Which text format a scraper asks for (RFC 9110, section 12.5.1).

use axum::http::HeaderValue;

use crate::metrics::Format;

/// The format that the Accept headers want most; the classic one where they do not say.
pub(super) fn format<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>) -> Format {
    let (mut openmetrics, mut classic) = (0.0, 0.0);
    for value in accept.into_iter().filter_map(|value| value.to_str().ok()) {
        for range in value.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let wanted = match parts.next().unwrap_or_default() {
                "application/openmetrics-text" => &mut openmetrics,
                "text/plain" | "text/*" | "*/*" => &mut classic,
                _ => continue,
            };
            let quality = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
            *wanted = f32::max(*wanted, quality);
        }
    }
    if openmetrics > classic { Format::OpenMetrics } else { Format::Classic }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &'static str) -> Format {
        format([&HeaderValue::from_static(accept)])
    }

    #[test]
    fn without_a_wish_the_format_is_the_classic_one() {
        assert_eq!(format([]), Format::Classic);
        assert_eq!(asked("*/*"), Format::Classic);
        assert_eq!(asked("text/html,application/xhtml+xml,*/*;q=0.8"), Format::Classic);
    }

    #[test]
    fn prometheus_gets_openmetrics_because_it_prefers_it() {
        assert_eq!(
            asked(
                "application/openmetrics-text;version=1.0.0;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=0.0.4;q=0.4,*/*;q=0.3"
            ),
            Format::OpenMetrics
        );
    }

    #[test]
    fn the_quality_decides_and_nonsense_counts_nothing() {
        assert_eq!(asked("text/plain, application/openmetrics-text;q=0.5"), Format::Classic);
        assert_eq!(asked("application/openmetrics-text;q=0"), Format::Classic);
        assert_eq!(asked("application/openmetrics-text;q=much"), Format::Classic);
    }
}
