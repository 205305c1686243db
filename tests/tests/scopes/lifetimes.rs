//! Namespaces, sockets and processes that do not begin and end together.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::deadline::{DEADLINE, Progress, poll, wait_until};
use tcpstat_tests::end_marks::EndMarks;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_release::namespaces_have_cookies;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::{Namespace, ip, within};
use tcpstat_tests::process_limits::{ROOT, no_room, set_limit};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{
    Counts, FREQUENT, all_namespaces, await_gone, await_right, await_search, gauges, infos,
    infos_of, transitions,
};
use tcpstat_tests::tcp::{Family, State};

/// How many namespaces are made until one has the inode number of an earlier one.
const ATTEMPTS: usize = 100;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        orphans_are_counted_after_the_last_process_of_their_namespace,
        a_socket_that_is_held_from_outside_its_namespace_is_counted_until_it_ends,
        a_namespace_that_comes_while_searches_fail_is_counted_after_them,
        a_process_that_leaves_its_namespace_takes_no_numbers_with_it,
        an_inode_number_that_comes_again_is_another_namespace
    ]
}

fn orphans_are_counted_after_the_last_process_of_their_namespace(
    namespace: &Namespace,
) -> Result<()> {
    let mut exporter = all_namespaces(&FREQUENT).start()?;
    let beside = Resident::in_new_namespace()?;
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Orphan)?;
    let (name, with_orphan) = await_right(&mut exporter, resident.pid())?;
    assert_eq!(above_zero(&with_orphan), Counts::from([(State::FinWait1, 1)]));

    let marks = EndMarks::place(namespace, std::slice::from_ref(&resident))?;
    let file = File::open(resident.namespace_file())?;
    resident.end()?;
    let _newest = await_search(&mut exporter)?;
    await_snapshot(&mut exporter, beside.pid(), (&name, &with_orphan))?;

    // A reset answers its next retransmission.
    within(&file, || ip(&["link set lo up"]))?;
    drop(file);
    await_gone(&mut exporter, &name).with_context(|| exporter.log())?;
    marks.await_end()
}

fn a_socket_that_is_held_from_outside_its_namespace_is_counted_until_it_ends(
    namespace: &Namespace,
) -> Result<()> {
    let mut exporter = all_namespaces(&FREQUENT).start()?;
    let beside = Resident::in_new_namespace()?;
    let resident = Resident::in_new_namespace()?;
    let file = File::open(resident.namespace_file())?;
    let pairs = within(&file, || Pairs::connect(3, Family::Ipv6))?;
    let (name, held) = await_right(&mut exporter, resident.pid())?;
    let marks = EndMarks::place(namespace, std::slice::from_ref(&resident))?;
    drop(file);
    resident.end()?;
    let _newest = await_search(&mut exporter)?;
    await_snapshot(&mut exporter, beside.pid(), (&name, &held))?;
    assert_eq!(marks.left()?, 1);
    // It still counts each transition.
    let [(client, _), ..] = pairs.streams() else { bail!("no pairs") };
    client.shutdown(std::net::Shutdown::Write)?;
    await_gauge(&mut exporter, &name, State::CloseWait, 1)?;
    await_gauge(&mut exporter, &name, State::FinWait2, 1)?;
    drop(pairs);
    await_gone(&mut exporter, &name).with_context(|| exporter.log())?;
    marks.await_end()
}

/// When a search succeeds again no process is in it any more.
fn a_namespace_that_comes_while_searches_fail_is_counted_after_them(_: &Namespace) -> Result<()> {
    let mut exporter = all_namespaces(&FREQUENT).start()?;
    let _newest = await_search(&mut exporter)?;
    let pid = exporter.pid();
    let without_room = || set_limit(ROOT, pid, &format!("--nofile={}:", no_room(pid)?));
    without_room()?;
    // Its first transition makes the exporter search.
    let resident = Resident::in_new_namespace()?;
    let file = File::open(resident.namespace_file())?;
    let pairs = within(&file, || Pairs::connect(7, Family::Ipv6))?;
    resident.end()?;
    wait_until("the failure in the log", DEADLINE, || {
        // A snapshot in progress may have held descriptors.
        without_room()?;
        let log = exporter.log();
        let failed = log.contains("finding network namespaces failed");
        Ok(if failed { Progress::Done(()) } else { Progress::NotYet(log) })
    })?;
    set_limit(ROOT, pid, "--nofile=1024:")?;
    if !namespaces_have_cookies()? {
        // There nothing shows that its sockets are not older than the exporter, until a snapshot lists them.
        let resident = Resident::inside(&file)?;
        let (_, gauges) = await_right(&mut exporter, resident.pid())?;
        assert_eq!(gauges[&State::Established], 14);
        return Ok(());
    }
    wait_until("the gauges of the new namespace", DEADLINE, || {
        let scrape = exporter.scrape()?;
        let mut all = Vec::new();
        for labels in infos(&scrape)? {
            all.extend(gauges(&scrape, &labels["netns"])?);
        }
        let is_there = all.iter().any(|gauges| gauges[&State::Established] == 14);
        Ok(if is_there { Progress::Done(()) } else { Progress::NotYet(format!("{all:?}")) })
    })?;
    drop(pairs);
    Ok(())
}

