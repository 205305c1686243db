//! The log: its level, its format, and where it is written.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    io::{self, IsTerminal, Write},
    panic,
    time::Duration,
};

use clap::{Args, ValueEnum};
use tracing::{Level, error};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    log_format::{self, FormatChoice},
    restrictions::log_last_refusals,
    stderr::{QUEUE, Stderr},
};
use crate::top::LastLogLine;

/// How long the process waits at its end for the reader of standard error.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Flags of every command.
#[derive(Args, Clone, Debug)]
pub(super) struct LogArgs {
    /// Minimum level of the log, which goes to standard error
    #[arg(
        long = "log.level",
        global = true,
        default_value = "info",
        value_name = "LEVEL",
        env = "TCPSTAT_LOG_LEVEL",
        help_heading = "Logging"
    )]
    level: LogLevel,

    /// Format of the log
    #[arg(
        long = "log.format",
        global = true,
        default_value = "auto",
        value_name = "FORMAT",
        env = "TCPSTAT_LOG_FORMAT",
        value_enum,
        help_heading = "Logging"
    )]
    format: FormatChoice,
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
    /// Writes the log, including panics, to standard error, in the format `at_pipe` if that is neither the journal nor a
    /// terminal and no other was asked for; no thread waits for its reader. The lines of BPF programs come through the
    /// crate `log`, which the subscriber receives too.
    pub(super) fn start(&self, at_pipe: FormatChoice) {
        // At debug, aya logs every relocation. tcpstat logs the failures that aya warns of itself.
        let (own, aya) = match self.level {
            LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
            LogLevel::Warn => (LevelFilter::WARN, LevelFilter::ERROR),
            LogLevel::Info => (LevelFilter::INFO, LevelFilter::ERROR),
            LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
            LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
        };
        let levels = Targets::new().with_default(own).with_target("aya", aya);
        let targets = matches!(self.level, LogLevel::Debug | LogLevel::Trace);
        let colours = io::stderr().is_terminal() && colours_wanted();
        let lines = tracing_subscriber::fmt::layer()
            .event_format(self.format.lines(at_pipe, targets, colours))
            .with_writer(|| Stderr);
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

/// Writes the reason why the command failed to standard error, in one line.
pub(super) fn write_failure(failure: &str) {
    write_always(Level::ERROR, failure);
}

/// Writes how a command ended to standard error, in one line.
pub(super) fn write_notice(notice: &str) {
    write_always(Level::INFO, notice);
}

fn write_always(level: Level, message: &str) {
    // It never fails.
    let _ = Stderr.write_all(log_format::always(level, message.to_owned()).as_bytes());
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
        log_last_refusals();
        flush();
    }
}

/// Whether `NO_COLOR` is unset (https://no-color.org).
pub(super) fn colours_wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
