//! More namespaces than slots.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tcpstat_tests::deadline::{DEADLINE, Progress, poll, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{
    Counts, OTHER, all_namespaces, counts_of, gauges, infos, inode, live_namespaces,
};
use tcpstat_tests::tcp::State;

const LONGER_THAN_A_CHECK_IS_AWAITED: Duration = Duration::from_millis(1_200);

/// Slots for scopes.
pub(crate) const SLOTS: usize = 3;

/// The states of full sockets here. How fresh the others are depends on the hooks.
const FULL: [State; 3] = [State::Established, State::CloseWait, State::Listen];

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        namespaces_past_the_bound_count_in_other_and_the_sum_stays_the_total,
        a_namespace_past_the_bound_is_counted_in_other_from_its_first_socket_on,
        with_room_for_all_there_is_no_other,
    ]
}

/// The log says it when there is no room.
const NO_ROOM: &str = "more network namespaces than";

/// Half of them are there before the start. Each has another number of sockets.
fn namespaces_past_the_bound_count_in_other_and_the_sum_stays_the_total(
    _: &Namespace,
) -> Result<()> {
    let mut residents = Vec::new();
    for pairs in 1..=5 {
        residents.push(with_sockets(pairs)?);
    }
    let bound = format!("--scopes-max={SLOTS}");
    let mut exporter = all_namespaces(&[&bound, "--snapshot-interval=1h"]).start()?;
    await_sum(&mut exporter)?;
    for pairs in 6..=9 {
        residents.push(with_sockets(pairs)?);
    }
    await_sum(&mut exporter)?;
    await_overflow(&mut exporter, f64::from(u32::try_from(residents.len() - SLOTS)?))?;
    let log = exporter.log();
    let warning = format!(" WARN {NO_ROOM} {bound}: ");
    let warnings = log.lines().filter(|line| line.contains(&warning)).count();
    ensure!(warnings == 1 && log.contains("; raise --scopes-max\n"), "{log}");
    let infos = infos(&exporter.scrape()?)?;
    // The own one has a slot besides.
    ensure!(infos.len() == SLOTS + 1, "{infos:#?}");
    // Slots become free, and namespaces of `other` may get them.
    for mut resident in residents {
        resident.order(&Order::Close)?;
        await_sum(&mut exporter)?;
        resident.end()?;
        let newest = await_newest(&mut exporter)?;
        await_sum(&mut exporter)?;
        drop(newest);
    }
    Ok(())
}

/// Each comes while tcpstat does not run, so a check of `other` is due before the search that finds the namespace.
fn a_namespace_past_the_bound_is_counted_in_other_from_its_first_socket_on(
    _: &Namespace,
) -> Result<()> {
    let mut residents = (0..=SLOTS).map(|_| with_sockets(1)).collect::<Result<Vec<_>>>()?;
    let args = [&format!("--scopes-max={SLOTS}"), "--snapshot-interval=200ms", "--log.level=debug"];
    let mut exporter = all_namespaces(&args).start()?;
    await_sum(&mut exporter)?;
    for _ in 0..3 {
        exporter.signal(Signal::SIGSTOP)?;
        residents.push(with_sockets(3)?);
        thread::sleep(LONGER_THAN_A_CHECK_IS_AWAITED);
        exporter.signal(Signal::SIGCONT)?;
        for _ in 0..10 {
            let scrape = exporter.scrape()?;
            let named = infos(&scrape)?.iter().map(inode).collect::<Result<BTreeSet<_>>>()?;
            let mut least = Counts::new();
            for resident in residents.iter() {
                if !named.contains(&resident.inum()?) {
                    add(&mut least, full(counts_of(resident.pid())?));
                }
            }
            // Other processes of this machine make namespaces too.
            let other = gauges(&scrape, OTHER)?.context("no namespace is in other")?;
            let is_there = |(state, count): (&State, &u64)| other.get(state) >= Some(count);
            ensure!(least.iter().all(is_there), "{least:?}, {other:?}: {}", exporter.log());
        }
    }
    let log = exporter.log();
    let refuted = |line: &&str| line.contains("reconciled reason=\"sockstat\"");
    ensure!(!log.lines().any(|line| refuted(&line)), "{log}");
    Ok(())
}

