//! How long sockets are in CLOSE_WAIT, against the test's own clock.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use socket2::{SockRef, TcpKeepalive};
use tcpstat_tests::ages::{Ages, Entered, TICKS, half_closed, is_at_least, silences};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::histogram::Histogram;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::segment::Flags;
use tcpstat_tests::states;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::wire::Wire;

use crate::surroundings::rename_member;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        a_socket_in_close_wait_at_the_start_is_as_old_as_it_is,
        keepalive_makes_no_leak_younger,
        a_half_closed_peer_that_talks_is_never_shown_older_than_it_is,
        a_new_socket_in_close_wait_does_not_get_the_age_of_an_old_one,
        without_lrcvtime_one_line_says_that_ages_are_not_known,
        without_a_tracer_nothing_is_said_of_ages
    ];
    for tracer in ["btf", "tracepoint"] {
        tests.push(kernel_test(
            format!("a_socket_that_leaves_close_wait_counts_with_its_silence_with_{tracer}"),
            move |namespace| silence(namespace, tracer),
        ));
        tests.push(kernel_test(
            format!("answers_of_the_peer_shorten_the_silence_with_{tracer}"),
            move |namespace| answered(namespace, tracer),
        ));
    }
    tests
}

/// An age at which a socket is in the second bucket.
const AGE: Duration = Duration::from_millis(1_200);

fn start(tracer: &str) -> Result<Exporter> {
    Exporter::start(&[&FREQUENT_SNAPSHOTS[..], &["--tracer", tracer]].concat())
}

/// Waits for the next reading: it follows a snapshot.
fn await_reading(exporter: &mut Exporter) -> Result<Ages> {
    Ages::of(&await_snapshot(exporter)?)
}

/// Waits for a scrape with a snapshot that ended after this call.
fn await_snapshot(exporter: &mut Exporter) -> Result<Scrape> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    wait_until("snapshot", DEADLINE, || {
        let scrape = exporter.scrape()?;
        let snapshots = scrape.family("tcpstat_snapshot_timestamp_seconds");
        let snapshot = snapshots.first().context("no snapshot")?.value;
        Ok(if snapshot > now {
            Progress::Done(scrape)
        } else {
            Progress::NotYet(format!("snapshot at {snapshot}, now is {now}"))
        })
    })
}

/// Sockets in CLOSE_WAIT, so many of each kind of address. Their connections are older.
fn close_wait(wire: &Wire, of_each: usize) -> Result<(Entered, Vec<Held>)> {
    let kinds = Addressing::ALL.into_iter().cycle().take(of_each * Addressing::ALL.len());
    let mut all = kinds
        .map(|addressing| states::established(wire, addressing))
        .collect::<Result<Vec<_>>>()?;
    sleep(AGE);
    let (entered, ()) = Entered::during(|| {
        all.iter_mut().try_for_each(|held| held.remote()?.fin())?;
        all.iter().try_for_each(|held| held.await_state(State::CloseWait))
    })?;
    Ok((entered, all))
}

/// Reads the silences when so many sockets have left CLOSE_WAIT since `earlier`.
fn await_left(exporter: &mut Exporter, earlier: &Histogram, sockets: u64) -> Result<Histogram> {
    Histogram::await_since(exporter, silences, earlier, sockets)
}

/// Ways out of CLOSE_WAIT: to LAST_ACK, and to CLOSE by this end or by the other.
const WAYS_OUT: [fn(&mut Held) -> Result<()>; 3] = [
    |held| {
        held.close();
        Ok(())
    },
    |held| {
        held.socket()?.set_linger(Some(Duration::ZERO))?;
        held.close();
        Ok(())
    },
    |held| held.remote()?.rst(),
];

fn silence(namespace: &Namespace, tracer: &str) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut exporter = start(tracer)?;
    for age in [Duration::ZERO, AGE] {
        let before = silences(&exporter.scrape()?)?;
        let (entered, mut all) = close_wait(&wire, WAYS_OUT.len())?;
        sleep(age.saturating_sub(entered.latest.elapsed()));
        let least = entered.latest.elapsed();
        for (three, leave) in all.chunks_mut(3).zip(WAYS_OUT) {
            three.iter_mut().try_for_each(leave)?;
        }
        let since = await_left(&mut exporter, &before, 9)?;
        since.ensure_between(9, least, entered.earliest.elapsed(), TICKS)?;
    }
    Ok(())
}

/// The peer acknowledges something half-way: the silence begins again, as documented.
fn answered(namespace: &Namespace, tracer: &str) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut exporter = start(tracer)?;
    let before = silences(&exporter.scrape()?)?;
    let (entered, mut all) = close_wait(&wire, 1)?;
    sleep(AGE);
    let (answered, ()) = Entered::during(|| {
        for held in &mut all {
            // The answer has arrived when nothing is unacknowledged.
            held.socket()?.send(b"x")?;
            while held.remote()?.wait_for(Flags::ACK)?.payload.is_empty() {}
            held.remote()?.ack()?;
            held.await_row("an acknowledgment", |row| row.is_some_and(|row| row.send_queue == 0))?;
        }
        Ok(())
    })?;
    let least = answered.latest.elapsed();
    all.iter_mut().for_each(Held::close);
    let since = await_left(&mut exporter, &before, 3)?;
    since.ensure_between(3, least, answered.earliest.elapsed(), TICKS)?;
    ensure!(answered.earliest.duration_since(entered.latest) >= AGE);
    Ok(())
}

