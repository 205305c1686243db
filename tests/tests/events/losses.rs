//! A reader that is too slow loses transitions, never the count of them; and the kernel never waits for it.

use anyhow::{Result, ensure};
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::memory::resident_bytes;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::transition_stream::{Stream, transitions};

use crate::scene::OWN_NETNS;

/// What the stream may hold: its ring buffer and everything else.
const MOST_BYTES: u64 = 64 << 20;

/// Enough to fill the pipe and every buffer.
const ROUNDS: usize = 3;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        without_a_reader_churn_goes_on_and_each_lost_transition_is_counted,
        with_a_reader_every_transition_of_churn_is_shown
    ]
}

fn churn(connections: usize) -> Result<u64> {
    let churn = Churn { threads: 1, connections, family: Family::Ipv4, resets: true };
    let made = churn.run()?.transitions().values().sum();
    proc_view::await_quiet(DEADLINE)?;
    Ok(made)
}

fn without_a_reader_churn_goes_on_and_each_lost_transition_is_counted(_: &Namespace) -> Result<()> {
    let mut stream = Stream::start_unread(&[OWN_NETNS])?;
    let mut made = 0;
    for _ in 0..ROUNDS {
        // It returns: the kernel does not wait.
        made += churn(20_000)?;
    }
    let held = resident_bytes(stream.pid())?;
    ensure!(held <= MOST_BYTES, "{held} bytes");
    stream.read()?;
    // The stream has room again.
    let before = stream.transitions()?.len();
    stream.await_transitions("transitions after the reader came back", |now| now.len() > before)?;
    made += churn(10)?;
    let (records, end) = stream.stop()?;
    let shown = transitions(records).len() as u64;
    assert_eq!(end.events + end.lost, made, "{end:?}");
    ensure!(end.lost > 0 && shown > 0, "nothing was lost: {end:?} of {made}");
    Ok(())
}

fn with_a_reader_every_transition_of_churn_is_shown(_: &Namespace) -> Result<()> {
    let mut stream = Stream::start(&[OWN_NETNS])?;
    let made = churn(2_000)?;
    let (records, end) = stream.stop()?;
    assert_eq!((end.events, end.lost), (made, 0));
    // No transition is shown twice.
    let shown = transitions(records);
    let mut keys: Vec<_> =
        shown.iter().map(|one| (&one.socket, &one.from, &one.to, &one.time)).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), shown.len());
    Ok(())
}
