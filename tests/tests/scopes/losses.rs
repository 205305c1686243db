//! A tracer that misses or loses transitions in several namespaces: each is corrected for itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::binary::path_from;
use tcpstat_tests::corrections::{ensure_counted, missed};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::end_marks::EndMarks;
use tcpstat_tests::exporter::Options;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::misses::{churn_under_misses, program};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{
    all_namespaces, await_gone, await_right, gauges, infos, infos_of, transitions,
};
use tcpstat_tests::tcp::State;

use crate::bounds::{SLOTS, await_overflow, await_sum, with_sockets};

/// The binary whose tracer loses the transitions that `TCPSTAT_LOSE` names.
const LOSING_BINARY_VARIABLE: &str = "TCPSTAT_LOSING_BIN";

/// Numbers that may be free besides the one that becomes free.
const MOST_NUMBERS: usize = 200;

/// How often the test waits for a number to come again.
const ATTEMPTS: usize = 3;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        missed_events_switch_the_program_and_other_namespaces_stay_right,
        missed_events_switch_the_program_and_no_namespace_loses_its_slot,
        losses_in_other_namespaces_are_noticed_and_corrected,
        a_namespace_whose_inode_number_comes_again_has_ended_whatever_is_counted
    ]
}

/// An exporter whose tracer loses these transitions: `OLD:NEW:N`, every Nth.
pub(crate) fn losing(args: &[&str], transitions: &str) -> Result<Options> {
    let options = all_namespaces(args).binary(path_from(LOSING_BINARY_VARIABLE)?);
    Ok(options.env("TCPSTAT_LOSE", transitions))
}

/// A process that reads BPF maps prevents the programs of classic tracepoints from running.
fn missed_events_switch_the_program_and_other_namespaces_stay_right(
    namespace: &Namespace,
) -> Result<()> {
    let with_sockets = |pairs| -> Result<Resident> {
        let mut resident = Resident::in_new_namespace()?;
        resident.order(&Order::Connect(pairs))?;
        Ok(resident)
    };
    let (passing, first) = (with_sockets(1)?, with_sockets(3)?);
    let args = ["--tracer=tracepoint,btf", "--snapshot-interval=1h"];
    let mut exporter = all_namespaces(&args).start()?;
    assert_eq!(program(&exporter.scrape()?), "tracepoint");
    let (passing_name, _) = await_right(&mut exporter, passing.pid())?;
    let second = with_sockets(5)?;
    let (name, _) = await_right(&mut exporter, second.pid())?;
    let before = exporter.scrape()?;
    // So the others get other slots in the next tracer.
    drop(passing);
    await_gone(&mut exporter, &passing_name)?;
    let mut residents = [first, second];

    let switched =
        churn_under_misses(namespace, &mut exporter, |scrape| Ok(program(scrape) == "tp_btf"))?;
    assert_eq!(switched.value("tcpstat_tracer_changes_total", &[])?, 1.0);
    for resident in &mut residents {
        await_right(&mut exporter, resident.pid()).with_context(|| exporter.log())?;
        resident.order(&Order::Connect(2))?;
        await_right(&mut exporter, resident.pid()).with_context(|| exporter.log())?;
    }
    // The counters continue from their values.
    let after = exporter.scrape()?;
    let births = |scrape: &Scrape| -> Result<f64> {
        let births = transitions(scrape, &name)?[&(State::Close, State::SynSent)];
        Ok(f64::from(u32::try_from(births)?))
    };
    // From 7.0 on this program misses events.
    let counted = births(&after)? - births(&before)?;
    ensure_counted(&mut exporter, counted, 2, missed(&switched)?)
}

/// The namespaces of `other` make the first transitions that the new program sees.
fn missed_events_switch_the_program_and_no_namespace_loses_its_slot(
    namespace: &Namespace,
) -> Result<()> {
    let _named = (1..=SLOTS).map(with_sockets).collect::<Result<Vec<_>>>()?;
    let bound = format!("--scopes-max={SLOTS}");
    let args = [&bound, "--tracer=tracepoint,btf", "--snapshot-interval=1h"];
    let mut exporter = all_namespaces(&args).start()?;
    await_sum(&mut exporter)?;
    let before = names(&exporter.scrape()?)?;
    assert_eq!(before.len(), SLOTS + 1, "the own one has a slot besides");
    let mut busy = [with_sockets(4)?, with_sockets(5)?];
    await_overflow(&mut exporter, 2.0)?;
    await_sum(&mut exporter)?;

    let ended = AtomicBool::new(false);
    let churn = |resident: &mut Resident| -> Result<()> {
        while !ended.load(Ordering::Relaxed) {
            resident.order(&Order::Connect(1))?;
            resident.order(&Order::Close)?;
        }
        resident.order(&Order::Connect(2))
    };
    thread::scope(|scope| {
        let churns = busy.each_mut().map(|resident| scope.spawn(|| churn(resident)));
        let switched =
            churn_under_misses(namespace, &mut exporter, |scrape| Ok(program(scrape) == "tp_btf"))
                .map(drop);
        ended.store(true, Ordering::Relaxed);
        let churned = churns.map(|churn| churn.join().expect("a churn does not panic"));
        churned.into_iter().chain([switched]).collect::<Result<()>>()
    })?;
    await_sum(&mut exporter)?;
    assert_eq!(names(&exporter.scrape()?)?, before);
    Ok(())
}

