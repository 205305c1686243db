//! Changes that no transition shows, and events that the kernel misses: they are noticed, reported and corrected.

use std::cell::RefCell;
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::addrform::become_ipv4;
use tcpstat_tests::ages::{half_closed, silences};
use tcpstat_tests::agreement::{
    assert_agreement, await_agreement, await_agreement_between_snapshots,
};
use tcpstat_tests::causes::Causes;
use tcpstat_tests::corrections::{await_no_drift, ensure_counted, missed};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::dwell::{ROUNDING, await_dwells, dwells, hash_map_entries};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::misses::{CHURN, churn_under_misses, program};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::tcp::{Family, State};

use crate::series::names;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_socket_that_changes_its_family_is_a_drift_and_is_corrected,
        missed_events_switch_the_program_and_the_counts_continue,
        missed_events_switch_the_program_and_dwells_continue,
        missed_events_do_not_switch_a_program_that_was_named
    ]
}

/// A process that reads BPF maps prevents the programs of classic tracepoints from running.
fn missed_events_switch_the_program_and_the_counts_continue(namespace: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--tracer=tracepoint,btf", "--snapshot-interval=1h"])?;
    assert_eq!(program(&exporter.scrape()?), "tracepoint");
    let _pairs = Pairs::connect(20, Family::Ipv6)?;
    let seen = names(&exporter.scrape_plain()?);
    let mut before =
        churn_under_misses(namespace, &mut exporter, |scrape| Ok(program(scrape) == "tp_btf"))?;
    // No counter goes away with the program that has counted it.
    let after = names(&exporter.scrape_plain()?);
    let mut gone = seen.difference(&after);
    assert_eq!(gone.find(|name| !name.starts_with("tcpstat_tracer_info")), None);

    assert_eq!(before.value("tcpstat_tracer_changes_total", &[])?, 1.0);
    assert!(missed(&before)? >= 100.0);
    await_agreement_between_snapshots(&mut exporter)?;
    assert_eq!(
        exporter.log().matches("too many missed events: switched").count(),
        1,
        "{}",
        exporter.log()
    );
    // The counters continue from their values.
    let churn = Churn { threads: 1, connections: 100, family: Family::Ipv4, resets: true };
    let births = [("family", "ipv4"), ("from", "close"), ("to", "syn_sent")];
    before = exporter.scrape()?;
    let done = churn.run()?;
    // The last events can follow shortly after.
    proc_view::await_quiet(DEADLINE)?;
    let after = exporter.scrape()?;
    let counted = |scrape: &Scrape| scrape.value("tcpstat_transitions_total", &births);
    assert!(counted(&before)? > 1000.0, "{before:?}");
    let missed = missed(&before)?;
    ensure_counted(&mut exporter, counted(&after)? - counted(&before)?, 100, missed)?;
    // From 7.0 on this program misses events.
    let causes = Causes::of(&after)?.since(&Causes::of(&before)?)?;
    let reset = (Family::Ipv4, State::Established, "reset".to_owned());
    let resets = causes.closed.get(&reset).copied().unwrap_or_default();
    ensure_counted(&mut exporter, number(resets)?, done.reset, missed)
        .with_context(|| format!("{causes:?}"))?;
    let left_close_wait = silences(&after)?.since(&silences(&before)?)?;
    ensure_counted(&mut exporter, number(left_close_wait.count)?, done.orderly, missed)
        .with_context(|| format!("{left_close_wait:?}"))?;
    await_agreement_between_snapshots(&mut exporter)?;
    Ok(())
}

fn number(count: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(count)?))
}