/// A namespace that is newer than whatever has changed, after the exporter has counted it: by a name, or in
/// `other`.
fn await_newest(exporter: &mut Exporter) -> Result<Resident> {
    let newest = with_sockets(1)?;
    await_sum(exporter)?;
    Ok(newest)
}

fn with_room_for_all_there_is_no_other(_: &Namespace) -> Result<()> {
    let _residents = [with_sockets(1)?, with_sockets(2)?];
    let mut exporter = all_namespaces(&["--snapshot-interval=1h"]).start()?;
    await_sum(&mut exporter)?;
    let scrape = exporter.scrape()?;
    let others = gauges(&scrape, OTHER)?.unwrap_or_default();
    ensure!(others.values().sum::<u64>() == 0, "{others:?}");
    assert_eq!(scrape.value("tcpstat_scopes_overflow_total", &[("kind", "netns")])?, 0.0);
    ensure!(!exporter.log().contains(NO_ROOM), "{}", exporter.log());
    Ok(())
}

pub(crate) fn with_sockets(pairs: usize) -> Result<Resident> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(pairs))?;
    resident.order(&Order::Leak(2 * pairs))?;
    Ok(resident)
}

/// It counts a namespace when a search finds it.
pub(crate) fn await_overflow(exporter: &mut Exporter, least: f64) -> Result<()> {
    poll("overflow", 3 * DEADLINE, Duration::from_millis(100), || {
        let labels = [("kind", "netns")];
        let overflow = exporter.scrape()?.value("tcpstat_scopes_overflow_total", &labels)?;
        let enough = overflow >= least;
        Ok(if enough { Progress::Done(()) } else { Progress::NotYet(overflow.to_string()) })
    })
}

/// Waits until each namespace that is named is right, and `other` is the sum of those that are not.
pub(crate) fn await_sum(exporter: &mut Exporter) -> Result<()> {
    let agreed = wait_until("sum over all namespaces", DEADLINE, || {
        let live = live_namespaces()?;
        let wrong = wrong_in(&exporter.scrape()?, &live)?;
        Ok(wrong.map_or(Progress::Done(()), Progress::NotYet))
    });
    agreed.with_context(|| exporter.log())
}

fn wrong_in(scrape: &Scrape, live: &BTreeMap<u64, u32>) -> Result<Option<String>> {
    let mut unnamed = live.clone();
    for labels in infos(scrape)? {
        let (name, inum) = (&labels["netns"], inode(&labels)?);
        // One without a process cannot be compared, and is in no sum.
        let Some(pid) = unnamed.remove(&inum) else { continue };
        // The process may have ended.
        let (exported, shown) = (gauges(scrape, name)?.map(full), counts_of(pid).ok().map(full));
        if exported.is_none() || exported != shown {
            return Ok(Some(format!("{name}: {exported:?}, in /proc {shown:?}")));
        }
    }
    let mut sum = Counts::new();
    for pid in unnamed.into_values() {
        let Ok(counts) = counts_of(pid) else { return Ok(Some(format!("{pid} has ended"))) };
        add(&mut sum, full(counts));
    }
    let other = full(gauges(scrape, OTHER)?.unwrap_or_default());
    let above_zero = |counts: &Counts| counts.values().sum::<u64>() > 0;
    let same = other == sum || !above_zero(&other) && !above_zero(&sum);
    Ok((!same).then(|| format!("{OTHER}: {other:?}, in /proc {sum:?}")))
}

fn add(sum: &mut Counts, counts: Counts) {
    for (state, count) in counts {
        *sum.entry(state).or_default() += count;
    }
}

fn full(mut counts: Counts) -> Counts {
    counts.retain(|state, _| FULL.contains(state));
    counts
}
