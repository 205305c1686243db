//! The lines of `--json`. docs/events.md describes them for other programs.

use std::{io::Write, net::SocketAddr};

use super::{
    human::COMMAND,
    lines::{Context, Totals},
};
use crate::{
    detailed::cause_word,
    scopes::label_value,
    states::{family_word, state_word},
    stream::{Process, Transition},
};

/// Writes the object after the text of its time. serde takes several times as long.
pub(super) fn transition(
    line: &mut Vec<u8>,
    transition: &Transition,
    context: Context<'_>,
    socket: u64,
) {
    let Context { netns, cgroup, silence, .. } = context;
    // Writing to a Vec cannot fail.
    let _ = write!(
        line,
        r#"","netns":{{"inode":{},"name":{}}},"family":"{}","local":"#,
        transition.netns_inum,
        netns.json,
        family_word(transition.family),
    );
    endpoint(line, transition.local);
    line.extend_from_slice(br#","remote":"#);
    match transition.remote {
        Some(remote) => endpoint(line, remote),
        None => null(line),
    }
    let _ = write!(
        line,
        r#","from":"{}","to":"{}","cause":"#,
        state_word(transition.old),
        state_word(transition.new),
    );
    match transition.cause {
        Some(cause) => quoted(line, cause_word(cause).as_bytes()),
        None => null(line),
    }
    line.extend_from_slice(br#","cgroup":"#);
    match cgroup {
        Some(cgroup) => line.extend_from_slice(cgroup.json.as_bytes()),
        None => null(line),
    }
    line.extend_from_slice(br#","silence_seconds":"#);
    match silence {
        Some(silence) => {
            let _ = write!(line, "{}.{:03}", silence / 1_000, silence % 1_000);
        }
        None => null(line),
    }
    line.extend_from_slice(br#","process":"#);
    process(line, transition.process);
    line.extend_from_slice(br#","connect_process":"#);
    process(line, context.connect);
    let _ = writeln!(line, r#","socket":"{socket:016x}"}}"#);
}

pub(super) fn lost(line: &mut Vec<u8>, events: u64) {
    let _ = writeln!(line, r#"{{"type":"lost","events":{events}}}"#);
}

pub(super) fn end(line: &mut Vec<u8>, Totals { events, lost, seconds }: Totals) {
    let _ = writeln!(
        line,
        r#"{{"type":"end","events":{events},"lost":{lost},"seconds":{seconds:.3}}}"#
    );
}

fn process(line: &mut Vec<u8>, process: Option<Process>) {
    let Some(process) = process else { return null(line) };
    let _ = write!(line, r#"{{"pid":{},"command":"#, process.pid);
    command(line, process.command());
    line.push(b'}');
}

fn command(line: &mut Vec<u8>, bytes: &[u8]) {
    let is_plain = |&byte: &u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if bytes.iter().all(is_plain) {
        quoted(line, bytes);
    } else if let Ok(text) = serde_json::to_string(&label_value(bytes, COMMAND)) {
        line.extend_from_slice(text.as_bytes());
    }
}

/// `bytes` needs no escapes.
fn quoted(line: &mut Vec<u8>, bytes: &[u8]) {
    line.push(b'"');
    line.extend_from_slice(bytes);
    line.push(b'"');
}

fn endpoint(line: &mut Vec<u8>, end: SocketAddr) {
    let _ = write!(line, r#"{{"address":"{}","port":{}}}"#, end.ip(), end.port());
}

fn null(line: &mut Vec<u8>) {
    line.extend_from_slice(b"null");
}
