//! Times as text.

use std::time::{Duration, UNIX_EPOCH};

/// Formats times in microseconds, in UTC. The text of the second is kept: in a busy stream most times are in the same one.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    /// `2026-11-26T19:20:00`
    text: String,
}

const NANOSECONDS: u64 = 1_000_000_000;

impl Clock {
    /// Writes `2026-11-26T19:20:00.123456Z`, or without the date, for a number of nanoseconds since 1970.
    pub(super) fn write(&mut self, line: &mut Vec<u8>, unix: u64, date: bool) {
        let second = unix / NANOSECONDS;
        if second != self.second || self.text.is_empty() {
            let time = UNIX_EPOCH + Duration::from_secs(second);
            self.text = humantime::format_rfc3339_seconds(time).to_string();
            self.text.pop();
            self.second = second;
        }
        let start = if date { 0 } else { self.text.find('T').map_or(0, |at| at + 1) };
        line.extend_from_slice(&self.text.as_bytes()[start..]);
        let mut micros = unix % NANOSECONDS / 1_000;
        let mut digits = *b".000000Z";
        for digit in digits[1..7].iter_mut().rev() {
            *digit += u8::try_from(micros % 10).unwrap_or(0);
            micros /= 10;
        }
        line.extend_from_slice(&digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(clock: &mut Clock, unix: u64, date: bool) -> String {
        let mut line = Vec::new();
        clock.write(&mut line, unix, date);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_time_has_its_microseconds_with_zeros() {
        let clock = &mut Clock::default();
        let second = 1_795_720_800 * NANOSECONDS;
        assert_eq!(text(clock, second, true), "2026-11-26T19:20:00.000000Z");
        assert_eq!(text(clock, second + 1_234_999, true), "2026-11-26T19:20:00.001234Z");
        assert_eq!(text(clock, second + 999_999_999, false), "19:20:00.999999Z");
        assert_eq!(text(clock, second + NANOSECONDS, false), "19:20:01.000000Z");
        assert_eq!(text(clock, 0, true), "1970-01-01T00:00:00.000000Z");
    }
}
