//! The command line: what can be asked, and the wiring for each.

mod check;
mod completions;
mod counting;
mod log;
mod man;
mod print;
mod serve;
mod show;
mod signals;
mod stderr;
mod stopping;
mod top;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use log::LogArgs;

use crate::{procfs::Procfs, top::LogLines};

pub use log::{Flushed, tell_failure};
pub use serve::ServeArgs;

/// What the exit status tells, in the help and in the manual page.
const EXIT_STATUS: &str = "Exit status:
  0  well; for check: a tracer would run
  1  failed: one line on standard error says why; for check: no tracer would run
  2  wrong usage: what, where and how it is written, on standard error
  128 + the signal's number: serve was ended at once by a second SIGTERM, SIGINT or SIGQUIT";

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
    /// Show the states live in the terminal
    #[command(after_long_help = top::EXAMPLES)]
    Top(top::TopArgs),
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
        let held = LogLines::default();
        match &self.command {
            Some(Command::Top(_)) => self.log.hold(&held),
            _ => self.log.start(),
        }
        match self.command {
            None => serve::run(&self.serve),
            Some(Command::Serve(args)) => serve::run(&args),
            Some(Command::Top(args)) => top::run(&args, &held),
            Some(Command::Show(args)) => show::run(&args),
            Some(Command::Check(args)) => check::run(&args),
            Some(Command::Print(args)) => print::run(&args),
            Some(Command::Completions(args)) => completions::run(&args),
            Some(Command::Man(args)) => man::run(&args),
        }
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn write_out(text: &[u8]) -> anyhow::Result<()> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to standard output"),
    }
}

/// A time within those two, as flags take it.
fn duration(text: &str, shortest: Duration, longest: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like 15s, 500ms or 1h"))?;
    if (shortest..=longest).contains(&duration) {
        return Ok(duration);
    }
    let [shortest, longest] = [shortest, longest].map(humantime::format_duration);
    Err(format!("at least {shortest}, at most {longest}"))
}
