//! `tcpstat who`: which processes hold which sockets, as a table or as JSON.

mod json;
mod table;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::bail;
use clap::{
    ArgAction, Args, ValueEnum, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};
use tracing::warn;

use super::{
    ProcfsArgs, contradiction,
    netns::PodsArgs,
    restrictions::{SeccompArgs, Stays},
    scopes::PortRange,
    values, write_out, write_part,
};
use crate::{
    clock,
    holders::SortBy,
    kernel::{Kept, Needs},
    states::{State, state_word},
    tracker::{HolderReader, Holders, NetnsSelector, WhoError, WhoQuery},
};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat who close_wait                         the processes with most sockets in CLOSE_WAIT
  tcpstat who close_wait --older-than 5m         only sockets whose peer has been silent for longer
  tcpstat who --netns shop/web-0 --sort oldest   the network namespace of a pod
  tcpstat who --port 8080 --watch 5s             again every five seconds
  tcpstat who --json | jq '.holders[0].processes'";

/// Rows of a table, if `--limit` is not there.
const TABLE_ROWS: usize = 20;

/// Clears the screen, and goes to its first place.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Silences are known for the half of the kernel's clock: 49 days at 1000 ticks per second.
const MAX_AGE: Duration = Duration::from_hours(24 * 49);

/// Flags of `tcpstat who`.
#[derive(Args, Debug)]
pub(super) struct WhoArgs {
    /// Only sockets in these states, with spaces or commas between; all states if there is none
    #[arg(value_name = "STATE", value_delimiter = ',', value_parser = state(), ignore_case = true)]
    states: Vec<State>,

    /// The same as STATE: the form of `tcpstat events`
    #[arg(
        long = "state",
        value_name = "STATE",
        value_delimiter = ',',
        value_parser = state(),
        ignore_case = true,
        help_heading = "Sockets"
    )]
    more_states: Vec<State>,

    /// Only sockets of one network namespace: its name as tcpstat shows it, its inode number, or its path; self for
    /// that of tcpstat, all for all
    #[arg(
        long = "netns",
        default_value = "all",
        value_name = "WHICH",
        value_parser = values::netns(),
        value_hint = ValueHint::FilePath,
        help_heading = "Sockets"
    )]
    netns: NetnsSelector,

    /// Only sockets that this process holds
    #[arg(
        long,
        value_name = "PID",
        value_parser = values::number::<u32>(1..=u32::MAX),
        help_heading = "Sockets"
    )]
    pid: Option<u32>,

    /// Only sockets with one of these local ports: a list such as 80,443,8000-8010
    #[arg(
        long = "port",
        visible_alias = "local-port",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = values::parsed::<PortRange>,
        help_heading = "Sockets"
    )]
    ports: Vec<PortRange>,

    /// Only sockets whose peer has been silent for longer, such as 5m. An answer to a keepalive ends a silence: in CLOSE_WAIT
    /// this can be shorter than the time in the state
    #[arg(
        long = "older-than",
        value_name = "TIME",
        value_parser = age,
        help_heading = "Sockets"
    )]
    older_than: Option<Duration>,

    /// Order of the rows
    #[arg(long, default_value = "sockets", value_name = "BY", value_enum, help_heading = "Output")]
    sort: Sort,

    /// Most rows to print, and most accept queues [default: 20 in a table, no limit in JSON]
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = values::number::<u32>(1..=u32::MAX),
        help_heading = "Output"
    )]
    limit: Option<u32>,

    /// Print JSON instead of a table; with --watch one line each time
    #[arg(
        long,
        value_name = "YES|NO",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        default_value = "no",
        default_missing_value = "yes",
        value_parser = values::switch,
        help_heading = "Output"
    )]
    json: bool,

    /// Print again after this time, such as 5s, or 5 for seconds; 2s if there is none; until Ctrl-C. Clears the screen of a
    /// terminal
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        default_missing_value = "2s",
        value_parser = interval,
        help_heading = "Output"
    )]
    watch: Option<Duration>,

    #[command(flatten)]
    procfs: ProcfsArgs,

    #[command(flatten)]
    pods: PodsArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    /// Most sockets first
    Sockets,
    /// Longest silence first
    Oldest,
    /// By process id
    Pid,
}

/// What one reading found.
struct Answer {
    /// When it began.
    time: SystemTime,
    holders: Holders,
}

impl Answer {
    fn read(reader: &mut HolderReader, query: &WhoQuery) -> Result<Self, WhoError> {
        Ok(Self { time: clock::wall(), holders: reader.read(query)? })
    }
}

