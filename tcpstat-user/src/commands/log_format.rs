//! The formats of the log: one event is one line, except that `pretty` and `journald` write a message of several
//! lines (the verifier's log) as it is.

use std::{
    fmt::{self, Debug, Write as _},
    fs::File,
    io::{self, IsTerminal},
    os::{fd::AsFd, unix::fs::MetadataExt},
    sync::OnceLock,
};

use clap::ValueEnum;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use crate::text::plain;

/// The values of `--log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FormatChoice {
    /// journald if standard error is the journal, pretty if it is a terminal; otherwise logfmt for serve, and pretty
    /// for the other commands
    Auto,
    /// Pairs of names and values: time, level, msg, and the fields of the line
    Logfmt,
    /// An object for each line
    Json,
    /// The priority, as sd-daemon(3) describes it, and the message; the journal has the time
    Journald,
    /// For people
    Pretty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Logfmt,
    Json,
    Journald,
    Pretty,
}

/// Writes events as lines of one format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    format: Format,
    /// Whether a line names the module that it comes from.
    targets: bool,
    colours: bool,
}

/// The lines of this process, once the log has started.
static LINES: OnceLock<Lines> = OnceLock::new();

impl FormatChoice {
    /// The lines of standard error; `at_pipe` says what they are if that is neither the journal nor a terminal.
    pub(super) fn lines(self, at_pipe: Self, targets: bool, colours: bool) -> Lines {
        let format = match self {
            Self::Logfmt => Format::Logfmt,
            Self::Json => Format::Json,
            Self::Journald => Format::Journald,
            Self::Pretty => Format::Pretty,
            Self::Auto if is_journal() => Format::Journald,
            Self::Auto if at_pipe == Self::Auto || io::stderr().is_terminal() => Format::Pretty,
            Self::Auto => return at_pipe.lines(Self::Auto, targets, colours),
        };
        *LINES.get_or_init(|| Lines { format, targets, colours })
    }
}

/// A line that `--log.level` does not leave out, with its newline. For people it is `tcpstat: message`.
pub(super) fn always(level: Level, message: String) -> String {
    match LINES.get() {
        Some(lines) if lines.format != Format::Pretty => {
            lines.line(level, "", &Record { message, ..Record::default() })
        }
        _ => format!("tcpstat: {message}\n"),
    }
}

/// Whether standard error is the journal (systemd.exec(5), `$JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(descriptor) = io::stderr().as_fd().try_clone_to_owned() else { return false };
    let metadata = File::from(descriptor).metadata();
    metadata.is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut record = Record::default();
        event.record(&mut record);
        let target = record.target.as_deref().unwrap_or(event.metadata().target());
        writer.write_str(&self.line(*event.metadata().level(), target, &record))
    }
}

impl Lines {
    /// The line with its newline.
    fn line(self, level: Level, target: &str, record: &Record) -> String {
        let target = Some(target).filter(|target| self.targets && !target.is_empty());
        match self.format {
            Format::Logfmt => logfmt(level, target, record),
            Format::Json => json(level, target, record),
            Format::Journald => journald(level, target, record),
            Format::Pretty => self.pretty(level, target, record),
        }
    }

