//! The log: what of it is written, and where to.

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

use super::stderr::{STDERR, Stderr};
use crate::{text::plain, top::LogLines};

/// How long the end of the process waits for the reader of standard error.
const PATIENCE: Duration = Duration::from_secs(1);

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
    /// Writes the log to standard error, panics included; whoever logs never waits for its reader. The
    /// tracer's comes through the crate `log`, which the subscriber takes in too.
    pub(super) fn start(&self) {
        // At debug, aya tells of every relocation; what it warns of is told in our own words.
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

    /// Keeps back what it warns of: the terminal is another's.
    pub(super) fn hold(&self, lines: &LogLines) {
        let own = match self.level {
            LogLevel::Error => LevelFilter::ERROR,
            _ => LevelFilter::WARN,
        };
        let levels = Targets::new().with_default(own).with_target("aya", LevelFilter::ERROR);
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(lines.clone())
            .with_ansi(false)
            .with_level(false)
            .with_target(false)
            .without_time();
        tracing_subscriber::registry().with(levels).with(lines).init();
    }
}

/// Message and fields, fit to be shown whatever they quote. A message may have several lines: the kernel's
/// log of a program that it refuses.
fn fields() -> impl for<'writer> FormatFields<'writer> {
    debug_fn(|writer, field, value| {
        let text = format!("{value:?}");
        match field.name() {
            "message" => {
                let lines: Vec<_> = text.split('\n').map(|line| plain(line, usize::MAX)).collect();
                write!(writer, "{}", lines.join("\n"))
            }
            // Where the crate `log` was called; the target says so already.
            name if name.starts_with("log.") => Ok(()),
            name => write!(writer, "{name}={}", plain(&text, usize::MAX)),
        }
    })
    .delimited(" ")
}

/// Says on standard error why the command failed, in one line.
pub(super) fn tell_failure(failure: &str) {
    // It never fails.
    let _ = Stderr.write_all(format!("tcpstat: {failure}\n").as_bytes());
}

/// Waits until standard error has what was written to it, for at most a second: the process ends next.
pub(super) fn flush() {
    STDERR.flush(PATIENCE);
}

/// Flushes what goes to standard error when it is dropped, which a panic does too.
#[derive(Debug)]
pub(super) struct Flushed;

impl Drop for Flushed {
    fn drop(&mut self) {
        flush();
    }
}

/// Whether the user has not said no to colours (https://no-color.org).
pub(super) fn colours_wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
