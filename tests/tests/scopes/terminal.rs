//! Scopes in the terminal view, of its own process and of a running exporter.

use anyhow::Result;
use tcpstat_tests::binary::path_from;
use tcpstat_tests::calls::Call;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_release::namespaces_have_cookies;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{all_namespaces, await_right};
use tcpstat_tests::terminal::Terminal;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        top_shows_the_worst_namespace_first,
        top_shows_the_process_that_leaks_in_the_marked_namespace,
        top_shows_the_namespaces_of_a_running_exporter,
        top_shows_the_ages_and_the_listeners_of_the_marked_namespace,
        top_without_scopes_says_so
    ]
}

fn top(args: &str) -> Result<Terminal> {
    let binary = path_from("TCPSTAT_BIN")?;
    let script = format!("exec {} top --interval 200ms {args}", binary.display());
    let terminal = Terminal::open(&script, (100, 24))?;
    terminal.await_screen("the states", |screen| screen.contains("close_wait "))?;
    terminal.press("v")?;
    Ok(terminal)
}

/// The words of the first row of the table of scopes.
fn first_row(screen: &str) -> Vec<&str> {
    let rows = screen.lines().skip_while(|line| !line.starts_with("SCOPE "));
    rows.skip(1).flat_map(str::split_whitespace).take(7).collect()
}

/// A resident that leaks 31 sockets, more than anything else on the machine. They are in CLOSE_WAIT; the kernel
/// forgets the other ends.
fn leaking() -> Result<Resident> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Leak(31))?;
    Ok(resident)
}

fn top_shows_the_worst_namespace_first(_: &Namespace) -> Result<()> {
    let resident = leaking()?;
    let name = resident.inum()?.to_string();
    let terminal = top("--netns all")?;
    terminal.await_screen("the leak", |screen| {
        let row = first_row(screen);
        row.len() == 7 && row[0].contains(&name) && row[2] == "31"
    })?;
    terminal.press("v")?;
    terminal.await_screen("the states again", |screen| screen.contains("close_wait "))?;
    Ok(())
}

fn top_shows_the_process_that_leaks_in_the_marked_namespace(_: &Namespace) -> Result<()> {
    let resident = leaking()?;
    let mut other = Resident::in_new_namespace()?;
    other.order(&Order::Leak(29))?;
    let terminal = top("--netns all")?;
    terminal.await_screen("the leaks", |screen| {
        screen.contains(&resident.inum().map_or(String::new(), |inum| inum.to_string()))
            && first_row(screen).get(2) == Some(&"31")
    })?;
    for (keys, sockets, shown, not) in
        [(&["w"][..], 31, &resident, &other), (&["w", "Down", "w"], 29, &other, &resident)]
    {
        for key in keys {
            terminal.press(key)?;
        }
        let (shown, not) = (format!(" {} ", shown.pid()), format!(" {} ", not.pid()));
        let held = format!("CLOSE_WAIT  {sockets} held");
        let screen = terminal.await_screen("the process", |screen| {
            screen.contains(&held) && screen.contains(&shown)
        })?;
        assert!(!screen.contains(&not), "{screen}");
    }
    Ok(())
}

fn top_shows_the_namespaces_of_a_running_exporter(_: &Namespace) -> Result<()> {
    let resident = leaking()?;
    let mut exporter = all_namespaces(&["--snapshot-interval=1h"]).start()?;
    let (name, _) = await_right(&mut exporter, resident.pid())?;
    let terminal = top(&format!("--connect http://{}", exporter.address()))?;
    terminal.await_screen("the leak", |screen| {
        let row = first_row(screen);
        row.len() == 7 && row[0] == name && row[2] == "31"
    })?;
    Ok(())
}

/// Of the tracker of this process, and of a running exporter.
fn top_shows_the_ages_and_the_listeners_of_the_marked_namespace(_: &Namespace) -> Result<()> {
    if !namespaces_have_cookies()? {
        // Nothing shows what processes hold in other namespaces there.
        return Ok(());
    }
    let mut resident = leaking()?;
    resident.call(Call::Listen("127.0.0.1:7100".parse()?))?;
    let mut exporter = all_namespaces(&["--snapshot-interval=1h"]).start()?;
    let (name, _) = await_right(&mut exporter, resident.pid())?;
    for args in ["--netns all", &format!("--connect http://{}", exporter.address())] {
        let terminal = top(args)?;
        terminal.await_screen("the leak", |screen| first_row(screen).get(2) == Some(&"31"))?;
        terminal.press("d")?;
        let title = format!("NETNS  {name}");
        let screen = terminal.await_screen("the ages", |screen| {
            screen.contains(&title) && screen.contains("CLOSE_WAIT  oldest")
        })?;
        assert!(screen.contains("LISTENER  1 of 1"), "{screen}");
        assert!(screen.contains("127.0.0.1:7100"), "{screen}");
        assert!(!screen.contains("CLOSED IN"), "{screen}");
        terminal.press("d")?;
        terminal.await_screen("the scopes again", |screen| screen.contains("SCOPE "))?;
    }
    Ok(())
}

fn top_without_scopes_says_so(_: &Namespace) -> Result<()> {
    let terminal = top("")?;
    let screen =
        terminal.await_screen("the reason", |screen| screen.contains("No scopes are counted"))?;
    assert!(screen.contains("--netns all"), "{screen}");
    Ok(())
}
