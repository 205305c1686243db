//! The format of the log: chosen by what standard error is, or by a flag.

use std::fs::File;
use std::io::{BufRead as _, BufReader, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tcpstat_tests::binary::{fixture, path_from};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        serve_logs_in_logfmt_to_a_pipe,
        json_is_one_object_for_each_line,
        the_journal_gets_priorities_and_no_time,
        a_stream_that_is_not_the_journal_is_a_pipe,
        other_commands_write_for_people_to_a_pipe,
        only_at_debug_a_line_names_its_module
    ]
}

/// A start that fails, with one line: no host has that address.
const NO_START: [&str; 3] = ["serve", "--tracer=off", "--web.listen-address=192.0.2.1:10048"];

/// What a command writes to standard error, a pipe; when it listens, SIGTERM stops it. With `journal` the command
/// learns that the pipe is the journal, or that another file is.
fn log(args: &[&str], journal: Option<bool>) -> Result<Vec<String>> {
    let (reader, writer) = pipe()?;
    let pipe = File::from(OwnedFd::from(writer.try_clone()?)).metadata()?;
    let mut command = Command::new(path_from("TCPSTAT_BIN")?);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    command.env_remove("JOURNAL_STREAM").env_remove("TCPSTAT_LOG_FORMAT");
    if let Some(right) = journal {
        let inode = if right { pipe.ino() } else { pipe.ino() + 1 };
        command.env("JOURNAL_STREAM", format!("{}:{inode}", pipe.dev()));
    }
    let mut child = command.spawn()?;
    // The last writing end of this process: without it, the reader sees the end.
    drop(command);
    let mut lines = Vec::new();
    for line in BufReader::new(reader).lines() {
        let line = line?;
        if line.contains("listening on") {
            kill(Pid::from_raw(child.id().try_into()?), Signal::SIGTERM)?;
        }
        lines.push(line);
    }
    child.wait()?;
    Ok(lines)
}

/// What `serve` logs from its start to its end.
fn served(more: &[&str], journal: Option<bool>) -> Result<Vec<String>> {
    let procfs = format!("--path.procfs={}", fixture("proc/debian-6.18")?.display());
    let args = ["serve", "--tracer=off", &procfs, "--web.listen-address=127.0.0.1:0"];
    let lines = log(&[&args, more].concat(), journal)?;
    ensure!(lines.len() > 2 && lines.iter().any(|line| line.contains("SIGTERM")), "{lines:#?}");
    Ok(lines)
}

/// Whether the text looks like `2026-11-26T23:43:16.414094Z`.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000000Z"
}

fn serve_logs_in_logfmt_to_a_pipe() -> Result<()> {
    for line in served(&[], None)? {
        let rest = line.strip_prefix("time=").with_context(|| line.clone())?;
        let (time, rest) = rest.split_once(" level=").with_context(|| line.clone())?;
        ensure!(is_time(time), "{line}");
        let (level, rest) = rest.split_once(" msg=").with_context(|| line.clone())?;
        ensure!(["warn", "info"].contains(&level) && !rest.is_empty(), "{line}");
    }
    Ok(())
}

fn json_is_one_object_for_each_line() -> Result<()> {
    for line in served(&["--log.format=json"], None)? {
        let object: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        let time = object["time"].as_str().with_context(|| line.clone())?;
        ensure!(is_time(time), "{line}");
        ensure!(object["msg"].is_string() && object["level"].is_string(), "{line}");
    }
    let failure = log(&[&NO_START[..], &["--log.format=json"]].concat(), None)?;
    assert_eq!(serde_json::from_str::<Value>(&failure.concat())?["level"], "error", "{failure:?}");
    Ok(())
}

fn the_journal_gets_priorities_and_no_time() -> Result<()> {
    for line in served(&[], Some(true))? {
        ensure!(["<4>", "<6>"].contains(&&line[..3]) && !line.contains("time="), "{line}");
    }
    let failure = log(&NO_START, Some(true))?;
    ensure!(
        failure.len() == 1 && failure[0].starts_with("<3>--web.listen-address "),
        "{failure:?}"
    );
    Ok(())
}

fn a_stream_that_is_not_the_journal_is_a_pipe() -> Result<()> {
    for line in served(&[], Some(false))? {
        ensure!(line.starts_with("time="), "{line}");
    }
    Ok(())
}

fn other_commands_write_for_people_to_a_pipe() -> Result<()> {
    let lines = log(&["show", "--path.procfs=/nowhere"], None)?;
    ensure!(
        lines.len() == 1 && lines[0].starts_with("tcpstat: --path.procfs /nowhere: "),
        "{lines:#?}"
    );
    Ok(())
}

fn only_at_debug_a_line_names_its_module() -> Result<()> {
    let module = "tcpstat_user::";
    ensure!(!served(&[], None)?.iter().any(|line| line.contains(module)));
    let lines = served(&["--log.level=debug"], None)?;
    ensure!(lines.iter().any(|line| line.contains(&format!(" target={module}"))), "{lines:#?}");
    Ok(())
}