fn missed_events_switch_the_program_and_dwells_continue(namespace: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&[
        "--tracer=tracepoint,btf",
        "--snapshot-interval=1h",
        "--dwell=close_wait",
        "--dwell-max=1000",
    ])?;
    let (_, there_at_the_change) = half_closed(5, Family::Ipv4)?;
    let seen = RefCell::new(vec![dwells(&exporter.scrape()?, "close_wait")?]);
    churn_under_misses(namespace, &mut exporter, |scrape| {
        seen.borrow_mut().extend(dwells(scrape, "close_wait"));
        Ok(program(scrape) == "tp_btf")
    })?;
    let seen = seen.into_inner();
    for two in seen.windows(2) {
        two[1].since(&two[0])?;
    }
    let last = seen.last().context("no scrape")?;
    // Nothing counts twice. Those of missed events do not count.
    let left = (seen.len() as u64 - 1) * CHURN.threads as u64 * CHURN.connections as u64 / 2;
    ensure!((1..=left).contains(&last.count), "{left}: {last:?}");
    let maps = hash_map_entries(exporter.pid())?;
    assert_eq!(maps.iter().filter(|&&entries| entries == 1000).count(), 1, "{maps:?}");

    // The new program has not seen these enter the state, and sees the next ones.
    drop(there_at_the_change);
    let (entered, pairs) = half_closed(3, Family::Ipv4)?;
    sleep(Duration::from_millis(1_200));
    let closing = Instant::now();
    drop(pairs);
    let since = await_dwells(&mut exporter, "close_wait", last, 3)?;
    since.ensure_between(3, closing - entered.latest, entered.earliest.elapsed(), ROUNDING)
}

fn missed_events_do_not_switch_a_program_that_was_named(namespace: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--tracer=tracepoint", "--snapshot-interval=1h"])?;
    let scrape =
        churn_under_misses(namespace, &mut exporter, |scrape| Ok(missed(scrape)? > 500.0))?;
    assert_eq!(program(&scrape), "tracepoint");
    // It heals without another program.
    await_agreement_between_snapshots(&mut exporter)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_changes_total", &[])?, 0.0);
    Ok(())
}

/// IPV6_ADDRFORM changes the family of a socket without a transition. The sum stays, and sockstat counts IPv4
/// separately: the gauges are right at once, and the ledger when two snapshots agree. The flag names the program,
/// so that it stays: events that another test makes the kernel miss would switch to another program, whose seed
/// removes the drift without a correction.
fn a_socket_that_changes_its_family_is_a_drift_and_is_corrected(_: &Namespace) -> Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    let client = TcpStream::connect(("::ffff:127.0.0.1", port))?;
    let (_accepted, _) = listener.accept()?;
    let mut exporter = Exporter::start(&[&["--tracer=btf"], &FREQUENT_SNAPSHOTS[..]].concat())?;
    let before = assert_agreement(&mut exporter)?;

    become_ipv4(&client)?;
    let after = await_agreement(&mut exporter)?;
    let established = |family| (family, State::Established);
    assert_eq!(after[&established(Family::Ipv6)], before[&established(Family::Ipv6)] - 1);
    assert_eq!(after[&established(Family::Ipv4)], before[&established(Family::Ipv4)] + 1);

    // The gauges are right before the ledger.
    let corrected = [("state", "established")];
    wait_until("correction", DEADLINE, || {
        let sockets = exporter.scrape()?.value("tcpstat_corrections_total", &corrected)?;
        Ok(if sockets == 2.0 { Progress::Done(()) } else { Progress::NotYet(sockets.to_string()) })
    })?;
    // The next snapshot finds no drift.
    await_no_drift(&mut exporter)?;
    // The log may be later than the metrics.
    wait_until("both corrections in the log", DEADLINE, || {
        let log = exporter.log();
        let logged = log.matches("corrected").count();
        Ok(if logged >= 2 { Progress::Done(()) } else { Progress::NotYet(log) })
    })?;
    assert_eq!(exporter.log().matches("corrected").count(), 2, "{}", exporter.log());
    assert_eq!(exporter.scrape()?.value("tcpstat_corrections_total", &corrected)?, 2.0);
    Ok(())
}
