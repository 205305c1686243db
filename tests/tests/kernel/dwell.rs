//! How long sockets are in the states of `--dwell`, against the test's own clock.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tcpstat_tests::ages::{Entered, half_closed};
use tcpstat_tests::binary::{path_from, tcpstat};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::dwell::{ROUNDING, await_dwells, dwells, hash_map_entries, overflow, removed};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS, Options};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::{Namespace, elsewhere};
use tcpstat_tests::states;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::wire::Wire;

use crate::losses::LOSING_BINARY_VARIABLE;

/// A test with the value of `--tracer`.
type WithTracer = fn(&Namespace, &str) -> Result<()>;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        without_the_flag_there_is_no_memory_and_no_series_of_dwells,
        without_a_tracer_one_line_says_that_nothing_is_measured,
        a_state_that_cannot_be_measured_is_refused_in_one_line,
        sockets_of_other_namespaces_are_not_measured
    ];
    for tracer in ["btf", "tracepoint"] {
        let each: [(String, WithTracer); 5] = [
            (format!("established_and_close_wait_count_with_their_time_with_{tracer}"), two_states),
            (
                format!("a_listener_counts_with_its_time_and_its_children_do_not_with_{tracer}"),
                listener,
            ),
            (
                format!("sockets_from_before_the_start_are_not_measured_with_{tracer}"),
                before_the_start,
            ),
            (
                format!("what_a_missed_end_leaves_is_removed_and_all_else_stays_with_{tracer}"),
                missed_ends,
            ),
            (
                format!("sockets_without_room_are_counted_and_in_the_gauges_with_{tracer}"),
                without_room,
            ),
        ];
        tests.extend(
            each.map(|(name, test)| kernel_test(name, move |namespace| test(namespace, tracer))),
        );
    }
    tests
}

/// A time that no bucket shares with none.
const AGE: Duration = Duration::from_millis(1_200);

fn options(tracer: &str, more: &[&str]) -> Options {
    let flags = [&FREQUENT_SNAPSHOTS[..], &["--tracer", tracer], more].concat();
    Options::default().args(flags)
}

fn start(tracer: &str, more: &[&str]) -> Result<Exporter> {
    options(tracer, more).start()
}

/// Sockets in CLOSE_WAIT.
fn close_wait(sockets: usize) -> Result<(Entered, Pairs)> {
    half_closed(sockets, Family::Ipv4)
}

fn two_states(namespace: &Namespace, tracer: &str) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut exporter = start(tracer, &["--dwell=close_wait,established"])?;
    let of = |exporter: &mut Exporter, state| dwells(&exporter.scrape()?, state);
    for age in [Duration::ZERO, AGE] {
        let before = ["established", "close_wait"].map(|state| of(&mut exporter, state));
        let [established_before, close_wait_before] = before;
        let connect = || {
            let all = Addressing::ALL.into_iter();
            all.map(|addressing| states::established(&wire, addressing)).collect::<Result<Vec<_>>>()
        };
        let (established, mut all) = Entered::during(connect)?;
        sleep(age);
        let (half_closed, ()) = Entered::during(|| {
            all.iter_mut().try_for_each(|held| held.remote()?.fin())?;
            all.iter().try_for_each(|held| held.await_state(State::CloseWait))
        })?;
        sleep(age);
        let (left, ()) = Entered::during(|| {
            all.iter_mut().for_each(Held::close);
            Ok(())
        })?;
        let between = |enter: &Entered, leave: &Entered| {
            (leave.earliest - enter.latest, leave.latest - enter.earliest)
        };
        let since = await_dwells(&mut exporter, "established", &established_before?, 3)?;
        let (least, most) = between(&established, &half_closed);
        since.ensure_between(3, least, most, ROUNDING)?;
        let since = await_dwells(&mut exporter, "close_wait", &close_wait_before?, 3)?;
        let (least, most) = between(&half_closed, &left);
        since.ensure_between(3, least, most, ROUNDING)?;
    }
    ensure!(overflow(&exporter.scrape()?)? == 0);
    Ok(())
}

/// A child begins with the state of its listener.
fn listener(_: &Namespace, tracer: &str) -> Result<()> {
    let mut exporter = start(tracer, &["--dwell=listen"])?;
    let before = dwells(&exporter.scrape()?, "listen")?;
    let (listening, pairs) = Entered::during(|| Pairs::connect(5, Family::Ipv6))?;
    sleep(AGE);
    let closing = Instant::now();
    pairs.close()?;
    let least = closing - listening.latest;
    let since = await_dwells(&mut exporter, "listen", &before, 1)?;
    since.ensure_between(1, least, listening.earliest.elapsed(), ROUNDING)
}

fn before_the_start(_: &Namespace, tracer: &str) -> Result<()> {
    let (_, old) = close_wait(6)?;
    let mut exporter = start(tracer, &["--dwell=close_wait"])?;
    let before = dwells(&exporter.scrape()?, "close_wait")?;
    ensure!(before.count == 0, "{before:?}");
    drop(old);
    let (entered, new) = close_wait(2)?;
    let closing = Instant::now();
    drop(new);
    let least = closing - entered.latest;
    let since = await_dwells(&mut exporter, "close_wait", &before, 2)?;
    since.ensure_between(2, least, entered.earliest.elapsed(), ROUNDING)
}

/// How many sockets fit in the tests of a full map.
const MAX: &str = "--dwell-max=16";

