//! The log: its level, its format, and where it is written.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    io::{self, IsTerminal, Write},
    panic,
    time::Duration,
};

use clap::{Args, ValueEnum};
use tracing::error;
use tracing_subscriber::{
    field::MakeExt,
    filter::{LevelFilter, Targets},
    fmt::{FormatFields, format::debug_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::stderr::{QUEUE, Stderr};
use crate::{text::plain, top::LastLogLine};

/// How long the process waits at its end for the reader of standard error.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Flags of every command.
#[derive(Args, Clone, Debug)]
pub(super) struct LogArgs {
    /// Minimum log level; logs to standard error
    #[arg(
        long = "log.level",
        global = true,
        default_value = "info",
        value_name = "LEVEL",
        env = "TCPSTAT_LOG_LEVEL",
        help_heading = "Logging"
    )]
    level: LogLevel,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogArgs {
    /// Writes the log, including panics, to standard error; no thread waits for its reader. The lines of BPF
    /// programs come through the crate `log`, which the subscriber receives too.
    pub(super) fn start(&self) {
        // At debug, aya logs every relocation. tcpstat logs the failures that aya warns of itself.
        let (own, aya) = match self.level {
            LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
            LogLevel::Warn => (LevelFilter::WARN, LevelFilter::ERROR),
            LogLevel::Info => (LevelFilter::INFO, LevelFilter::ERROR),
            LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
            LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
        };
        let levels = Targets::new().with_default(own).with_target("aya", aya);
        let lines = tracing_subscriber::fmt::layer()
            .fmt_fields(fields())
            .with_writer(|| Stderr)
            .with_ansi(io::stderr().is_terminal() && colours_wanted());
        tracing_subscriber::registry().with(levels).with(lines).init();
        panic::set_hook(Box::new(|panic| {
            let panic = panic.to_string().replace('\n', " ");
            let backtrace = Backtrace::capture();
            if backtrace.status() == BacktraceStatus::Captured {
                error!("a defect in tcpstat: {panic}\n{backtrace}");
            } else {
                error!("a defect in tcpstat: {panic}");
            }
        }));
    }

    /// Writes warnings and errors to `line`, because the view owns the terminal.
    pub(super) fn start_in_view(&self, line: &LastLogLine) {
        let own = match self.level {
            LogLevel::Error => LevelFilter::ERROR,
            _ => LevelFilter::WARN,
        };
        let levels = Targets::new().with_default(own).with_target("aya", LevelFilter::ERROR);
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(line.clone())
            .with_ansi(false)
            .with_level(false)
            .with_target(false)
            .without_time();
        tracing_subscriber::registry().with(levels).with(lines).init();
    }
}

/// Formats message and fields so that they are safe to show. A message may have several lines: the verifier's
/// log.
fn fields() -> impl for<'writer> FormatFields<'writer> {
    debug_fn(|writer, field, value| {
        let text = format!("{value:?}");
        match field.name() {
            "message" => {
                let lines: Vec<_> = text.split('\n').map(|line| plain(line, usize::MAX)).collect();
                write!(writer, "{}", lines.join("\n"))
            }
            // The place in the code of a line from the crate `log`; the target names its module.
            name if name.starts_with("log.") => Ok(()),
            name => write!(writer, "{name}={}", plain(&text, usize::MAX)),
        }
    })
    .delimited(" ")
}

/// Writes the reason why the command failed to standard error, in one line.
pub(super) fn write_failure(failure: &str) {
    // It never fails.
    let _ = Stderr.write_all(format!("tcpstat: {failure}\n").as_bytes());
}

/// Writes how a command ended to standard error, in one line.
pub(super) fn write_notice(notice: &str) {
    write_failure(notice);
}

/// Waits at most a second until all lines are written; called before the process ends.
pub(super) fn flush() {
    QUEUE.flush(FLUSH_TIMEOUT);
}

/// Flushes standard error when it is dropped, also after a panic.
#[derive(Debug)]
pub(super) struct FlushOnDrop;

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        flush();
    }
}

/// Whether `NO_COLOR` is unset (https://no-color.org).
pub(super) fn colours_wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
