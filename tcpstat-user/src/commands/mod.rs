//! The command line: what can be asked, and the wiring for each.

mod check;
mod completions;
mod counting;
mod man;
mod print;
mod serve;
mod show;

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::procfs::Procfs;

pub use serve::ServeArgs;

/// What the exit status tells, in the help and in the manual page.
const EXIT_STATUS: &str = "Exit status:
  0  well; for check: a tracer would run
  1  failed: one line on standard error says why; for check: no tracer would run
  2  wrong usage: what, where and how it is written, on standard error";

/// TCP sockets by state, counted in the kernel, served to Prometheus
///
/// An eBPF program counts the transitions of TCP sockets; the counts are seeded from the kernel's own list,
/// held against it every interval, and served to Prometheus. A scrape reads counters, not sockets: it costs
/// the same with ten of them and with a million.
///
/// Without a command, tcpstat is tcpstat serve. Without privileges it serves what listings tell.
#[derive(Debug, Parser)]
#[command(
    name = "tcpstat",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a command, `tcpstat` is `tcpstat serve`. `tcpstat COMMAND --help` has examples.",
    after_long_help = format!("{}\n\n{EXIT_STATUS}", serve::EXAMPLES)
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count, and serve the metrics over HTTP
    #[command(after_long_help = serve::EXAMPLES)]
    Serve(ServeArgs),
    /// Print the sockets by state once; needs no privileges
    #[command(after_long_help = show::EXAMPLES)]
    Show(show::ShowArgs),
    /// Try what the tracer needs, and say what to grant
    #[command(after_long_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// Print a file that goes with the binary
    #[command(after_long_help = print::EXAMPLES)]
    Print(print::PrintArgs),
    /// Print completions for a shell
    #[command(after_long_help = completions::EXAMPLES)]
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    #[command(after_long_help = man::EXAMPLES)]
    Man(man::ManArgs),
}

/// Flags of every command.
#[derive(Args, Clone, Debug)]
struct LogArgs {
    /// Least that is logged to standard error
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

/// Where sockets are listed.
#[derive(Args, Clone, Debug)]
struct ProcfsArgs {
    /// Where procfs is mounted
    #[arg(
        long = "path.procfs",
        default_value = Procfs::DEFAULT_ROOT,
        value_name = "PATH",
        env = "TCPSTAT_PATH_PROCFS",
        help_heading = "Listing"
    )]
    path: PathBuf,
}

impl ProcfsArgs {
    fn procfs(&self) -> Procfs {
        Procfs::new(&self.path)
    }
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// What is to be told in one line, the exit status being 1 then; or a [`clap::Error`], which tells
    /// of wrong usage.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.log.start();
        match self.command {
            None => serve::run(&self.serve),
            Some(Command::Serve(args)) => serve::run(&args),
            Some(Command::Show(args)) => show::run(&args),
            Some(Command::Check(args)) => check::run(&args),
            Some(Command::Print(args)) => print::run(&args),
            Some(Command::Completions(args)) => completions::run(&args),
            Some(Command::Man(args)) => man::run(&args),
        }
    }
}

impl LogArgs {
    /// The tracer's log comes through the crate `log`, which the subscriber takes in too.
    fn start(&self) {
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
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal() && colours_wanted());
        tracing_subscriber::registry().with(levels).with(lines).init();
    }
}

/// Whether the user has not said no to colours (https://no-color.org).
fn colours_wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn write_out(text: &[u8]) -> anyhow::Result<()> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to standard output"),
    }
}
