//! How old the oldest socket of a row is: the time since its peer was last heard.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::ages::{Entered, is_at_least};
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::State;
use tcpstat_tests::who::{Who, kernel_has_iterator, who};

use crate::links::{accepted, half_close, links};

/// An age that can be told from none.
const AGE: Duration = Duration::from_millis(1_200);

/// Other work on the machine can take a second between two steps.
const ATTEMPTS: usize = 10;

pub(crate) fn tests() -> Vec<Test> {
    if !kernel_has_iterator().unwrap_or(true) {
        return kernel_tests![without_the_iterator_no_age_is_known];
    }
    kernel_tests![a_leak_is_as_old_as_it_is, the_oldest_socket_of_a_row_counts]
}

/// It needs an answer within two seconds, for which a guest is too slow.
pub(crate) fn host_tests() -> Vec<Test> {
    if kernel_has_iterator().unwrap_or(true) {
        kernel_tests![older_than_shows_only_sockets_that_are_older]
    } else {
        Vec::new()
    }
}

fn oldest(who: &Who, holder: &Holder) -> Result<f64> {
    who.row_of(&[holder.pid()])?.oldest_seconds.with_context(|| format!("no age: {who:#?}"))
}

fn a_leak_is_as_old_as_it_is(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("leaker")?;
    let links = links(7_000, 3)?;
    let (entered, ()) = Entered::during(|| half_close(&links))?;
    let (served, _clients) = accepted(links);
    holder.take(&served)?;
    drop(served);
    for _ in 0..2 {
        sleep(AGE);
        let least = entered.latest.elapsed();
        let shown = oldest(&who(&["close_wait"])?, &holder)?;
        entered.ensure_not_older(shown)?;
        ensure!(is_at_least(shown, least), "{shown} s is shown after {least:?}");
    }
    Ok(())
}

fn the_oldest_socket_of_a_row_counts(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("leaker")?;
    let links = links(7_000, 3)?;
    let (entered, ()) = Entered::during(|| half_close(&links[1..2]))?;
    sleep(AGE);
    half_close(&links[..1])?;
    half_close(&links[2..])?;
    let (served, _clients) = accepted(links);
    holder.take(&served)?;
    drop(served);
    let least = entered.latest.elapsed();
    let who = who(&["close_wait"])?;
    who.row_of(&[holder.pid()])?.ensure_states(&[(State::CloseWait, 3)])?;
    let shown = oldest(&who, &holder)?;
    entered.ensure_not_older(shown)?;
    ensure!(is_at_least(shown, least), "{shown} s is shown after {least:?}");
    Ok(())
}

/// One process has old and new sockets, another one has only new ones.
fn older_than_shows_only_sockets_that_are_older(_: &Namespace) -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(2);
    for attempt in 0..ATTEMPTS {
        let (mut both, mut new) = (Holder::start("both")?, Holder::start("new")?);
        let port = 7_000 + u16::try_from(attempt)?;
        let links = links(port, 6)?;
        half_close(&links[..2])?;
        sleep(LIMIT + Duration::from_millis(200));
        let entered = Instant::now();
        half_close(&links[2..])?;
        let (served, _clients) = accepted(links);
        both.take(&served[..3])?;
        new.take(&served[3..])?;
        drop(served);
        let port = format!("--port={port}");
        let old = who(&["close_wait", "--older-than=2s", &port, "--netns=self"])?;
        if entered.elapsed() >= LIMIT {
            // The new ones may have become old meanwhile.
            continue;
        }
        old.row_of(&[both.pid()])?.ensure_states(&[(State::CloseWait, 2)])?;
        ensure!(!old.shows(new.pid()) && old.sockets == 2, "{old:#?}");
        let all = who(&["close_wait", &port, "--netns=self"])?;
        assert_eq!(all.sockets, 6);
        return Ok(());
    }
    bail!("each of {ATTEMPTS} attempts took longer than {LIMIT:?}")
}

fn without_the_iterator_no_age_is_known(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("leaker")?;
    let links = links(7_000, 1)?;
    half_close(&links)?;
    let (served, _clients) = accepted(links);
    holder.take(&served)?;
    drop(served);
    let who = who(&["close_wait"])?;
    assert_eq!(who.row_of(&[holder.pid()])?.oldest_seconds, None, "{who:#?}");
    Ok(())
}
