//! The event stream: server-sent events (HTML Living Standard, 9.2.6). Each has a name and JSON as its data.

use std::{
    io::{self, BufRead, Write},
    time::{Duration, Instant},
};

use serde::Serialize;

/// Name of an event whose data is a [`SampleJson`](super::SampleJson).
pub(crate) const SAMPLE_EVENT: &str = "sample";

/// Name of an event whose data is a [`StatusJson`](super::StatusJson).
pub(crate) const STATUS_EVENT: &str = "status";

/// A comment, which readers ignore.
pub(crate) const KEEP_ALIVE: &[u8] = b":\n\n";

const EVENT_FIELD: &str = "event";
const DATA_FIELD: &str = "data";

/// Maximum size of an event and of the comments before it. An event of tcpstat has some kilobytes.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Maximum time from one event to the end of the next. tcpstat sends two each second.
const MAX_EVENT_TIME: Duration = Duration::from_secs(10);

/// Appends an event.
pub(crate) fn write_event(text: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    // Writing to a Vec cannot fail, and the types of this module serialize without errors.
    let _ = write!(text, "{EVENT_FIELD}: {name}\n{DATA_FIELD}: ");
    let _ = serde_json::to_writer(&mut *text, data);
    text.extend(b"\n\n");
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Iterates over the events of a stream until it ends. An event that the end cuts off is dropped.
pub(crate) struct EventReader<R> {
    stream: R,
}

impl<R: BufRead> EventReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream }
    }

    fn read_event(&mut self) -> io::Result<Option<Event>> {
        let mut event = Event::default();
        let mut limits =
            Limits { bytes: MAX_EVENT_BYTES, deadline: Instant::now() + MAX_EVENT_TIME };
        while let Some(line) = self.read_line(&mut limits)? {
            // The field of a comment, a line that begins with a colon, is empty.
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                EVENT_FIELD => value.clone_into(&mut event.name),
                DATA_FIELD if event.data.is_empty() => value.clone_into(&mut event.data),
                DATA_FIELD => event.data.extend(["\n", value]),
                "" if line.is_empty() && event != Event::default() => return Ok(Some(event)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next line, without its end; `None` if the stream ends before the line does.
    fn read_line(&mut self, limits: &mut Limits) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let available = self.stream.fill_buf()?;
            if available.is_empty() {
                return Ok(None);
            }
            let end = memchr::memchr(b'\n', available);
            let length = end.map_or(available.len(), |end| end + 1);
            limits.check(length)?;
            line.extend_from_slice(&available[..length]);
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

impl<R: BufRead> Iterator for EventReader<R> {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<io::Result<Event>> {
        self.read_event().transpose()
    }
}

/// What is left for the current event.
struct Limits {
    bytes: usize,
    deadline: Instant,
}

impl Limits {
    fn check(&mut self, bytes: usize) -> io::Result<()> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| {
            let message = format!("an event of more than {MAX_EVENT_BYTES} bytes");
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        if Instant::now() > self.deadline {
            let message = format!("an event takes longer than {} s", MAX_EVENT_TIME.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<(String, String)> {
        let events = EventReader::new(text.as_bytes()).map(Result::unwrap);
        events.map(|event| (event.name, event.data)).collect()
    }

    fn owned(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn events_that_are_written_can_be_read() {
        let mut text = KEEP_ALIVE.to_vec();
        write_event(&mut text, SAMPLE_EVENT, &serde_json::json!({ "a": "\n" }));
        write_event(&mut text, STATUS_EVENT, &serde_json::json!({}));
        let text = String::from_utf8(text).unwrap();
        let sample = "event: sample\ndata: {\"a\":\"\\n\"}\n\n";
        assert_eq!(text, format!(":\n\n{sample}event: status\ndata: {{}}\n\n"));
        assert_eq!(events(&text), [owned("sample", r#"{"a":"\n"}"#), owned("status", "{}")]);
    }

    #[test]
    fn events_end_with_an_empty_line() {
        let text = "event: sample\ndata: {\"a\":1}\n\nevent:status\r\ndata:{}\r\n\r\n";
        assert_eq!(events(text), [owned("sample", "{\"a\":1}"), owned("status", "{}")]);
    }

    #[test]
    fn comments_and_incomplete_events_are_skipped() {
        assert_eq!(events(":\n\n: alive\n\nevent: sample\ndata: x\n"), []);
        assert_eq!(
            events("event: sample\ndata: x\n\nevent: sample\ndata: {\"un"),
            [owned("sample", "x")]
        );
    }

    #[test]
    fn an_event_that_is_too_long_is_an_error() {
        let line = format!("data: {}\n", "x".repeat(1000));
        for text in [line.repeat(2_000), "x".repeat(2 << 20), ":\n".repeat(1 << 20)] {
            let error = EventReader::new(text.as_bytes()).next().unwrap().unwrap_err();
            assert_eq!(error.to_string(), "an event of more than 1048576 bytes");
        }
        // The limit is for each event.
        let event = format!("data: {}\n\n", "x".repeat(600_000));
        assert_eq!(events(&event.repeat(3)).len(), 3);
    }

    #[test]
    fn invalid_utf_8_is_replaced() {
        let mut events = EventReader::new(&b"data: a\xffb\n\n"[..]).map(Result::unwrap);
        assert_eq!(events.next().unwrap().data, "a\u{fffd}b");
    }

    #[test]
    fn data_of_several_lines_is_joined() {
        assert_eq!(events("data: a\ndata: b\nid: 7\n\n"), [owned("", "a\nb")]);
    }
}