/// Prints to standard output, once or until it is closed.
pub(super) fn run(args: &WhoArgs, seccomp: SeccompArgs) -> anyhow::Result<ExitCode> {
    let mut restrictions = seccomp.restrict(Needs { bpf: true, ..Needs::default() });
    restrictions.log_refusals()?;
    args.check_ages()?;
    let procfs = args.procfs.procfs()?;
    if !procfs.is_mount() {
        bail!(
            "--path.procfs {} is not the mount point of a procfs, which has the processes: use the mount point, such as /proc",
            procfs.root().display()
        );
    }
    let mut reader = HolderReader::new(&procfs, args.pods.folder()?)?;
    if reader.reads_descriptors() {
        restrictions.keep_descriptors();
    } else if matches!(args.netns, NetnsSelector::Named(_)) {
        restrictions.keep(Kept::SYS_PTRACE, "--netns PATH/PID/ns/net");
    }
    restrictions.keep_sight(&procfs);
    restrictions.reduce(Stays::Briefly);
    let query = args.query();
    let mut read = || Answer::read(&mut reader, &query);
    let first = read()?;
    if let Some(interval) = args.watch {
        watch(args, interval, first, read)?;
    } else {
        let Answer { time, holders } = first;
        warn_not_visible(&holders);
        let text =
            if args.json { json::pretty(time, &holders)? } else { table::text(&holders, &query) };
        write_out(text.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints again and again until standard output is closed. A reading that fails is reported, and the next one can succeed: a
/// container starts again.
fn watch(
    args: &WhoArgs,
    interval: Duration,
    first: Answer,
    mut read: impl FnMut() -> Result<Answer, WhoError>,
) -> anyhow::Result<()> {
    let query = args.query();
    let clears = !args.json && io::stdout().is_terminal();
    if !clears {
        warn_not_visible(&first.holders);
    }
    let (mut answer, mut last_error): (Result<_, WhoError>, _) = (Ok(first), None);
    loop {
        if clears && !write_part(CLEAR.as_bytes())? {
            return Ok(());
        }
        let text = match &answer {
            Ok(Answer { time, holders }) if args.json => json::line(*time, holders)?,
            Ok(Answer { holders, .. }) if clears => table::text(holders, &query),
            Ok(Answer { holders, .. }) => format!("{}\n", table::text(holders, &query)),
            Err(_) => String::new(),
        };
        if !write_part(text.as_bytes())? {
            return Ok(());
        }
        // On a cleared screen each time, so that it stays beside what it is about.
        let error = match &answer {
            Ok(Answer { holders, .. }) if clears => {
                warn_not_visible(holders);
                None
            }
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(text) = error.as_ref().filter(|_| clears || error != last_error) {
            warn!("{text}");
        }
        last_error = error;
        thread::sleep(interval);
        answer = read();
    }
}

fn warn_not_visible(holders: &Holders) {
    if holders.not_visible > 0 {
        warn!(
            processes = holders.not_visible,
            "not shown: what these processes hold is not visible: {}",
            table::SEE_ALL
        );
    }
}

/// The states of sockets that never heard a peer, or have none.
const WITHOUT_AGE: [State; 4] = [State::Listen, State::SynSent, State::Close, State::TimeWait];

impl WhoArgs {
    /// # Errors
    /// If no socket can be as old as is asked for.
    fn check_ages(&self) -> Result<(), clap::Error> {
        let has_age = |state| !WITHOUT_AGE.contains(state);
        let states = self.states();
        if self.older_than.is_none() || states.is_empty() || states.iter().any(has_age) {
            return Ok(());
        }
        let states: Vec<_> = states.into_iter().map(state_word).collect();
        let remedy = format!(
            "--older-than: sockets in {} have no age: leave it out, or ask for another state",
            states.join(", ")
        );
        Err(contradiction(&remedy))
    }

    /// Each once, as they were written.
    fn states(&self) -> Vec<State> {
        let mut states = Vec::new();
        for &state in self.states.iter().chain(&self.more_states) {
            if !states.contains(&state) {
                states.push(state);
            }
        }
        states
    }

    fn query(&self) -> WhoQuery {
        let table_rows = (!self.json).then_some(TABLE_ROWS);
        WhoQuery {
            states: self.states(),
            netns: self.netns.clone(),
            pid: self.pid,
            ports: self.ports.iter().map(|range| range.0.clone()).collect(),
            older_than: self.older_than.map(|age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
            sort: match self.sort {
                Sort::Sockets => SortBy::Sockets,
                Sort::Oldest => SortBy::Oldest,
                Sort::Pid => SortBy::Pid,
            },
            limit: self.limit.map(|limit| limit as usize).or(table_rows),
        }
    }
}

fn state() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::ALL.map(values::state))
        .try_map(|word| values::state_named(&word).ok_or("no such state"))
}

/// A number without a unit is one of seconds, as with watch(1).
fn interval(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if is_number { format!("{text}s") } else { text.to_owned() };
    values::duration(&text, Duration::from_secs(1), Duration::from_hours(24))
}

fn age(text: &str) -> Result<Duration, String> {
    values::duration(text, Duration::from_secs(1), MAX_AGE)
}
