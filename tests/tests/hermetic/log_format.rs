//! The format of the log: chosen by what standard error is, or by a flag.

use std::fs::File;
use std::io::{Read as _, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
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

/// What a command writes to standard error, a pipe. With `journal` the command learns that it is the journal.
fn log(args: &[&str], journal: Option<bool>) -> Result<Vec<String>> {
    let (mut reader, writer) = pipe()?;
    let pipe = File::from(OwnedFd::from(writer.try_clone()?)).metadata()?;
    let mut command = Command::new(path_from("TCPSTAT_BIN")?);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    command.env_remove("JOURNAL_STREAM").env_remove("TCPSTAT_LOG_FORMAT");
    if let Some(right) = journal {
        let inode = if right { pipe.ino() } else { pipe.ino() + 1 };
        command.env("JOURNAL_STREAM", format!("{}:{inode}", pipe.dev()));
    }
    let mut child = command.spawn()?;
    // The writing end must be closed for the reader to see the end.
    drop(command);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    child.wait()?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// A start that logs some lines and then fails: no host has that address.
fn failing_start(more: &[&str], journal: Option<bool>) -> Result<Vec<String>> {
    let procfs = format!("--path.procfs={}", fixture("proc/debian-6.18")?.display());
    let address = "--web.listen-address=192.0.2.1:10048";
    let lines = log(&[&["serve", "--tracer=off", &procfs, address], more].concat(), journal)?;
    ensure!(lines.len() > 1 && lines.iter().any(|line| line.contains("192.0.2.1")), "{lines:#?}");
    Ok(lines)
}

/// Whether the text looks like `2026-11-26T23:43:16.414094Z`.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000000Z"
}

fn serve_logs_in_logfmt_to_a_pipe() -> Result<()> {
    for line in failing_start(&[], None)? {
        let rest = line.strip_prefix("time=").with_context(|| line.clone())?;
        let (time, rest) = rest.split_once(" level=").with_context(|| line.clone())?;
        ensure!(is_time(time), "{line}");
        let (level, rest) = rest.split_once(" msg=").with_context(|| line.clone())?;
        ensure!(["error", "warn", "info"].contains(&level) && rest.starts_with('"'), "{line}");
    }
    Ok(())
}

fn json_is_one_object_for_each_line() -> Result<()> {
    let lines = failing_start(&["--log.format=json"], None)?;
    let last = lines.last().context("no line")?.clone();
    for line in lines {
        let object: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        let time = object["time"].as_str().with_context(|| line.clone())?;
        ensure!(is_time(time), "{line}");
        ensure!(object["msg"].is_string() && object["level"].is_string(), "{line}");
    }
    assert_eq!(serde_json::from_str::<Value>(&last)?["level"], "error");
    Ok(())
}

fn the_journal_gets_priorities_and_no_time() -> Result<()> {
    let lines = failing_start(&[], Some(true))?;
    for line in &lines {
        ensure!(["<3>", "<4>", "<6>"].contains(&&line[..3]) && !line.contains("time="), "{line}");
    }
    ensure!(lines.last().is_some_and(|line| line.starts_with("<3>")), "{lines:#?}");
    Ok(())
}

fn a_stream_that_is_not_the_journal_is_a_pipe() -> Result<()> {
    for line in failing_start(&[], Some(false))? {
        ensure!(line.starts_with("time="), "{line}");
    }
    Ok(())
}

fn other_commands_write_for_people_to_a_pipe() -> Result<()> {
    let lines = log(&["show", "--path.procfs=/nowhere"], None)?;
    ensure!(lines.len() == 1 && lines[0].starts_with("tcpstat: --path.procfs"), "{lines:#?}");
    Ok(())
}

fn only_at_debug_a_line_names_its_module() -> Result<()> {
    let module = "tcpstat_user::";
    ensure!(!failing_start(&[], None)?.iter().any(|line| line.contains(module)));
    let lines = failing_start(&["--log.level=debug"], None)?;
    ensure!(lines.iter().any(|line| line.contains(&format!(" target={module}"))), "{lines:#?}");
    Ok(())
}