fn a_socket_in_close_wait_at_the_start_is_as_old_as_it_is(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let (entered, mut all) = close_wait(&wire, 1)?;
    sleep(AGE);
    let least = entered.latest.elapsed();
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    let first = Ages::read(&mut exporter)?;
    ensure!(is_at_least(first.oldest, least), "{first:?}, and the sockets are {least:?} old");
    entered.ensure_not_older(first.oldest)?;
    for _ in 0..2 {
        let least = entered.latest.elapsed();
        let ages = await_reading(&mut exporter)?;
        ensure!(is_at_least(ages.oldest, least), "{ages:?}, and the sockets are {least:?} old");
        entered.ensure_not_older(ages.oldest)?;
    }
    all.iter_mut().for_each(Held::close);
    wait_until("reading without a socket", DEADLINE, || {
        let ages = Ages::read(&mut exporter)?;
        Ok(if ages == (Ages { oldest: 0.0, older_than: [0; 3] }) {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{ages:?}"))
        })
    })
}

/// The peer answers each probe, a second apart: the silence alone would never be longer than that.
fn keepalive_makes_no_leak_younger(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    let before = silences(&exporter.scrape()?)?;
    let (entered, pairs) = half_closed(4, Family::Ipv6)?;
    let second = Duration::from_secs(1);
    let probes = TcpKeepalive::new().with_time(second).with_interval(second);
    for (_, accepted) in pairs.streams() {
        SockRef::from(accepted).set_tcp_keepalive(&probes)?;
    }
    await_oldest(&mut exporter, &entered, 3.0)?;
    drop(pairs);
    let left = await_left(&mut exporter, &before, 4)?;
    ensure!(left.sum < 4.0 * 2.9, "a probe was not answered: {left:?}");
    Ok(())
}

/// Waits until the oldest socket is shown to be older than so many seconds, and checks each time that it is not shown
/// older than it is.
fn await_oldest(exporter: &mut Exporter, entered: &Entered, seconds: f64) -> Result<()> {
    wait_until("age", DEADLINE, || {
        let oldest = Ages::read(exporter)?.oldest;
        entered.ensure_not_older(oldest)?;
        Ok(if oldest > seconds {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{oldest} s"))
        })
    })
}

/// The sockets are there before the exporter, and their peers go on to acknowledge: their age is that since the first reading,
/// and never more than they have.
fn a_half_closed_peer_that_talks_is_never_shown_older_than_it_is(
    namespace: &Namespace,
) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let (entered, mut all) = close_wait(&wire, 1)?;
    sleep(AGE);
    let talk = |all: &mut Vec<Held>| all.iter_mut().try_for_each(|held| held.remote()?.ack());
    talk(&mut all)?;
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    // The age grows although no peer is silent.
    wait_until("age of two seconds", DEADLINE, || {
        talk(&mut all)?;
        let oldest = Ages::read(&mut exporter)?.oldest;
        entered.ensure_not_older(oldest)?;
        sleep(Duration::from_millis(50));
        Ok(if oldest > 2.0 { Progress::Done(()) } else { Progress::NotYet(format!("{oldest} s")) })
    })?;
    all.iter().try_for_each(|held| held.await_state(State::CloseWait))
}

/// The kernel gives the memory of a socket to the next one.
fn a_new_socket_in_close_wait_does_not_get_the_age_of_an_old_one(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    for _ in 0..10 {
        let (entered, pairs) = half_closed(4, Family::Ipv4)?;
        // Two readings, so that they have been seen before.
        for _ in 0..2 {
            let least = entered.latest.elapsed();
            let Ages { oldest, .. } = await_reading(&mut exporter)?;
            ensure!(is_at_least(oldest, least), "{oldest} s, and the sockets are {least:?} old");
            entered.ensure_not_older(oldest)?;
        }
        drop(pairs);
    }
    Ok(())
}

/// The kernel does not have what identifies a socket. The silences do not need it.
fn without_lrcvtime_one_line_says_that_ages_are_not_known(_: &Namespace) -> Result<()> {
    let _file = rename_member(&PrivateMounts::enter()?, "lrcvtime")?;
    let (_, pairs) = half_closed(2, Family::Ipv4)?;
    let mut exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    for _ in 0..2 {
        await_snapshot(&mut exporter)?;
    }
    let scrape = exporter.scrape()?;
    ensure!(Ages::of(&scrape).is_err(), "{scrape:?}");
    drop(pairs);
    await_left(&mut exporter, &silences(&scrape)?, 2)?;
    let log = exporter.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    let words =
        ["the ages of sockets in CLOSE_WAIT are not known", "has no `inet_conn.icsk_ack.lrcvtime`"];
    ensure!(warnings.len() == 1 && words.iter().all(|words| warnings[0].contains(words)), "{log}");
    Ok(())
}

fn without_a_tracer_nothing_is_said_of_ages(_: &Namespace) -> Result<()> {
    let mut exporter = start("off")?;
    let (_, _pairs) = half_closed(2, Family::Ipv4)?;
    let scrape = await_snapshot(&mut exporter)?;
    ensure!(!scrape.samples.iter().any(|sample| sample.name.contains("close_wait_")));
    Ok(())
}
