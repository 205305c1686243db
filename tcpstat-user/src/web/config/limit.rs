//! `rate_limit`: how often requests may come.

use std::time::Duration;

use super::{
    error::{Fault, Problem},
    section::Section,
    yaml::Node,
};

const MAX_BURST: u32 = 1_000_000;

/// A bucket of `burst` tokens, of which each request takes one; one comes back per `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) struct RateLimit {
    /// Not zero.
    pub(in crate::web) interval: Duration,
    /// At least 1.
    pub(in crate::web) burst: u32,
}

impl RateLimit {
    /// `None` for no limit: no interval, or one of 0.
    pub(super) fn parse(node: Node) -> Result<Option<Self>, Fault> {
        let section_line = node.line;
        let mut section = Section::new("rate_limit", node, &["interval", "burst"])?;
        let interval = match section.text("interval")? {
            Some((value, line)) => duration(&value)
                .ok_or_else(|| Fault::new(line, Problem::Duration { key: "interval", value }))?,
            None => Duration::ZERO,
        };
        let burst = match section.text("burst")? {
            Some((value, line)) => match value.parse() {
                Ok(burst @ 0..=MAX_BURST) => Some((burst, line)),
                _ => return Err(Fault::new(line, Problem::Burst { value })),
            },
            None => None,
        };
        match (interval, burst) {
            (Duration::ZERO, _) => Ok(None),
            (_, None) => Err(Fault::new(section_line, Problem::NoBurst)),
            (_, Some((0, line))) => Err(Fault::new(line, Problem::Burst { value: "0".to_owned() })),
            (interval, Some((burst, _))) => Ok(Some(Self { interval, burst })),
        }
    }
}

/// A duration as Go writes it: numbers, each with a unit. `None` if it is not one, or is longer than a century.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let factor = match unit {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    let most = 100.0 * 365.0 * 86400.0;
    (!text.is_empty() && seconds <= most).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_numbers_with_units() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("1s", 1_000),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("2000\u{b5}s", 2),
            ("3000000ns", 3),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "1", "s", "-1s", "1 s", "1d", "1s2", "1..2s", "1e9s", "99999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
