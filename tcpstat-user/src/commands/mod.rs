//! The command line: what can be asked, and the wiring for each.

mod check;
mod counting;
mod print;
mod serve;
mod show;

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::procfs::Procfs;

pub use serve::ServeArgs;

/// TCP sockets by state, counted in the kernel, served to Prometheus.
#[derive(Debug, Parser)]
#[command(
    name = "tcpstat",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a command, `tcpstat` is `tcpstat serve`.\n\
                  Exit status: 0 well, 1 failed (one line on standard error says why), 2 wrong usage."
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
    /// Count, and serve the metrics over HTTP.
    Serve(ServeArgs),
    /// Print the sockets of this network namespace by state, once. Needs no privileges.
    Show(show::ShowArgs),
    /// Try what the tracer needs, and say what to grant.
    Check(check::CheckArgs),
    /// Print a file that goes with the binary.
    Print(print::PrintArgs),
}

/// Flags of every command.
#[derive(Args, Clone, Debug)]
struct LogArgs {
    /// What is logged to standard error.
    #[arg(
        long = "log.level",
        global = true,
        default_value = "info",
        value_name = "LEVEL",
        env = "TCPSTAT_LOG_LEVEL"
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
    /// Where procfs is mounted.
    #[arg(
        long = "path.procfs",
        default_value = Procfs::DEFAULT_ROOT,
        value_name = "PATH",
        env = "TCPSTAT_PATH_PROCFS"
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
    /// What is to be told in one line; the exit status is 1 then.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.log.start();
        match self.command {
            None => serve::run(&self.serve),
            Some(Command::Serve(args)) => serve::run(&args),
            Some(Command::Show(args)) => show::run(&args),
            Some(Command::Check(args)) => check::run(&args),
            Some(Command::Print(args)) => print::run(&args),
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
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        tracing_subscriber::registry().with(levels).with(lines).init();
    }
}
