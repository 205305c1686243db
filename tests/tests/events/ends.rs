//! How a stream ends, and that it ends.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tcpstat_tests::event_record::Record;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::transition_stream::Stream;

use crate::scene::{OWN_NETNS, Scene};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        with_a_count_it_ends_after_so_many_transitions,
        with_a_duration_it_ends_by_itself,
        a_signal_ends_it_with_a_last_line,
        a_signal_ends_it_while_nobody_reads,
        what_is_written_when_nobody_reads_are_whole_lines,
        a_closed_reader_ends_it_with_one_line
    ]
}

fn churn(connections: usize) -> Result<u64> {
    let churn = Churn { threads: 1, connections, family: Family::Ipv4, resets: true };
    Ok(churn.run()?.transitions().values().sum())
}

/// A record of lost events can stand before any of them.
fn with_a_count_it_ends_after_so_many_transitions(_: &Namespace) -> Result<()> {
    for count in [1, 7] {
        let mut stream = Stream::start(&[OWN_NETNS, &format!("--count={count}")])?;
        Scene::new(Family::Ipv4, 0)?.orderly()?;
        let (records, end) = stream.ended()?;
        assert_eq!(end.events, count, "{records:?}");
    }
    Ok(())
}

fn with_a_duration_it_ends_by_itself(_: &Namespace) -> Result<()> {
    let mut stream = Stream::start(&[OWN_NETNS, "--duration=1s"])?;
    let (records, end) = stream.ended()?;
    assert_eq!(end.events, 0, "{records:?}");
    ensure!(end.seconds >= Duration::from_secs(1).as_secs_f64(), "{end:?}");
    Ok(())
}

fn a_signal_ends_it_with_a_last_line(_: &Namespace) -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut stream = Stream::start(&[OWN_NETNS])?;
        let made = usize::try_from(churn(20)?)?;
        stream.await_own("all transitions", |shown| shown.len() >= made)?;
        stream.signal(signal)?;
        let (_, end) = stream.ended()?;
        ensure!(end.events == made as u64 || end.lost > 0, "{made} made: {end:?}");
    }
    Ok(())
}

/// The pipe is full: more than its 64 KiB of lines have been made.
fn a_signal_ends_it_while_nobody_reads(_: &Namespace) -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut stream = Stream::start_unread(&[OWN_NETNS])?;
        ensure!(churn(400)? > 2_000, "too few transitions to fill a pipe");
        stream.signal(signal)?;
        stream.wait_end()?;
    }
    Ok(())
}

/// The pipe is full, and the process ends during a write.
fn what_is_written_when_nobody_reads_are_whole_lines(_: &Namespace) -> Result<()> {
    let mut stream = Stream::start_unread(&[OWN_NETNS])?;
    churn(400)?;
    stream.signal(Signal::SIGTERM)?;
    stream.wait_end()?;
    stream.read()?;
    stream.wait_end()?;
    ensure!(stream.records()?.len() > 10, "{}", stream.log());
    Ok(())
}

fn a_closed_reader_ends_it_with_one_line(_: &Namespace) -> Result<()> {
    let mut stream = Stream::start_unread(&[OWN_NETNS])?;
    let before = stream.log();
    stream.close();
    churn(5)?;
    stream.wait_end()?;
    let log = stream.log();
    let more = log.strip_prefix(&before).unwrap_or(&log);
    assert_eq!(more.lines().count(), 1, "{log}");
    ensure!(stream.records()?.iter().all(|record| !matches!(record, Record::Lost(_))), "{log}");
    Ok(())
}
