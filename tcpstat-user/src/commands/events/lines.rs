//! The lines of the stream, in either format.

use super::{human, json, time::Clock};
use crate::stream::{Process, SocketIds, Transition};

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
    /// The process of the connect, where the transition has none.
    pub(super) connect: Option<Process>,
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tcpstat_ebpf::{NO_CAUSE, NO_SILENCE, StreamRecord};

    use super::*;
    use crate::stream::RECORD;

    /// 2026-11-26T19:20:00.123456789Z
    const UNIX: u64 = 1_795_720_800_123_456_789;

    fn line(mut lines: Lines, record: &StreamRecord, netns: &str, cgroup: Option<&str>) -> String {
        let transition = Transition::of(record).unwrap();
        let (netns, cgroup) =
            (Text::new(netns.to_owned()), cgroup.map(str::to_owned).map(Text::new));
        let silence = transition.silence.map(|ticks| u64::from(ticks) * 4);
        let context =
            Context { unix: UNIX, netns: &netns, cgroup: cgroup.as_ref(), silence, connect: None };
        let mut line = Vec::new();
        lines.transition(&mut line, &transition, context);
        String::from_utf8(line).unwrap()
    }

    fn parsed(line: &str) -> Value {
        assert_eq!(line.matches('\n').count(), 1);
        serde_json::from_str(line).unwrap()
    }

    /// A record of which only what is always known is known.
    const LITTLE: StreamRecord = StreamRecord {
        pid: 0,
        cgroup: 0,
        silence: NO_SILENCE,
        family: 1,
        saddr: [0; 4],
        daddr: [0; 4],
        sport: 0,
        dport: 0,
        oldstate: 7,
        newstate: 2,
        cause: NO_CAUSE,
        ..RECORD
    };

    #[test]
    fn a_line_of_json_has_all_that_is_known() {
        let mut value =
            parsed(&line(Lines::json(), &RECORD, "host", Some("/system.slice/x.service")));
        let socket = value.as_object_mut().unwrap().remove("socket").unwrap();
        let socket = socket.as_str().unwrap().to_owned();
        assert!(socket.len() == 16 && u64::from_str_radix(&socket, 16).is_ok(), "{socket}");
        assert_ne!(u64::from_str_radix(&socket, 16), Ok(RECORD.skaddr));
        let expected = json!({
            "type": "transition",
            "time": "2026-11-26T19:20:00.123456Z",
            "netns": { "inode": 4_026_531_840_u32, "name": "host" },
            "family": "ipv4",
            "local": { "address": "10.0.0.1", "port": 80 },
            "remote": { "address": "10.0.0.2", "port": 40_000 },
            "from": "established",
            "to": "close",
            "cause": "reset",
            "cgroup": "/system.slice/x.service",
            "silence_seconds": 1.2,
            "process": { "pid": 7, "command": "curl" },
            "connect_process": null,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn what_is_not_known_is_null_in_json() {
        let value = parsed(&line(Lines::json(), &LITTLE, "4026531840", None));
        for name in ["cause", "cgroup", "silence_seconds", "process", "connect_process"] {
            assert_eq!(value[name], Value::Null, "{name}");
        }
        assert_eq!(value["remote"], Value::Null);
        assert_eq!((&value["family"], &value["local"]["address"]), (&json!("ipv6"), &json!("::")));
    }

    #[test]
    fn a_transition_without_a_process_has_that_of_the_connect_in_both_formats() {
        let connect = Transition::of(&RECORD).unwrap().process;
        let transition = Transition { process: None, ..Transition::of(&RECORD).unwrap() };
        let netns = Text::new("host".to_owned());
        let context = Context { unix: UNIX, netns: &netns, cgroup: None, silence: None, connect };
        let line = |mut lines: Lines| {
            let mut line = Vec::new();
            lines.transition(&mut line, &transition, context);
            String::from_utf8(line).unwrap()
        };
        let value = parsed(&line(Lines::json()));
        assert_eq!(value["process"], Value::Null);
        assert_eq!(value["connect_process"], json!({ "pid": 7, "command": "curl" }));
        let human = line(Lines::human(false));
        assert!(human.ends_with(" cause=reset connect_pid=7 connect_command=curl\n"), "{human}");
    }

    #[test]
    fn names_that_others_choose_are_escaped_in_both_formats() {
        let command = |text: &[u8; 16]| {
            let words = [0, 4, 8, 12]
                .map(|at| u32::from_ne_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]));
            StreamRecord { command: words, ..RECORD }
        };
        for (text, shown) in [
            (b"a\"b\\c\x1b[2J\0\0\0\0\0\0\0", r#"a"b\c\u{1b}[2J"#),
            (b"tab\there\xff\n\0\0\0\0\0\0", r"tab\there\xff\n"),
            (b"sixteen bytes yz", "sixteen bytes yz"),
        ] {
            let record = command(text);
            let value = parsed(&line(Lines::json(), &record, "a\"b", None));
            assert_eq!(value["process"]["command"], shown);
            assert_eq!(value["netns"]["name"], "a\"b");
            let human = line(Lines::human(false), &record, "host", None);
            assert!(human.ends_with(&format!(" command={shown}\n")), "{human}");
            assert!(!human.trim_end_matches('\n').contains(char::is_control), "{human}");
        }
    }

    #[test]
    fn a_line_for_people_has_the_namespace_only_if_there_are_several() {
        let human = line(Lines::human(true), &RECORD, "shop/web-0", Some("/x"));
        assert_eq!(
            human,
            "19:20:00.123456Z established → close       10.0.0.1:80           → 10.0.0.2:40000        \
             cause=reset silence=1.200s netns=shop/web-0 cgroup=/x pid=7 command=curl\n"
        );
        let human = line(Lines::human(false), &LITTLE, "shop/web-0", None);
        assert_eq!(human, "19:20:00.123456Z close       → syn_sent    [::]:0                → -\n");
    }

    #[test]
    fn losses_and_totals_are_lines_of_their_own() {
        let (json, human) = (Lines::json(), Lines::human(false));
        let mut line = Vec::new();
        json.lost(&mut line, 12);
        json.end(&mut line, Totals { events: 5, lost: 12, seconds: 2.0 });
        let lines = "{\"type\":\"lost\",\"events\":12}\n{\"type\":\"end\",\"events\":5,\"lost\":12,\"seconds\":2.000}\n";
        assert_eq!(String::from_utf8(line).unwrap(), lines);
        let mut line = Vec::new();
        human.lost(&mut line, 12);
        human.end(&mut line, Totals { events: 5, lost: 12, seconds: 2.0 });
        assert!(String::from_utf8(line).unwrap().starts_with("12 events are missing here"));
    }
}
