//! The lines of the stream, in either format.

use super::{human, json, time::Clock};
use crate::stream::{SocketIds, Transition};

/// Most sockets that have a number: 4 MiB.
const MAX_SOCKETS: usize = 131_072;

/// A text that is safe to show, and the same as a string of JSON.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) plain: String,
    pub(super) json: String,
}

impl Text {
    pub(super) fn new(plain: String) -> Self {
        let json = serde_json::to_string(&plain);
        // A text can always be a string of JSON.
        Self { json: json.unwrap_or_default(), plain }
    }
}

/// What a line has besides the transition itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    /// Nanoseconds since 1970.
    pub(super) unix: u64,
    pub(super) netns: &'a Text,
    pub(super) cgroup: Option<&'a Text>,
    /// How many milliseconds ago the peer was last heard.
    pub(super) silence: Option<u64>,
}

/// Writes lines.
#[derive(Debug)]
pub(super) struct Lines {
    clock: Clock,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Human { netns: bool },
    Json(Box<SocketIds>),
}

/// The numbers at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    pub(super) events: u64,
    pub(super) lost: u64,
    pub(super) seconds: f64,
}

impl Lines {
    /// Lines for people; `netns`: with the network namespace.
    pub(super) fn human(netns: bool) -> Self {
        Self { clock: Clock::default(), format: Format::Human { netns } }
    }

    /// Lines of JSON.
    pub(super) fn json() -> Self {
        let ids = SocketIds::new(MAX_SOCKETS);
        Self { clock: Clock::default(), format: Format::Json(Box::new(ids)) }
    }

    pub(super) fn transition(
        &mut self,
        line: &mut Vec<u8>,
        transition: &Transition,
        context: Context<'_>,
    ) {
        match &mut self.format {
            Format::Human { netns } => {
                self.clock.write(line, context.unix, false);
                human::transition(line, transition, context, *netns);
            }
            Format::Json(ids) => {
                let socket = ids.id(transition.skaddr, transition.old, transition.new);
                line.extend_from_slice(br#"{"type":"transition","time":""#);
                self.clock.write(line, context.unix, true);
                json::transition(line, transition, context, socket);
            }
        }
    }

    /// The events that are missing here.
    pub(super) fn lost(&self, line: &mut Vec<u8>, events: u64) {
        match self.format {
            Format::Human { .. } => human::lost(line, events),
            Format::Json(_) => json::lost(line, events),
        }
    }

    /// The last line of standard output, if the format has one.
    pub(super) fn end(&self, line: &mut Vec<u8>, totals: Totals) {
        if let Format::Json(_) = self.format {
            json::end(line, totals);
        }
    }

    /// Whether [`Lines::end`] writes the totals.
    pub(super) fn has_end(&self) -> bool {
        matches!(self.format, Format::Json(_))
    }
}
