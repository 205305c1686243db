//! Server-sent events (HTML Living Standard, 9.2.6), as far as tcpstat sends them: names and data.

use std::{
    io::{self, BufRead},
    time::{Duration, Instant},
};

/// Most bytes of an event, with all that keeps the connection alive before it: one of tcpstat has some
/// kilobytes.
const LONGEST: usize = 1 << 20;

/// Longest time to the end of an event: there is one every second.
const SLOWEST: Duration = Duration::from_secs(10);

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// What it is.
    pub(super) name: String,
    /// What it tells.
    pub(super) data: String,
}

/// The events of a stream, until it ends.
pub(super) struct Events<R> {
    stream: R,
}

impl<R: BufRead> Events<R> {
    pub(super) fn of(stream: R) -> Self {
        Self { stream }
    }

    /// `None` at the end; an event that it cuts off is none.
    fn event(&mut self) -> io::Result<Option<Event>> {
        let mut event = Event::default();
        let mut limits = Limits { bytes: LONGEST, until: Instant::now() + SLOWEST };
        while let Some(line) = self.line(&mut limits)? {
            // A line that begins with a colon only keeps the connection alive.
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "data" if event.data.is_empty() => value.clone_into(&mut event.data),
                "data" => event.data.extend(["\n", value]),
                "" if line.is_empty() && event != Event::default() => return Ok(Some(event)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next line without its end; `None` where the stream ends before that.
    fn line(&mut self, limits: &mut Limits) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let come = self.stream.fill_buf()?;
            if come.is_empty() {
                return Ok(None);
            }
            let end = memchr::memchr(b'\n', come);
            let length = end.map_or(come.len(), |end| end + 1);
            limits.take(length)?;
            line.extend_from_slice(&come[..length]);
            self.stream.consume(length);
            if end.is_some() {
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
        }
    }
}

/// What is left for the event that is being read.
struct Limits {
    bytes: usize,
    until: Instant,
}

impl Limits {
    fn take(&mut self, bytes: usize) -> io::Result<()> {
        let left = self.bytes.checked_sub(bytes).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("an event of more than {LONGEST} bytes"),
            )
        })?;
        self.bytes = left;
        if Instant::now() > self.until {
            let late = format!("an event takes longer than {} s", SLOWEST.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, late));
        }
        Ok(())
    }
}

impl<R: BufRead> Iterator for Events<R> {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<io::Result<Event>> {
        self.event().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<(String, String)> {
        let events = Events::of(text.as_bytes()).map(Result::unwrap);
        events.map(|event| (event.name, event.data)).collect()
    }

    fn owned(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn events_end_with_an_empty_line() {
        let text = "event: sample\ndata: {\"a\":1}\n\nevent:status\r\ndata:{}\r\n\r\n";
        assert_eq!(events(text), [owned("sample", "{\"a\":1}"), owned("status", "{}")]);
    }

    #[test]
    fn what_keeps_alive_and_what_is_cut_off_is_no_event() {
        assert_eq!(events(":\n\n: alive\n\nevent: sample\ndata: x\n"), []);
        assert_eq!(
            events("event: sample\ndata: x\n\nevent: sample\ndata: {\"un"),
            [owned("sample", "x")]
        );
    }

    #[test]
    fn an_event_that_does_not_end_is_an_error() {
        let line = format!("data: {}\n", "x".repeat(1000));
        for text in [line.repeat(2_000), "x".repeat(2 << 20), ":\n".repeat(1 << 20)] {
            let told: Vec<_> = Events::of(text.as_bytes()).take(2).collect();
            let error = told.into_iter().next().unwrap().unwrap_err().to_string();
            assert_eq!(error, "an event of more than 1048576 bytes");
        }
        // The limit is for each.
        let event = format!("data: {}\n\n", "x".repeat(600_000));
        assert_eq!(events(&event.repeat(3)).len(), 3);
    }

    #[test]
    fn what_is_no_utf_8_is_replaced() {
        let told: Vec<_> = Events::of(&b"data: a\xffb\n\n"[..]).map(Result::unwrap).collect();
        assert_eq!(told[0].data, "a\u{fffd}b");
    }

    #[test]
    fn data_of_several_lines_is_put_together() {
        assert_eq!(events("data: a\ndata: b\nid: 7\n\n"), [owned("", "a\nb")]);
    }
}
