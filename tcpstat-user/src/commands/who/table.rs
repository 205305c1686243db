//! The table of `tcpstat who`, and the lines below it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use unicode_width::UnicodeWidthStr;

use crate::{
    holders::Peer,
    states::{State, state_word},
    text::plural,
    tracker::{HolderSource, HolderView, Holders, NamedProcess, QueueView, WhoQuery},
};

const HEAD: [&str; 9] =
    ["PID", "COMMAND", "NETNS", "SOCKETS", "STATES", "OLDEST", "PORTS", "PEERS", "UNIT"];

/// Values that a cell names.
const MOST_IN_CELL: usize = 3;

/// What a user can do to see the sockets of all processes.
pub(super) const SEE_ALL: &str = "run as root, or with CAP_BPF and CAP_PERFMON";

/// Where the sockets are counted that no process holds.
const COUNTED: &str =
    "`tcpstat show` counts them, and `tcpstat top --netns all` those of other network namespaces";

/// The listener of an accept queue, and what can wait in it.
const QUEUED: [State; 3] = [State::Listen, State::Established, State::CloseWait];

/// What a socket is in after its owner has closed it.
const ORPHANED: [State; 4] = [State::FinWait1, State::FinWait2, State::LastAck, State::Closing];

/// What sockstat counts as `inuse`.
const HASHED: [State; 9] = [
    State::Established,
    State::SynSent,
    State::SynRecv,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::LastAck,
    State::Listen,
    State::Closing,
];

/// What is known and not known, as text.
pub(super) fn text(holders: &Holders, query: &WhoQuery) -> String {
    let mut text = String::new();
    if holders.rows.is_empty() {
        text.push_str(&nothing(holders, query));
    } else {
        let rows = std::iter::once(HEAD.map(str::to_owned)).chain(holders.rows.iter().map(cells));
        write_columns(&mut text, &rows.collect::<Vec<_>>());
        more(&mut text, holders.more_rows, "row");
    }
    if holders.with_more_processes > 0 {
        let sockets = holders.with_more_processes;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "of {sockets} sockets only some processes are known: too many sets of processes share sockets"
        );
    }
    write_not_held(&mut text, holders, &query.states);
    text
}

/// One line for a query without a row.
fn nothing(holders: &Holders, query: &WhoQuery) -> String {
    let states: Vec<_> = query.states.iter().map(|&state| state_word(state)).collect();
    let mut place =
        if states.is_empty() { String::new() } else { format!(" in {}", states.join(", ")) };
    if let Some(age) = query.older_than {
        let _ = write!(place, " whose peer has been silent for more than {age} s");
    }
    match query.states[..] {
        [State::TimeWait] => {
            return format!("no process holds a socket{place}: {COUNTED}\n");
        }
        [State::SynRecv] => {
            return format!(
                "no process holds a socket{place}: those are half-open connections of a listening socket: {COUNTED}; \
                 `tcpstat who listen` shows who listens\n"
            );
        }
        // /proc/PID/fd has their descriptors, and no file of /proc has their state.
        [State::Close] if holders.source == HolderSource::Descriptors => {
            return format!(
                "whether a process holds a socket{place} is not known: /proc does not show that state, and iter/task_file does not run here\n"
            );
        }
        _ => {}
    }
    if let (Some(pid), 0) = (query.pid, holders.not_visible) {
        return format!("process {pid} holds no such socket{place}\n");
    }
    // A socket that has no visible holder can be one of those that are asked for.
    let hidden = match (holders.not_visible, holders.without_holder) {
        (0, Some(0)) => None,
        (0, Some(1)) => {
            Some("1 socket has no visible holder: `ss -tanp` in its network namespace shows it without `users:`".to_owned())
        }
        (0, Some(sockets)) => Some(format!(
            "{sockets} sockets have no visible holder: `ss -tanp` in their network namespaces shows them without `users:`"
        )),
        (0, None) => Some("whether another process does is not known".to_owned()),
        (1, _) => Some(format!("1 process not visible: {SEE_ALL}")),
        (processes, _) => Some(format!("{processes} processes not visible: {SEE_ALL}")),
    };
    match hidden {
        Some(hidden) => format!("no visible process holds such a socket{place} ({hidden})\n"),
        None => format!("no process holds such a socket{place}\n"),
    }
}

