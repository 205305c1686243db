//! The command line: the commands, and the code that starts everything else for each of them.

mod arguments;
mod check;
mod completions;
mod connect;
mod counting;
mod dwell;
mod events;
mod first_tracer;
mod line_queue;
mod listening;
mod log;
mod log_format;
mod man;
mod netns;
mod print;
mod resources;
mod restrictions;
mod scopes;
mod serve;
mod show;
mod signals;
mod stderr;
mod stopping;
mod top;
mod unknown_variables;
mod values;
mod web;
mod who;

use std::{ffi::OsString, io, path::PathBuf, process::ExitCode};

use anyhow::{Context, anyhow};
use arguments::Variables;
use clap::{Args, Parser, Subcommand, ValueHint, error::ErrorKind};
use log::LogArgs;
use log_format::FormatChoice;
use restrictions::SeccompArgs;

use crate::{
    procfs::Procfs,
    text::{self, plain},
    top::LastLogLine,
};

use serve::ServeArgs;

/// Part of the help and of the manual page.
const EXIT_STATUS: &str = "Exit status:
  0  success; for check: a program would run
  1  failure: one line on standard error gives the reason; for check: no program would run
  2  wrong usage: standard error names the argument and its correct form
  128 + the signal's number: a second SIGTERM, SIGINT or SIGQUIT ended serve at once; for top: a signal other than SIGTERM, SIGINT and SIGHUP ended it";

/// Runs the command of the command line and the environment. An error is written to standard error. The first
/// of `arguments` is the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _flush = log::FlushOnDrop;
    let command_line: Vec<_> = arguments.into_iter().collect();
    let (cli, variables) = match arguments::parse(&command_line) {
        Ok(parsed) => parsed,
        Err(usage) => usage.exit(),
    };
    match cli.run() {
        Ok(status) => status,
        Err(error) => failed(error, &variables, &command_line),
    }
}

fn failed(error: anyhow::Error, variables: &Variables, command_line: &[OsString]) -> ExitCode {
    match error.downcast::<clap::Error>() {
        Ok(usage) => {
            let usage = variables.name_in_usage(usage);
            usage.format(&mut arguments::named_command(command_line)).exit()
        }
        Err(error) => {
            let message = variables.name_at_start(format!("{error:#}"));
            log::write_failure(&plain(&message, text::MESSAGE));
            ExitCode::FAILURE
        }
    }
}

/// TCP sockets by state, counted in the kernel, served to Prometheus
///
/// An eBPF program counts the state transitions of TCP sockets. tcpstat seeds the counts from a snapshot of
/// all sockets, compares them with a new snapshot at each interval, and serves them to Prometheus. A scrape
/// reads counters, not sockets: it costs the same with ten sockets and with a million.
///
/// Without a command, tcpstat runs tcpstat serve. Without privileges it takes its numbers from snapshots.
#[derive(Debug, Parser)]
#[command(
    name = "tcpstat",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a command, `tcpstat` runs `tcpstat serve`. `tcpstat COMMAND --help` has examples.",
    after_long_help = format!("{}\n\n{EXIT_STATUS}", serve::EXAMPLES)
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    seccomp: SeccompArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count, and serve the metrics over HTTP
    #[command(after_long_help = serve::EXAMPLES)]
    Serve(ServeArgs),
    /// Show how many sockets are in each state, live in the terminal
    #[command(after_long_help = top::EXAMPLES)]
    Top(top::TopArgs),
    /// Print once how many sockets are in each state; needs no privileges
    ///
    /// IPV4 and IPV6 are the families of the sockets, not of the packets: a connection from an IPv4 client to
    /// a dual-stack listener is an IPv6 socket, as in /proc/net/tcp6.
    #[command(after_long_help = show::EXAMPLES)]
    Show(show::ShowArgs),
    /// Print which processes hold sockets: how many, the oldest, ports, and peers
    ///
    /// A row is a set of processes that hold the same sockets in one network namespace. A socket that several
    /// processes share is in one row with all of them, and counts once. With CAP_BPF and CAP_PERFMON the kernel
    /// lists the descriptors of all processes. Without them tcpstat reads those of the processes that it may
    /// trace, and ages are not known.
    #[command(after_long_help = who::EXAMPLES)]
    Who(who::WhoArgs),
    /// Print every transition as it happens, one on each line
    ///
    /// Sockets in TIME_WAIT make no transitions: the full socket has closed. A transition has a process only if a system call of
    /// that process made it. Times are in UTC. A transition is shown if every filter keeps it; a filter with several values keeps
    /// what any of them keeps.
    ///
    /// A BPF program of its own, beside that of a running exporter, writes the transitions to a ring buffer. Those that do not fit
    /// in it are lost, and a line in their place says how many. Needs CAP_BPF and CAP_PERFMON.
    #[command(after_long_help = events::EXAMPLES)]
    Events(events::EventsArgs),
    /// Check whether a program can count in the kernel, and show which privileges are missing
    #[command(after_long_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// Print the systemd unit, a dashboard, the rules, a configuration of Alertmanager, or the runbook
    #[command(after_long_help = print::EXAMPLES)]
    Print(print::PrintArgs),
    /// Print completions for a shell
    #[command(after_long_help = completions::EXAMPLES)]
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    #[command(after_long_help = man::EXAMPLES)]
    Man(man::ManArgs),
}

