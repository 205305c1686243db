//! The table for people.

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::who::who;

use crate::links::{accepted, half_close, links};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_table_has_the_process_and_its_sockets,
        a_process_name_with_control_characters_does_not_break_the_table,
        nothing_to_show_is_a_success
    ]
}

/// A holder of that name with so many sockets in CLOSE_WAIT; the other ends.
fn leaker(name: &[u8], port: u16, sockets: usize) -> Result<(Holder, Vec<std::net::TcpStream>)> {
    let mut holder = Holder::start(name)?;
    let links = links(port, sockets)?;
    half_close(&links)?;
    let (served, clients) = accepted(links);
    holder.take(&served)?;
    Ok((holder, clients))
}

fn table(args: &[&str]) -> Result<String> {
    let run = tcpstat([&["who"], args].concat())?;
    ensure!(run.status == Some(0), "{run:?}");
    Ok(run.stdout)
}

fn the_table_has_the_process_and_its_sockets(_: &Namespace) -> Result<()> {
    let (holder, _clients) = leaker(b"leaker", 7_000, 37)?;
    let text = table(&["close_wait", "--netns=self"])?;
    let pid = holder.pid().to_string();
    let line = text.lines().find(|line| line.contains(&pid)).with_context(|| text.clone())?;
    for part in ["leaker", "37", "7000"] {
        ensure!(line.contains(part), "{part} is not in {text}");
    }
    Ok(())
}

/// The names are of the kernel's limit at most.
fn a_process_name_with_control_characters_does_not_break_the_table(_: &Namespace) -> Result<()> {
    let args = ["close_wait", "--netns=self"];
    let (plain, _clients) = leaker(b"plain", 7_000, 2)?;
    let lines = table(&args)?.lines().count();
    drop(plain);
    let names: [&[u8]; 5] = [
        b"a\nb\r\n",
        b"\x1b[2J\x1b[31m",
        b"tab\tbell\x07\x08",
        b"\xff\xfe\xc3",
        "\u{202e}x\u{9b}2J".as_bytes(),
    ];
    for (name, port) in names.into_iter().zip(7_001..) {
        let (holder, _clients) = leaker(name, port, 2)?;
        let text = table(&args)?;
        let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        ensure!(!text.contains(raw) && text.lines().count() == lines, "{name:?}: {text:?}");
        let pid = holder.pid().to_string();
        ensure!(text.lines().any(|line| line.contains(&pid)), "{name:?}: {text}");
        let json = who(&args)?;
        let command = json.row_of(&[holder.pid()])?.processes[0].command();
        ensure!(!command.is_empty(), "{json:?}");
    }
    Ok(())
}

fn nothing_to_show_is_a_success(_: &Namespace) -> Result<()> {
    let who = who(&["close_wait", "--netns=self"])?;
    assert_eq!((who.holders.len(), who.more_holders, who.sockets), (0, 0, 0), "{who:#?}");
    table(&["close_wait", "--netns=self"])?;
    Ok(())
}