fn cells(view: &HolderView) -> [String; 9] {
    let row = &view.row;
    let states = row.states.iter().map(|&(state, count)| match row.states.len() {
        1 => state_word(state).to_owned(),
        _ => format!("{} {count}", state_word(state)),
    });
    let ports = row.local_ports.iter().map(|&(port, _)| port.to_string());
    let unit = view.name.as_ref().or(view.cgroup.as_ref());
    [
        view.processes.first().map_or_else(String::new, |it| pid(it, row.pids.len() - 1)),
        view.processes.first().map_or_else(unknown, command),
        view.netns.name.clone(),
        row.sockets.to_string(),
        cell(states.collect(), 0),
        view.oldest_seconds.map_or_else(unknown, duration),
        cell(ports.collect(), row.more_local_ports),
        peers(&row.peers),
        unit.cloned().unwrap_or_else(unknown),
    ]
}

fn unknown() -> String {
    "-".to_owned()
}

/// A process can give itself an empty name.
fn command(process: &NamedProcess) -> String {
    let name = process.command.clone().filter(|name| !name.is_empty());
    name.unwrap_or_else(unknown)
}

fn pid(process: &NamedProcess, others: usize) -> String {
    match others {
        0 => process.pid.to_string(),
        others => format!("{} (+{others})", process.pid),
    }
}

/// The first values, and how many others there are.
fn cell(mut values: Vec<String>, more: usize) -> String {
    if values.is_empty() {
        return unknown();
    }
    let more = more + values.len().saturating_sub(MOST_IN_CELL);
    values.truncate(MOST_IN_CELL);
    let mut cell = values.join(", ");
    if more > 0 {
        let _ = write!(cell, " (+{more})");
    }
    cell
}

/// The first peers. How many others there are is not known.
fn peers(peers: &[Peer]) -> String {
    let shown: Vec<_> = peers.iter().take(MOST_IN_CELL).map(peer).collect();
    match shown.len() {
        0 => unknown(),
        count if count < peers.len() => format!("{}, ...", shown.join(", ")),
        _ => shown.join(", "),
    }
}

fn peer(peer: &Peer) -> String {
    let Peer { address, port, sockets } = *peer;
    match port {
        Some(port) => format!("{} x{sockets}", SocketAddr::new(address, port)),
        None => format!("{address} x{sockets}"),
    }
}

/// Its two highest units.
pub(super) fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a silence")]
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{:02}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{:02}m", minutes % 60),
        (days, hours, _) => format!("{days}d{:02}h", hours % 24),
    }
}

fn write_columns(text: &mut String, rows: &[[String; 9]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max();
    let widths: [usize; 9] = std::array::from_fn(|column| width(column).unwrap_or_default());
    for row in rows {
        let mut line = String::new();
        for (column, (value, width)) in row.iter().zip(widths).enumerate() {
            let separator = if column == 0 { "" } else { "  " };
            // A format would count characters, of which some take two places.
            let rest = " ".repeat(width - value.width());
            // Numbers are at the right.
            let _ = if matches!(HEAD[column], "SOCKETS" | "OLDEST") {
                write!(line, "{separator}{rest}{value}")
            } else {
                write!(line, "{separator}{value}{rest}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn more(text: &mut String, more: usize, what: &str) {
    if more > 0 {
        let plural = plural(more as u64);
        let _ = writeln!(text, "{more} more {what}{plural}: see --limit");
    }
}

/// Writes what can be in one of `states`; everything if there are none. The numbers are those of all states.
fn write_not_held(text: &mut String, holders: &Holders, states: &[State]) {
    let can_be = |of: &[State]| states.is_empty() || states.iter().any(|state| of.contains(state));
    let mut lines = String::new();
    if can_be(&QUEUED) {
        for view in &holders.accept_queues {
            lines.push_str(&queue(view));
        }
        more(&mut lines, holders.more_accept_queues, "accept queue");
    }
    if let Some(orphans @ 1..) = holders.orphans.filter(|_| can_be(&ORPHANED)) {
        let _ = writeln!(lines, "orphans, which their owners have closed: {orphans}");
    }
    if let Some(other @ 1..) = holders.other.filter(|_| can_be(&HASHED)) {
        let _ = writeln!(
            lines,
            "others, of the kernel, on their way between processes, or of hidden processes: {other}"
        );
    }
    if !lines.is_empty() {
        let any = if states.is_empty() { "" } else { ", in any state" };
        let _ = write!(text, "\nsockets that no visible process holds{any}:\n{lines}");
    }
}

fn queue(view: &QueueView) -> String {
    let queue = &view.queue;
    let place = SocketAddr::new(queue.queue.address, queue.port);
    let limit = queue.queue.limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    let holder = match view.processes.first() {
        Some(first) => {
            format!("{} {}", command(first), pid(first, queue.pids.len() - 1))
        }
        None => "a process that is not visible".to_owned(),
    };
    let (netns, length) = (&view.netns.name, queue.queue.length);
    format!("in the accept queue of {place} in {netns}: {length}{limit}, {holder}\n")
}