#[derive(Args, Clone, Debug)]
struct ProcfsArgs {
    /// Mount point of procfs; PATH/PID selects the network namespace of that process
    #[arg(
        long = "path.procfs",
        default_value = Procfs::DEFAULT_ROOT,
        value_name = "PATH",
        env = "TCPSTAT_PATH_PROCFS",
        value_parser = values::path(),
        value_hint = ValueHint::DirPath,
        help_heading = "Snapshots"
    )]
    path: PathBuf,
}

impl ProcfsArgs {
    /// # Errors
    /// If the path is no procfs, or shows a different network namespace from the one that it names.
    fn procfs(&self) -> anyhow::Result<Procfs> {
        let procfs = self.existing()?;
        procfs.check_namespace().map_err(|error| anyhow!("--path.procfs {error}"))?;
        Ok(procfs)
    }

    /// # Errors
    /// If the path is no procfs.
    fn existing(&self) -> anyhow::Result<Procfs> {
        let procfs = Procfs::new(&self.path);
        procfs.check_kind().map_err(|error| anyhow!("--path.procfs {error}"))?;
        Ok(procfs)
    }
}

impl Cli {
    /// # Errors
    /// The error of the command, whose exit status is 1; or for wrong usage a [`clap::Error`], to which [`failed`] adds the
    /// usage of the command.
    fn run(self) -> anyhow::Result<ExitCode> {
        let last_log_line = LastLogLine::default();
        match &self.command {
            Some(Command::Top(_)) => self.log.start_in_view(&last_log_line),
            None | Some(Command::Serve(_)) => self.log.start(FormatChoice::Logfmt),
            Some(_) => self.log.start(FormatChoice::Pretty),
        }
        match self.command {
            None => serve::run(&self.serve, self.seccomp),
            Some(Command::Serve(args)) => serve::run(&args, self.seccomp),
            Some(Command::Top(args)) => top::run(&args, self.seccomp, &last_log_line),
            Some(Command::Show(args)) => show::run(&args, self.seccomp),
            Some(Command::Who(args)) => who::run(&args, self.seccomp),
            Some(Command::Events(args)) => events::run(&args, self.seccomp),
            Some(Command::Check(args)) => check::run(&args, self.seccomp),
            Some(Command::Print(args)) => print::run(&args),
            Some(Command::Completions(args)) => completions::run(&args),
            Some(Command::Man(args)) => man::run(&args),
        }
    }
}

/// Arguments that contradict each other.
fn contradiction(remedy: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::ArgumentConflict, remedy)
}

/// An argument without the one that it belongs to.
fn incomplete(remedy: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::MissingRequiredArgument, remedy)
}

/// Writes to standard output. A reader that closes the pipe (`| head`) is not an error.
fn write_out(text: &[u8]) -> anyhow::Result<()> {
    write_part(text).map(drop)
}

/// Writes to standard output. Returns whether a reader is there.
fn write_part(text: &[u8]) -> anyhow::Result<bool> {
    match stderr::write_all(io::stdout(), text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("writing to standard output"),
    }
}