/// Its files then show another namespace, whose numbers are not those of the one it left.
fn a_process_that_leaves_its_namespace_takes_no_numbers_with_it(_: &Namespace) -> Result<()> {
    let (mut left, mut entered) = (Resident::in_new_namespace()?, Resident::in_new_namespace()?);
    left.order(&Order::Connect(3))?;
    entered.order(&Order::Connect(5))?;
    let mut exporter = all_namespaces(&FREQUENT).start()?;
    let (left_name, left_gauges) = await_right(&mut exporter, left.pid())?;
    let (entered_name, entered_gauges) = await_right(&mut exporter, entered.pid())?;
    let in_left = File::open(left.namespace_file())?;
    left.order(&Order::Enter(entered.namespace_file()))?;

    // First without a search, which would choose another process or none.
    for _ in 0..2 {
        await_snapshot(&mut exporter, entered.pid(), (&left_name, &left_gauges))?;
    }
    let _newest = await_search(&mut exporter)?;
    await_snapshot(&mut exporter, entered.pid(), (&left_name, &left_gauges))?;
    assert_eq!(gauges(&exporter.scrape()?, &entered_name)?, Some(entered_gauges));
    // What it makes now is of the namespace that it has entered.
    left.order(&Order::Connect(4))?;
    let (name, _) = await_right(&mut exporter, left.pid())?;
    assert_eq!(name, entered_name);
    drop((left, in_left));
    await_gone(&mut exporter, &left_name).with_context(|| exporter.log())?;
    let (_, gauges) = await_right(&mut exporter, entered.pid())?;
    assert_eq!(gauges[&State::Established], 10);
    Ok(())
}

/// The kernel gives numbers again at once. The counters of the new namespace begin at zero.
fn an_inode_number_that_comes_again_is_another_namespace(namespace: &Namespace) -> Result<()> {
    let mut exporter = all_namespaces(&["--snapshot-interval=1h"]).start()?;
    let mut seen = BTreeMap::new();
    for attempt in 1..=ATTEMPTS {
        let mut resident = Resident::in_new_namespace()?;
        let inum = resident.inum()?;
        resident.order(&Order::Connect(attempt % 5 + 1))?;
        let (name, gauges) = await_right(&mut exporter, resident.pid())?;
        if seen.contains_key(&inum) {
            let births = u64::try_from(attempt % 5 + 1)?;
            if namespaces_have_cookies()? {
                let counted = transitions(&exporter.scrape()?, &name)?;
                ensure!(counted[&(State::Close, State::SynSent)] == births, "{counted:?}");
                ensure!(counted[&(State::Close, State::Listen)] == 1, "{counted:?}");
            }
            ensure!(gauges[&State::Established] == 2 * births, "{gauges:?}");
            let infos = infos_of(&exporter.scrape()?, inum)?;
            ensure!(infos.len() == 1, "{infos:?}");
            return Ok(());
        }
        seen.insert(inum, name);
        let marks = EndMarks::place(namespace, std::slice::from_ref(&resident))?;
        // The exporter may still have its series when the next one has its number.
        resident.end()?;
        marks.await_end()?;
    }
    bail!("no number came again: {seen:?}")
}

fn above_zero(counts: &Counts) -> Counts {
    counts.iter().map(|(state, count)| (*state, *count)).filter(|(_, count)| *count > 0).collect()
}

fn await_gauge(exporter: &mut Exporter, name: &str, state: State, wanted: u64) -> Result<()> {
    wait_until("gauge of a namespace", DEADLINE, || {
        let gauges = gauges(&exporter.scrape()?, name)?.context("no gauges")?;
        Ok(if gauges[&state] == wanted {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{gauges:?}"))
        })
    })
}

/// Waits for one more snapshot of the namespace of that process. Others, which are due as often, have had their
/// turns, too. Meanwhile every scrape must have the same gauges of the namespace `steady`.
pub(crate) fn await_snapshot(
    exporter: &mut Exporter,
    pid: u32,
    (steady, expected): (&str, &Counts),
) -> Result<()> {
    let (name, _) = await_right(exporter, pid)?;
    let ended = |exporter: &mut Exporter| {
        let scrape = exporter.scrape()?;
        let found = gauges(&scrape, steady)?;
        ensure!(found.as_ref() == Some(expected), "{steady}: {expected:?}, then {found:?}");
        scrape.value("tcpstat_netns_snapshot_timestamp_seconds", &[("netns", &name)])
    };
    let before = ended(exporter)?;
    // All namespaces but the own one share a part of the time.
    poll("snapshot of a namespace", 3 * DEADLINE, Duration::from_millis(20), || {
        let now = ended(exporter)?;
        let is_later = now > before;
        Ok(if is_later { Progress::Done(()) } else { Progress::NotYet(now.to_string()) })
    })
}