/// CLOSE_WAIT→LAST_ACK is lost. In three waves twice as many ends are missed as fit, and sockets that were there all the
/// time are measured.
fn missed_ends(_: &Namespace, tracer: &str) -> Result<()> {
    let mut exporter = options(tracer, &["--dwell=close_wait", MAX, "--log.level=debug"])
        .binary(path_from(LOSING_BINARY_VARIABLE)?)
        .env("TCPSTAT_LOSE", "close_wait:last_ack:1")
        .start()?;
    let before = dwells(&exporter.scrape()?, "close_wait")?;
    let (entered, held) = close_wait(4)?;
    for wave in 1..=3 {
        drop(Pairs::connect(11, Family::Ipv4)?.close_clients()?);
        wait_until("removed entries", DEADLINE, || {
            let removed = removed(&exporter.log())?;
            ensure!(removed <= wave * 11, "{removed} entries were removed in wave {wave}");
            Ok(if removed == wave * 11 {
                Progress::Done(())
            } else {
                Progress::NotYet(format!("{removed} in wave {wave}"))
            })
        })?;
    }
    let scrape = exporter.scrape()?;
    let since = dwells(&scrape, "close_wait")?.since(&before)?;
    ensure!(since.count == 0 && overflow(&scrape)? == 0, "{since:?}, {}", exporter.log());
    let closing = Instant::now();
    // By a reset, so to CLOSE, which is not lost.
    drop(held);
    let since = await_dwells(&mut exporter, "close_wait", &before, 4)?;
    since.ensure_between(4, closing - entered.latest, entered.earliest.elapsed(), ROUNDING)?;
    ensure!(removed(&exporter.log())? == 33);
    Ok(())
}

fn without_room(_: &Namespace, tracer: &str) -> Result<()> {
    let mut exporter = start(tracer, &["--dwell=close_wait", MAX])?;
    let before = dwells(&exporter.scrape()?, "close_wait")?;
    for (sockets, measured, dropped) in [(40_u32, 16, 24), (10, 26, 24), (17, 42, 25)] {
        let (_, pairs) = close_wait(sockets as usize)?;
        let scrape = exporter.scrape()?;
        let labels = [("family", "ipv4"), ("state", "close_wait")];
        let gauge = scrape.value("tcpstat_connections", &labels)?;
        ensure!(gauge == f64::from(sockets), "{gauge} of {sockets}");
        ensure!(overflow(&scrape)? == dropped, "{} of {dropped}", overflow(&scrape)?);
        drop(pairs);
        let since = await_dwells(&mut exporter, "close_wait", &before, measured)?;
        ensure!(since.count == measured, "{measured}: {since:?}");
        let scrape = exporter.scrape()?;
        ensure!(scrape.value("tcpstat_connections", &labels)? == 0.0);
    }
    Ok(())
}

fn sockets_of_other_namespaces_are_not_measured(_: &Namespace) -> Result<()> {
    let mut exporter = start("auto", &["--dwell=close_wait", "--netns=all"])?;
    let before = dwells(&exporter.scrape()?, "close_wait")?;
    let other = elsewhere(|_| Ok(()))?;
    other.run(|| close_wait(3).map(drop))?;
    drop(close_wait(1)?);
    let since = await_dwells(&mut exporter, "close_wait", &before, 1)?;
    ensure!(since.count == 1, "{since:?}");
    Ok(())
}

fn without_the_flag_there_is_no_memory_and_no_series_of_dwells(_: &Namespace) -> Result<()> {
    let mut exporter = start("auto", &[])?;
    ensure!(!exporter.get("/metrics")?.body.contains("tcpstat_dwell"));
    let without = hash_map_entries(exporter.pid())?;
    ensure!(without.iter().all(|&entries| entries == 1), "{without:?}");
    exporter.stop()?;
    let exporter = start("auto", &["--dwell=established", "--dwell-max=1000"])?;
    let with = hash_map_entries(exporter.pid())?;
    ensure!(with.contains(&1000), "{with:?}");
    Ok(())
}

fn without_a_tracer_one_line_says_that_nothing_is_measured(_: &Namespace) -> Result<()> {
    let mut exporter = start("off", &["--dwell=established"])?;
    ensure!(!exporter.get("/metrics")?.body.contains("tcpstat_dwell"));
    let log = exporter.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    let words = "--dwell is off: only a tracer measures it: leave out --tracer off";
    ensure!(lines.len() == 1 && lines[0].contains(words), "{log}");
    Ok(())
}

fn a_state_that_cannot_be_measured_is_refused_in_one_line(_: &Namespace) -> Result<()> {
    for (state, cause) in [
        ("time_wait", "the kernel reports no transition into or out of time_wait: leave it out"),
        (
            "syn_recv",
            "half-open connections are requests, whose transitions the kernel does not report",
        ),
        ("close", "a socket leaves close without a transition when it is freed: leave it out"),
        ("closed", "no such state: write established, syn_sent, fin_wait1, fin_wait2, close_wait,"),
    ] {
        let flag = format!("--dwell=established,{state}");
        let run = tcpstat(["serve", flag.as_str()])?;
        let text = run.stderr;
        let first = format!("error: invalid value '{state}' for '--dwell <STATE>': {cause}");
        ensure!(run.status == Some(2) && text.starts_with(&first), "{text}");
    }
    Ok(())
}
