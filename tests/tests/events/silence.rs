//! How long the peer has been silent when a socket leaves CLOSE_WAIT.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::ages::{half_closed, is_at_least};
use tcpstat_tests::event_record::summaries;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::transition_stream::Stream;

/// A silence that can be told from none.
const SILENCE: Duration = Duration::from_millis(600);

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![the_silence_of_the_peer_is_shown_when_a_socket_leaves_close_wait]
}

/// The peer sends its FIN and nothing more. Its acknowledgments answer nothing.
fn the_silence_of_the_peer_is_shown_when_a_socket_leaves_close_wait(_: &Namespace) -> Result<()> {
    for family in Family::ALL {
        let stream = Stream::start(&[])?;
        let (entered, pairs) = half_closed(1, family)?;
        sleep(SILENCE);
        let least = entered.latest.elapsed();
        // Both ends are closed: the accepted one first, which is in CLOSE_WAIT.
        let accepted = pairs.streams()[0].1.try_clone()?;
        accepted.shutdown(std::net::Shutdown::Write)?;
        let closed = Instant::now();
        let most = closed - entered.earliest;
        let shown = stream.await_own("the end of CLOSE_WAIT", |shown| {
            shown.iter().any(|one| one.from == "close_wait")
        })?;
        let exit = shown.iter().find(|one| one.from == "close_wait").context("no exit")?;
        let silence = exit.silence_seconds.with_context(|| summaries(&shown))?;
        ensure!(is_at_least(silence, least), "{silence} s after {least:?}");
        ensure!(
            is_at_least(most.as_secs_f64(), Duration::from_secs_f64(silence)),
            "{silence} s, {most:?}"
        );
        // Nothing has been heard before a connection.
        let births = shown.iter().filter(|one| ["close", "listen"].contains(&one.from.as_str()));
        for birth in births {
            ensure!(birth.silence_seconds.is_none(), "{birth:?}");
        }
    }
    Ok(())
}
