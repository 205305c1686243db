//! The processes that hold sockets, in the terminal view.

use std::fs;
use std::net::Ipv6Addr;

use anyhow::{Context, Result};
use tcpstat_tests::binary::path_from;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::listeners::Stuck;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::terminal::Terminal;
use tcpstat_tests::unprivileged::ReachableBinary;

use crate::terminal::{sockets, top};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        top_shows_the_process_that_holds_sockets_in_close_wait,
        top_shows_the_process_that_does_not_accept,
        top_without_privileges_says_how_many_processes_are_hidden,
        top_of_a_running_exporter_says_where_processes_are_shown
    ]
}

/// Id and command of the process, as the view shows them.
fn process(pid: u32) -> Result<String> {
    let path = format!("/proc/{pid}/comm");
    let command = fs::read_to_string(&path).context(path)?;
    Ok(format!("{pid} {}", command.trim_end()))
}

/// The number at the start of the first line with this text.
fn held_by<'a>(screen: &'a str, process: &str) -> Option<&'a str> {
    let line = screen.lines().find(|line| line.contains(process))?;
    line.split_whitespace().next()
}

fn top_shows_the_process_that_holds_sockets_in_close_wait(_: &Namespace) -> Result<()> {
    let mut resident = Resident::start()?;
    resident.order(&Order::Leak(31))?;
    let process = process(resident.pid())?;
    let terminal = top((100, 24))?;
    terminal.await_screen("the leak", |screen| sockets(screen, "close_wait") == Some(31))?;
    terminal.press("w")?;
    let screen =
        terminal.await_screen("the process", |screen| held_by(screen, &process) == Some("31"))?;
    assert!(screen.contains("CLOSE_WAIT  31 held  in its own network namespace"), "{screen}");

    terminal.press("Space")?;
    let screen = terminal.await_screen("a pause", |screen| screen.contains("PAUSED"))?;
    assert_eq!(held_by(&screen, &process), Some("31"), "{screen}");
    resident.order(&Order::Close)?;
    terminal.press("Space")?;
    terminal.await_screen("no leak", |screen| screen.contains("no process holds such a socket"))?;

    terminal.press("Right")?;
    terminal.await_screen("another state", |screen| screen.contains("LAST_ACK  0 held"))?;
    terminal.press("Escape")?;
    terminal.await_screen("the states", |screen| screen.contains("TRANSITIONS"))?;
    // The marker is on LAST_ACK now.
    for key in ["Up", "k", "k", "w"] {
        terminal.press(key)?;
    }
    terminal.await_screen("the marked state", |screen| {
        screen.contains("TIME_WAIT  0 held") && screen.contains("the kernel keeps these sockets")
    })?;
    Ok(())
}

fn top_shows_the_process_that_does_not_accept(_: &Namespace) -> Result<()> {
    let full = Stuck::start(Ipv6Addr::LOCALHOST.into(), 4, 5)?;
    let process = process(std::process::id())?;
    let terminal = top((100, 24))?;
    terminal.await_screen("its start", |screen| screen.contains("established"))?;
    terminal.press("w")?;
    let listener = format!("{}  {process}", full.address);
    terminal.await_screen("the full queue", |screen| held_by(screen, &listener) == Some("5"))?;
    Ok(())
}

fn top_without_privileges_says_how_many_processes_are_hidden(_: &Namespace) -> Result<()> {
    let mut resident = Resident::start()?;
    resident.order(&Order::Leak(3))?;
    let binary = ReachableBinary::copy()?;
    let terminal = Terminal::open(&binary.top_script(), (100, 24))?;
    terminal.await_screen("the leak", |screen| sockets(screen, "close_wait") == Some(3))?;
    terminal.press("w")?;
    let screen =
        terminal.await_screen("the remedy", |screen| screen.contains("hidden: grant CAP_BPF"))?;
    assert!(screen.contains("CLOSE_WAIT  0 held of 3"), "{screen}");
    Ok(())
}

fn top_of_a_running_exporter_says_where_processes_are_shown(_: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&[])?;
    let binary = path_from("TCPSTAT_BIN")?;
    let script = format!("exec {} top --connect http://{}", binary.display(), exporter.address());
    let terminal = Terminal::open(&script, (80, 24))?;
    terminal.await_screen("its start", |screen| screen.contains("established"))?;
    terminal.press("w")?;
    let screen = terminal.await_screen("the reason", |screen| screen.contains("over HTTP"))?;
    assert!(screen.contains("tcpstat who"), "{screen}");
    Ok(())
}
