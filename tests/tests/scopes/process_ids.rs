//! Process ids: those of a nested PID namespace, and one that the kernel gives to a process in another network
//! namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::process;

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::{Namespace, current_inum, within};
use tcpstat_tests::pid_namespace::as_process_1;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{
    FREQUENT, HOST, Labels, all_namespaces, await_gone, await_right, await_search, infos, inode,
    live_namespaces,
};
use tcpstat_tests::tcp::{Family, State};

use crate::is_guest;
use crate::lifetimes::await_snapshot;

/// The id that the kernel gave last, in the PID namespace of the writer.
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Others may take the id.
const ATTEMPTS: usize = 20;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_process_id_that_is_used_again_shows_no_numbers_of_another_namespace,
        a_tracer_in_a_pid_namespace_finds_the_network_namespaces_of_its_processes,
        a_tracer_in_a_pid_namespace_of_a_pid_namespace_does_too
    ]
}

/// Ids are chosen in a guest, or in a PID namespace of the test alone.
fn a_process_id_that_is_used_again_shows_no_numbers_of_another_namespace(
    _: &Namespace,
) -> Result<()> {
    if is_guest() { used_again() } else { as_process_1(1, used_again) }
}

fn a_tracer_in_a_pid_namespace_finds_the_network_namespaces_of_its_processes(
    _: &Namespace,
) -> Result<()> {
    as_process_1(1, finds_as_without_a_tracer)
}

fn a_tracer_in_a_pid_namespace_of_a_pid_namespace_does_too(_: &Namespace) -> Result<()> {
    as_process_1(2, finds_as_without_a_tracer)
}

fn finds_as_without_a_tracer() -> Result<()> {
    let mut residents = Vec::new();
    for pairs in [2, 3, 4] {
        let mut resident = Resident::in_new_namespace()?;
        resident.order(&Order::Connect(pairs))?;
        residents.push(resident);
    }
    let mut traced = all_namespaces(&["--snapshot-interval=1h"]).start()?;
    assert_eq!(traced.scrape()?.value("tcpstat_tracer_up", &[])?, 1.0, "{}", traced.log());
    let untraced = all_namespaces(&["--tracer=off"]).listen((Ipv4Addr::LOCALHOST, 10_049).into());
    let mut untraced = untraced.start()?;
    let live: BTreeSet<u64> = live_namespaces()?.into_keys().collect();
    ensure!(live.len() == residents.len() + 1, "namespaces of other processes: {live:?}");
    let found = await_found(&mut traced, &live).with_context(|| traced.log())?;
    assert_eq!(found, await_found(&mut untraced, &live)?);
    // Its process 1 is this test.
    ensure!(found[&current_inum()?]["netns"] == HOST, "{found:?}");

    for resident in &mut residents {
        await_right(&mut traced, resident.pid()).with_context(|| traced.log())?;
        resident.order(&Order::Connect(5))?;
        let (_, gauges) = await_right(&mut traced, resident.pid())?;
        ensure!(gauges[&State::Established] >= 14, "{gauges:?}");
    }
    await_right(&mut traced, process::id())?;
    let scrape = traced.scrape()?;
    assert_eq!(scrape.value("tcpstat_scopes_hidden", &[("kind", "netns")])?, 0.0);
    Ok(())
}

/// Waits until exactly these namespaces are exported, by inode, and returns their labels. Others without a process in
/// this PID namespace may have socket events: they have the inode 0.
fn await_found(exporter: &mut Exporter, wanted: &BTreeSet<u64>) -> Result<BTreeMap<u64, Labels>> {
    wait_until("exactly the live namespaces", DEADLINE, || {
        let mut found = BTreeMap::new();
        for labels in infos(&exporter.scrape()?)? {
            found.insert(inode(&labels)?, labels);
        }
        found.remove(&0);
        let same = found.keys().eq(wanted);
        Ok(if same {
            Progress::Done(found)
        } else {
            Progress::NotYet(format!("{found:#?} instead of {wanted:?}"))
        })
    })
}

fn used_again() -> Result<()> {
    let mut exporter = all_namespaces(&FREQUENT).start()?;
    let first = Resident::in_new_namespace()?;
    let held = within(&File::open(first.namespace_file())?, || Pairs::connect(3, Family::Ipv4))?;
    let (first_name, first_gauges) = await_right(&mut exporter, first.pid())?;
    let id = first.pid();
    first.end()?;

    let mut second = with_id(id)?;
    second.order(&Order::NewNamespace)?;
    second.order(&Order::Connect(5))?;
    let (second_name, second_gauges) =
        await_right(&mut exporter, second.pid()).with_context(|| exporter.log())?;
    ensure!(second_gauges[&State::Established] == 10, "{second_gauges:?}");
    ensure!(first_name != second_name, "two namespaces are one: {first_name}");
    await_snapshot(&mut exporter, second.pid(), (&first_name, &first_gauges))?;
    let newest = await_search(&mut exporter)?;
    await_snapshot(&mut exporter, newest.pid(), (&first_name, &first_gauges))?;
    drop(held);
    await_gone(&mut exporter, &first_name).with_context(|| exporter.log())
}

/// A process of that id, which is free.
fn with_id(id: u32) -> Result<Resident> {
    for _ in 0..ATTEMPTS {
        fs::write(LAST_PID, (id - 1).to_string()).context(LAST_PID)?;
        let resident = Resident::start()?;
        if resident.pid() == id {
            return Ok(resident);
        }
    }
    bail!("no process gets the id {id}")
}
