//! The process of a transition is the one whose system call makes it, and never one that a softirq interrupts.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::event_record::summaries;
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::owned_child::OwnedChild;
use tcpstat_tests::receive_processor::{receive_on, run_on};
use tcpstat_tests::tcp::Family;
use tcpstat_tests::transition_stream::Stream;

use crate::scene::{Expected, Scene, assert_exact};

/// Connections during which the busy process is interrupted.
const ROUNDS: u16 = 20;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_process_that_softirqs_interrupt_is_never_named,
        the_process_that_closes_a_socket_is_named_even_if_another_made_it
    ]
}

/// A process that computes on one processor.
fn busy_process() -> Result<OwnedChild> {
    let process = Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
    Ok(process.context("start sh")?.into())
}

/// Every segment is received on processor 0, where another process runs; both ends run on processor 1.
fn a_process_that_softirqs_interrupt_is_never_named(namespace: &Namespace) -> Result<()> {
    receive_on(namespace, 0)?;
    run_on(0)?;
    let _busy = busy_process()?;
    run_on(1)?;
    let mut scene = Scene::new(Family::Ipv4, 0)?;
    assert_exact(&[], || {
        let before = received_on_0()?;
        let mut expected = Vec::<Expected>::new();
        for _ in 0..ROUNDS {
            scene.next_ports();
            scene.orderly()?;
            expected.extend(scene.orderly_expected()?);
        }
        let softirqs = received_on_0()? - before;
        ensure!(softirqs >= u64::from(ROUNDS), "{softirqs} softirqs on processor 0");
        Ok(expected)
    })
}

/// Softirqs of received packets on processor 0.
fn received_on_0() -> Result<u64> {
    let text = fs::read_to_string("/proc/softirqs").context("/proc/softirqs")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("NET_RX:"));
    Ok(line.and_then(|line| line.split_whitespace().next()).context("no NET_RX")?.parse()?)
}

fn the_process_that_closes_a_socket_is_named_even_if_another_made_it(_: &Namespace) -> Result<()> {
    let stream = Stream::start(&[])?;
    let pairs = Pairs::connect(1, Family::Ipv4)?;
    let mut holder = Holder::start("closer")?;
    holder.take(pairs.streams().iter().map(|(client, _)| client))?;
    let accepted = pairs.streams()[0].1.try_clone()?;
    // It does not reset the connection.
    let client = pairs.streams()[0].0.try_clone()?;
    drop(pairs);
    socket2::SockRef::from(&client).set_linger(None)?;
    drop(client);
    holder.close()?;
    let shown =
        stream.await_own("the close", |shown| shown.iter().any(|one| one.to == "fin_wait1"))?;
    let close = shown.iter().find(|one| one.to == "fin_wait1").context("no close")?;
    let process = close.process.as_ref().with_context(|| summaries(&shown))?;
    ensure!((process.pid, process.command()) == (holder.pid(), "closer"), "{process:?}");
    drop(accepted);
    Ok(())
}
