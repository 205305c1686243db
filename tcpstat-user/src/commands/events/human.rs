//! A transition as a line for people.

use std::io::Write;

use super::lines::Context;
use crate::{detailed::cause_word, scopes::label_value, states::state_word, stream::Transition};

/// The longest state.
const STATE_WIDTH: usize = 11;

/// The longest IPv4 address with a port.
const END_WIDTH: usize = 21;

/// The longest command, with characters that are escaped.
pub(super) const COMMAND: usize = 160;

/// Writes the line after the time. `netns`: with the network namespace.
pub(super) fn transition(
    line: &mut Vec<u8>,
    transition: &Transition,
    context: Context<'_>,
    netns: bool,
) {
    let (old, new) = (state_word(transition.old), state_word(transition.new));
    let local = transition.local;
    // Writing to a Vec cannot fail.
    let _ = write!(line, " {old:<STATE_WIDTH$} → {new:<STATE_WIDTH$} {local:<END_WIDTH$} → ");
    let _ = match transition.remote {
        Some(remote) => write!(line, "{remote:<END_WIDTH$}"),
        None => write!(line, "{:<END_WIDTH$}", "-"),
    };
    if let Some(cause) = transition.cause {
        let _ = write!(line, " cause={}", cause_word(cause));
    }
    if let Some(silence) = context.silence {
        let _ = write!(line, " silence={}.{:03}s", silence / 1_000, silence % 1_000);
    }
    if netns {
        let _ = write!(line, " netns={}", context.netns.plain);
    }
    if let Some(cgroup) = context.cgroup {
        let _ = write!(line, " cgroup={}", cgroup.plain);
    }
    if let Some(process) = transition.process {
        let command = label_value(process.command(), COMMAND);
        let _ = write!(line, " pid={} command={command}", process.pid);
    }
    if let Some(process) = context.connect {
        let command = label_value(process.command(), COMMAND);
        let _ = write!(line, " connect_pid={} connect_command={command}", process.pid);
    }
    while line.last() == Some(&b' ') {
        line.pop();
    }
    line.push(b'\n');
}

pub(super) fn lost(line: &mut Vec<u8>, events: u64) {
    let are = if events == 1 { "event is" } else { "events are" };
    let _ = writeln!(
        line,
        "{events} {are} missing here: narrow the filters, raise --buffer, or read faster"
    );
}
