//! Server-sent events (HTML Living Standard, 9.2.6), as far as tcpstat sends them: names and data.

use std::io::{self, BufRead};

/// Longest line that is taken: an event of tcpstat has some kilobytes.
const LONGEST: u64 = 1 << 20;

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
        loop {
            let mut line = String::new();
            io::Read::take(&mut self.stream, LONGEST).read_line(&mut line)?;
            let Some(line) = line.strip_suffix('\n') else { return Ok(None) };
            let line = line.strip_suffix('\r').unwrap_or(line);
            // A line that begins with a colon only keeps the connection alive.
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "data" if event.data.is_empty() => value.clone_into(&mut event.data),
                "data" => event.data.extend(["\n", value]),
                "" if line.is_empty() && event != Event::default() => return Ok(Some(event)),
                _ => {}
            }
        }
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
    fn data_of_several_lines_is_put_together() {
        assert_eq!(events("data: a\ndata: b\nid: 7\n\n"), [owned("", "a\nb")]);
    }
}