    fn pretty(self, level: Level, target: Option<&str>, record: &Record) -> String {
        let (dim, coloured, reset) = match (self.colours, level) {
            (false, _) => ("", "", ""),
            (true, Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
            (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
            (true, Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
            (true, _) => ("\x1b[2m", "\x1b[34m", "\x1b[0m"),
        };
        let target = target.map(|target| format!("{dim}{target}:{reset} ")).unwrap_or_default();
        let (time, text) = (now(), record.text());
        format!("{dim}{time}{reset} {coloured}{level:>5}{reset} {target}{text}\n")
    }
}

fn logfmt(level: Level, target: Option<&str>, record: &Record) -> String {
    let mut line = format!("time={} level={}", now(), word(level));
    let target = target.map(|target| ("target", target));
    let named = record.fields.iter().map(|(name, value)| (*name, value.text()));
    for (name, value) in target.into_iter().chain([("msg", &*record.message)]).chain(named) {
        // Writing to a String cannot fail.
        let _ = write!(line, " {name}=");
        if value.is_empty() || value.chars().any(needs_quotes) {
            let _ = write!(line, "{value:?}");
        } else {
            line.push_str(value);
        }
    }
    line + "\n"
}

fn needs_quotes(character: char) -> bool {
    matches!(character, ' ' | '=' | '"' | '\\') || character.is_control()
}

fn json(level: Level, target: Option<&str>, record: &Record) -> String {
    let mut object = serde_json::Map::new();
    let mut add = |name: &str, value: serde_json::Value| {
        object.insert(name.to_owned(), value);
    };
    add("time", now().into());
    add("level", word(level).into());
    add("msg", record.message.as_str().into());
    if let Some(target) = target {
        add("target", target.into());
    }
    for (name, value) in &record.fields {
        add(name, value.json());
    }
    serde_json::Value::Object(object).to_string() + "\n"
}

/// Each line has its priority, because the journal makes an entry of each.
fn journald(level: Level, target: Option<&str>, record: &Record) -> String {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    let target = target.map(|target| format!("{target}: ")).unwrap_or_default();
    let text = target + &record.text();
    let mut lines = String::new();
    for line in text.split('\n') {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "<{priority}>{line}");
    }
    lines
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// RFC 3339, in UTC, with microseconds.
fn now() -> String {
    let mut time = String::new();
    // Writing to a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}

/// What an event says, made safe to show.
#[derive(Debug, Default)]
struct Record {
    message: String,
    fields: Vec<(&'static str, Value)>,
    /// The module of a line from the crate `log`.
    target: Option<String>,
}

#[derive(Debug)]
enum Value {
    /// A number or a boolean.
    Bare(String),
    Quoted(String),
    Shown(String),
}

impl Record {
    /// The message, and the fields behind it.
    fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            // Writing to a String cannot fail.
            let _ = match value {
                Value::Quoted(value) => write!(text, " {name}={value:?}"),
                Value::Bare(value) | Value::Shown(value) => write!(text, " {name}={value}"),
            };
        }
        text
    }

    fn add(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => {
                let lines = value.text().split('\n').map(|line| plain(line, usize::MAX));
                self.message = lines.collect::<Vec<_>>().join("\n");
            }
            "log.target" => self.target = Some(value.text().to_owned()),
            // The place in the code of a line from the crate `log`.
            name if name.starts_with("log.") => {}
            name => self.fields.push((name, value)),
        }
    }
}

impl Value {
    fn text(&self) -> &str {
        let (Self::Bare(text) | Self::Quoted(text) | Self::Shown(text)) = self;
        text
    }

    fn json(&self) -> serde_json::Value {
        let text = || self.text().into();
        match self {
            Self::Bare(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
            Self::Quoted(_) | Self::Shown(_) => text(),
        }
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        // A message is made safe line by line.
        let text =
            if field.name() == "message" { text } else { plain(&text, usize::MAX).into_owned() };
        self.add(field, Value::Shown(text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Quoted(plain(value, usize::MAX).into_owned()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bare(value.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let fields = vec![
            ("sockets", Value::Bare("3".to_owned())),
            ("source", Value::Quoted("iter tcp".to_owned())),
            ("duration", Value::Shown("1.5ms".to_owned())),
        ];
        Record { message: "ready: \"all\"\nof it".to_owned(), fields, target: None }
    }

    fn line(format: Format, level: Level, targets: bool) -> String {
        Lines { format, targets, colours: false }.line(level, "tcpstat_user::web", &record())
    }

    /// The line without its time, which is the first word, or the value of `time`.
    fn after_time(line: &str) -> &str {
        line.split_once(' ').unwrap().1
    }

    #[test]
    fn logfmt_is_one_line_of_pairs() {
        assert_eq!(
            after_time(&line(Format::Logfmt, Level::WARN, false)),
            "level=warn msg=\"ready: \\\"all\\\"\\nof it\" sockets=3 source=\"iter tcp\" duration=1.5ms\n"
        );
        assert!(line(Format::Logfmt, Level::INFO, true).contains(" target=tcpstat_user::web msg="));
    }

    #[test]
    fn json_is_one_object_with_numbers() {
        let line = line(Format::Json, Level::INFO, true);
        assert_eq!(line.matches('\n').count(), 1);
        let mut object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(object["time"].take().as_str().unwrap().ends_with('Z'));
        assert_eq!(
            object,
            serde_json::json!({
                "time": null, "level": "info", "msg": "ready: \"all\"\nof it", "target": "tcpstat_user::web",
                "sockets": 3, "source": "iter tcp", "duration": "1.5ms",
            })
        );
    }

    #[test]
    fn each_line_of_the_journal_has_its_priority_and_no_time() {
        assert_eq!(
            line(Format::Journald, Level::ERROR, false),
            "<3>ready: \"all\"\n<3>of it sockets=3 source=\"iter tcp\" duration=1.5ms\n"
        );
        assert!(
            line(Format::Journald, Level::DEBUG, true).starts_with("<7>tcpstat_user::web: ready")
        );
    }

    #[test]
    fn pretty_names_the_module_only_on_request() {
        let rest = "ready: \"all\"\nof it sockets=3 source=\"iter tcp\" duration=1.5ms\n";
        let plain = line(Format::Pretty, Level::INFO, false);
        assert_eq!(after_time(&plain), format!(" INFO {rest}"));
        let with_module = line(Format::Pretty, Level::DEBUG, true);
        assert_eq!(after_time(&with_module), format!("DEBUG tcpstat_user::web: {rest}"));
    }
}
