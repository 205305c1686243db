//! A namespace without a process and without transitions is forgotten, although sockets are counted in it, where it is not
//! known which sockets processes hold: in a PID namespace.

use std::fs::File;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::deadline::{DEADLINE, Progress, poll, wait_until};
use tcpstat_tests::end_marks::EndMarks;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::{Namespace, within};
use tcpstat_tests::pid_namespace::as_process_1;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{
    Counts, OTHER, all_namespaces, await_right, gauges, infos_of, live_namespaces, transitions,
};
use tcpstat_tests::tcp::{Family, State};

/// How long a namespace is kept at least, with snapshots every second.
const KEPT: Duration = Duration::from_mins(1);

/// The longest time between two searches.
const SEARCH: Duration = Duration::from_secs(30);

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![a_namespace_without_processes_and_transitions_is_forgotten_and_comes_again_right]
}

/// Its sockets are held from outside, so it lives. When one of them changes its state, the state of the others is
/// unknown until a process in the namespace lists them.
fn a_namespace_without_processes_and_transitions_is_forgotten_and_comes_again_right(
    namespace: &Namespace,
) -> Result<()> {
    as_process_1(1, || forgotten_and_again(namespace))
}

fn forgotten_and_again(namespace: &Namespace) -> Result<()> {
    // The own one has a slot besides.
    let others = live_namespaces()?.len() - 1;
    let slots = format!("--scopes-max={}", others + 1);
    let mut exporter = all_namespaces(&[&slots, "--snapshot-interval=1s"]).start()?;
    let resident = Resident::in_new_namespace()?;
    let file = File::open(resident.namespace_file())?;
    let pairs = within(&file, || Pairs::connect(3, Family::Ipv6))?;
    let (name, held) = await_right(&mut exporter, resident.pid())?;
    let marks = EndMarks::place(namespace, std::slice::from_ref(&resident))?;
    let left = Instant::now();
    resident.end()?;
    let mut late = with_sockets(2)?;
    await_other(&mut exporter, 4).with_context(|| exporter.log())?;

    await_forgotten(&mut exporter, &name, &held).with_context(|| exporter.log())?;
    ensure!(left.elapsed() >= KEPT, "after {:?}", left.elapsed());
    assert_eq!(marks.left()?, 1, "its sockets keep it alive");
    // Its slot is free: another namespace gets it.
    let taker = with_sockets(1)?;
    let (taker_name, _) = await_right(&mut exporter, taker.pid())?;
    ensure!(infos_of(&exporter.scrape()?, late.inum()?)?.is_empty(), "it stays in {OTHER}");

    // Without a free slot it comes again in `other`, which is seeded again: its sockets are in no gauge.
    let [(first, _), (second, _), ..] = pairs.streams() else { bail!("no pairs") };
    first.shutdown(Shutdown::Write)?;
    await_transition(&mut exporter, OTHER, (State::Established, State::FinWait1))?;
    await_other(&mut exporter, 4).with_context(|| exporter.log())?;
    late.order(&Order::Connect(1))?;
    await_other(&mut exporter, 6).with_context(|| exporter.log())?;

    // With a free slot it has a name and no gauges.
    drop(taker);
    await_end_of_series(&mut exporter, &taker_name)?;
    second.shutdown(Shutdown::Write)?;
    await_without_gauges(&mut exporter).with_context(|| exporter.log())?;
    let entered = Resident::inside(&file)?;
    // Its events let the exporter search.
    let _newest = with_sockets(1)?;
    let (name, again) =
        await_right(&mut exporter, entered.pid()).with_context(|| exporter.log())?;
    assert_eq!((again[&State::Established], again[&State::CloseWait]), (2, 2), "{again:?}");
    drop((entered, file, pairs));
    await_end_of_series(&mut exporter, &name).with_context(|| exporter.log())?;
    marks.await_end()
}

fn with_sockets(pairs: usize) -> Result<Resident> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(pairs))?;
    Ok(resident)
}

fn series_of(scrape: &Scrape, name: &str) -> usize {
    let names = scrape.samples.iter().filter_map(|sample| sample.labels.get("netns"));
    names.filter(|netns| *netns == name).count()
}

fn await_end_of_series(exporter: &mut Exporter, name: &str) -> Result<()> {
    poll("end of a namespace's series", SEARCH + DEADLINE, Duration::from_millis(100), || {
        let left = series_of(&exporter.scrape()?, name);
        Ok(if left == 0 { Progress::Done(()) } else { Progress::NotYet(left.to_string()) })
    })
}

/// Waits until a namespace has no series. Until then every scrape must have these gauges of it.
fn await_forgotten(exporter: &mut Exporter, name: &str, held: &Counts) -> Result<()> {
    let longest = KEPT + SEARCH + 3 * DEADLINE;
    poll("end of a namespace's series", longest, Duration::from_millis(200), || {
        let scrape = exporter.scrape()?;
        let left = series_of(&scrape, name);
        if left == 0 {
            return Ok(Progress::Done(()));
        }
        let found = gauges(&scrape, name)?;
        ensure!(found.as_ref() == Some(held), "{name}: {held:?}, then {found:?}");
        Ok(Progress::NotYet(format!("{left} series of {name}")))
    })
}

/// Waits until a namespace without a process, which has no inode, is exported without gauges.
fn await_without_gauges(exporter: &mut Exporter) -> Result<()> {
    wait_until("a namespace without gauges", DEADLINE, || {
        let scrape = exporter.scrape()?;
        let mut shown = Vec::new();
        for labels in infos_of(&scrape, 0)? {
            match gauges(&scrape, &labels["netns"])? {
                None => return Ok(Progress::Done(())),
                Some(gauges) => shown.push((labels, gauges)),
            }
        }
        Ok(Progress::NotYet(format!("{shown:?}")))
    })
}

/// The machine may have other namespaces in it.
fn await_other(exporter: &mut Exporter, least: u64) -> Result<()> {
    wait_until("established sockets in other", DEADLINE, || {
        let other = gauges(&exporter.scrape()?, OTHER)?;
        let found = other.as_ref().map(|other| other[&State::Established]);
        Ok(if found >= Some(least) {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{other:?}"))
        })
    })
}

fn await_transition(exporter: &mut Exporter, name: &str, wanted: (State, State)) -> Result<()> {
    wait_until("a transition", DEADLINE, || {
        let counted = transitions(&exporter.scrape()?, name)?;
        let is_counted = counted.contains_key(&wanted);
        Ok(if is_counted { Progress::Done(()) } else { Progress::NotYet(format!("{counted:?}")) })
    })
}