/// The namespaces that have series of their own.
fn names(scrape: &Scrape) -> Result<BTreeSet<String>> {
    Ok(infos(scrape)?.into_iter().map(|labels| labels["netns"].clone()).collect())
}

/// Half of the connections are lost at their birth, in each of two namespaces.
fn losses_in_other_namespaces_are_noticed_and_corrected(_: &Namespace) -> Result<()> {
    let mut exporter = losing(&["--snapshot-interval=1h"], "close:syn_sent:2")?.start()?;
    let mut residents = [Resident::in_new_namespace()?, Resident::in_new_namespace()?];
    for (resident, pairs) in residents.iter_mut().zip([40, 60]) {
        resident.order(&Order::Connect(pairs))?;
        let (name, _) =
            await_right(&mut exporter, resident.pid()).with_context(|| exporter.log())?;
        let counted = transitions(&exporter.scrape()?, &name)?;
        let births = counted.get(&(State::Close, State::SynSent)).copied().unwrap_or_default();
        ensure!(births < u64::try_from(pairs)?, "nothing was lost: {counted:?}");
    }
    for resident in &mut residents {
        // Now it is seeded, so only a correction repairs it.
        resident.order(&Order::Connect(20))?;
        let (name, _) =
            await_right(&mut exporter, resident.pid()).with_context(|| exporter.log())?;
        let named = format!(" netns=\"{name}\" ");
        let corrected = |line: &str| line.contains(" corrected: ") && line.contains(&named);
        // A gauge below 0 is exported as 0, so the correction can come after the agreement.
        wait_until("a correction in the log", DEADLINE, || {
            let log = exporter.log();
            let done = log.lines().any(corrected);
            Ok(if done { Progress::Done(()) } else { Progress::NotYet(format!("{name}: {log}")) })
        })?;
        resident.order(&Order::Close)?;
        await_right(&mut exporter, resident.pid()).with_context(|| exporter.log())?;
    }
    Ok(())
}

/// Another process on the host may take the number first; then the next attempt has another one.
fn a_namespace_whose_inode_number_comes_again_has_ended_whatever_is_counted(
    namespace: &Namespace,
) -> Result<()> {
    for _ in 0..ATTEMPTS {
        if comes_again(namespace)? {
            return Ok(());
        }
    }
    bail!("no number came again in {ATTEMPTS} attempts")
}

/// Half of the last transitions are lost, and nothing lists what the counters still have. Namespaces that exist have
/// different numbers. Returns whether one got the number of another that had ended.
fn comes_again(namespace: &Namespace) -> Result<bool> {
    let mut exporter = losing(&["--snapshot-interval=1h"], "established:close:2")?.start()?;
    let mut first = Resident::in_new_namespace()?;
    first.order(&Order::Connect(5))?;
    let (name, _) = await_right(&mut exporter, first.pid())?;
    let inum = first.inum()?;
    let marks = EndMarks::place(namespace, std::slice::from_ref(&first))?;
    first.end()?;
    marks.await_end()?;
    let left = gauges(&exporter.scrape()?, &name)?.context("it is forgotten before")?;
    ensure!(left[&State::Established] > 0, "nothing was lost: {left:?}");

    // The kernel gives the lowest number that is free.
    let mut residents = Vec::new();
    for _ in 0..MOST_NUMBERS {
        let mut resident = Resident::in_new_namespace()?;
        resident.order(&Order::Connect(1))?;
        if resident.inum()? == inum {
            let (_, counts) = await_right(&mut exporter, resident.pid())?;
            ensure!(counts[&State::Established] == 2, "{counts:?}");
            let shown = infos_of(&exporter.scrape()?, inum)?;
            ensure!(shown.len() == 1, "{shown:?}");
            return Ok(true);
        }
        residents.push(resident);
    }
    Ok(false)
}
