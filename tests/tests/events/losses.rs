//! A reader that is too slow loses transitions, never the count of them; and the kernel never waits for it.

use anyhow::{Result, bail, ensure};
use tcpstat_tests::event_record::{End, transitions};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::memory::resident_bytes;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::transition_stream::Stream;

use crate::scene::{ATTEMPTS, OWN_NETNS, await_no_full_socket};

/// What the stream may hold in memory.
const MOST_BYTES: u64 = 32 << 20;

/// A small ring buffer. The churn makes more than fits in it, in the pipe, and in between.
const BUFFER: &str = "--buffer=1MiB";

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        without_a_reader_churn_goes_on_and_each_lost_transition_is_counted,
        with_a_reader_every_transition_of_churn_is_shown
    ]
}

fn churn(connections: usize) -> Result<u64> {
    let churn = Churn { threads: 1, connections, family: Family::Ipv4, resets: true };
    let made = churn.run()?.transitions().values().sum();
    await_no_full_socket()?;
    Ok(made)
}

/// Asserts that in one of some attempts the stream reports as many transitions as were made. The kernel can skip
/// events of other tests, which count as lost, too; and on some machines it skips single ones without a trace.
fn assert_complete(attempt: impl Fn() -> Result<(u64, End)>) -> Result<()> {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let (made, end) = attempt()?;
        ensure!(end.events <= made, "{made} were made: {end:?}");
        if end.events + end.lost == made {
            return Ok(());
        }
        seen.push((made, end));
    }
    bail!("{seen:#?}")
}

fn without_a_reader_churn_goes_on_and_each_lost_transition_is_counted(_: &Namespace) -> Result<()> {
    assert_complete(|| {
        let mut stream = Stream::start_unread(&[OWN_NETNS, BUFFER])?;
        // It returns: the kernel does not wait.
        let mut made = churn(4_000)?;
        let held = resident_bytes(stream.pid())?;
        ensure!(held <= MOST_BYTES, "{held} bytes");
        stream.read()?;
        made += churn(10)?;
        // One that the kernel skips without a trace is never reported.
        let _ = stream.await_reported(made);
        let (_, end) = stream.stop()?;
        ensure!(end.lost > 0 && end.events > 0, "nothing was lost: {end:?} of {made}");
        Ok((made, end))
    })
}

fn with_a_reader_every_transition_of_churn_is_shown(_: &Namespace) -> Result<()> {
    assert_complete(|| {
        let mut stream = Stream::start(&[OWN_NETNS])?;
        let made = churn(2_000)?;
        let _ = stream.await_reported(made);
        let (records, end) = stream.stop()?;
        // No transition is shown twice.
        let shown = transitions(records);
        let mut keys: Vec<_> =
            shown.iter().map(|one| (&one.socket, &one.from, &one.to, &one.time)).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), shown.len());
        // A reader that reads loses nothing to a full buffer.
        ensure!(end.lost < made / 100, "{made} were made: {end:?}");
        Ok((made, end))
    })
}
