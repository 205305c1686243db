//! Namespaces without a process: whether their sockets are older than the exporter decides whether they have gauges.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::deadline::{DEADLINE, Progress, poll, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_release::namespaces_have_cookies;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::{Pairs, connected_pair};
use tcpstat_tests::netns::{Namespace, ip, within};
use tcpstat_tests::pid_namespace::as_process_1;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{
    FREQUENT, OTHER, all_namespaces, await_right, await_search, gauges, infos, inode,
    live_namespaces,
};
use tcpstat_tests::tcp::{Family, State};

/// What the log says when it is known where processes hold sockets.
const READ: &str = "read what processes hold in other network namespaces";

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        sockets_that_are_older_and_held_from_outside_have_gauges_when_a_process_is_there,
        a_new_connection_beside_older_sockets_makes_no_gauge,
        an_orphan_that_is_older_makes_no_gauge,
        sockets_that_come_later_have_gauges_without_a_process_where_it_is_known_what_was_held,
        in_a_pid_namespace_no_socket_is_known_to_come_later
    ];
    if namespaces_have_cookies().unwrap_or(true) {
        // Before 5.12 nothing shows what processes hold.
        tests.extend(kernel_tests![
            while_a_namespace_in_other_has_held_sockets_and_no_process_other_has_no_gauges
        ]);
    }
    tests
}

fn sockets_that_are_older_and_held_from_outside_have_gauges_when_a_process_is_there(
    _: &Namespace,
) -> Result<()> {
    let file = without_process()?;
    let pairs = within(&file, || Pairs::connect(3, Family::Ipv4))?;
    let mut exporter = start()?;
    let (client, _) = first(&pairs)?;
    client.shutdown(Shutdown::Write)?;
    await_without_gauges(&mut exporter, &file)?;
    let names = shown_without_gauges(&mut exporter, &file)?;
    assert_eq!(!names.is_empty(), namespaces_have_cookies()?, "{names:?}");

    let resident = Resident::inside(&file)?;
    let (_, gauges) = await_right(&mut exporter, resident.pid())?;
    assert_eq!(gauges[&State::Established], 4);
    assert_eq!(gauges[&State::CloseWait], 1);
    assert_eq!(shown(&exporter.scrape()?, &file)?.len(), 1, "one name");
    Ok(())
}

/// Its first events look like those of a new namespace, in which nothing listens.
fn a_new_connection_beside_older_sockets_makes_no_gauge(_: &Namespace) -> Result<()> {
    let file = without_process()?;
    let _older = within(&file, || connected_pair(Family::Ipv6))?;
    let mut exporter = start()?;
    let _later = within(&file, || Pairs::connect(2, Family::Ipv6))?;
    await_without_gauges(&mut exporter, &file)
}

/// No process holds it, so only its transition shows that it was there.
fn an_orphan_that_is_older_makes_no_gauge(_: &Namespace) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Orphan)?;
    let file = File::open(resident.namespace_file())?;
    resident.end()?;
    let mut exporter = start()?;
    // A reset answers its next retransmission.
    within(&file, || ip(&["link set lo up"]))?;
    await_without_gauges(&mut exporter, &file)
}

/// Nothing lists them any more, and the gauges of `other` are a sum.
fn while_a_namespace_in_other_has_held_sockets_and_no_process_other_has_no_gauges(
    _: &Namespace,
) -> Result<()> {
    let room = format!("--scopes-max={}", live_namespaces()?.len());
    let mut exporter = all_namespaces(&[&FREQUENT[..], &[&room]].concat()).start()?;
    let _taker = await_search(&mut exporter)?;
    let resident = Resident::in_new_namespace()?;
    let pairs =
        within(&File::open(resident.namespace_file())?, || Pairs::connect(3, Family::Ipv4))?;
    let mut beside = Resident::in_new_namespace()?;
    beside.order(&Order::Connect(1))?;
    let await_other = |exporter: &mut Exporter, wanted: Option<u64>| {
        poll("established sockets in other", 4 * DEADLINE, Duration::from_millis(50), || {
            let other = gauges(&exporter.scrape()?, OTHER)?;
            // The machine may have others.
            let found = other.map(|other| other[&State::Established]);
            let is_right = found >= wanted && found.is_some() == wanted.is_some();
            Ok(if is_right { Progress::Done(()) } else { Progress::NotYet(format!("{found:?}")) })
        })
    };
    await_other(&mut exporter, Some(8))?;
    resident.end()?;
    await_other(&mut exporter, None).with_context(|| exporter.log())?;
    drop(pairs);
    await_other(&mut exporter, Some(2)).with_context(|| exporter.log())
}

fn sockets_that_come_later_have_gauges_without_a_process_where_it_is_known_what_was_held(
    _: &Namespace,
) -> Result<()> {
    let file = without_process()?;
    let mut exporter = start()?;
    let pairs = within(&file, || Pairs::connect(5, Family::Ipv4))?;
    if !namespaces_have_cookies()? {
        // There nothing shows what is held.
        return await_without_gauges(&mut exporter, &file);
    }
    let established = |exporter: &mut Exporter, wanted| {
        wait_until("gauges without a process", DEADLINE, || {
            let scrape = exporter.scrape()?;
            let mut all = Vec::new();
            for name in shown(&scrape, &file)? {
                all.extend(gauges(&scrape, &name)?);
            }
            let is_there = all.iter().any(|gauges| gauges[&State::Established] == wanted);
            Ok(if is_there { Progress::Done(()) } else { Progress::NotYet(format!("{all:?}")) })
        })
    };
    established(&mut exporter, 10)?;
    first(&pairs)?.0.shutdown(Shutdown::Write)?;
    established(&mut exporter, 8)
}

/// Processes outside may hold sockets anywhere.
fn in_a_pid_namespace_no_socket_is_known_to_come_later(_: &Namespace) -> Result<()> {
    as_process_1(1, || {
        let file = without_process()?;
        let mut exporter = start()?;
        let _pairs = within(&file, || Pairs::connect(2, Family::Ipv4))?;
        await_without_gauges(&mut exporter, &file)
    })
}

/// A namespace that nothing but this file keeps.
fn without_process() -> Result<File> {
    let resident = Resident::in_new_namespace()?;
    let file = File::open(resident.namespace_file())?;
    resident.end()?;
    Ok(file)
}

/// An exporter that knows where processes hold sockets, if the kernel can tell.
fn start() -> Result<Exporter> {
    let exporter = all_namespaces(&[&FREQUENT[..], &["--log.level=debug"]].concat()).start()?;
    if namespaces_have_cookies()? {
        exporter.wait_log(READ)?;
    }
    Ok(exporter)
}

fn first(pairs: &Pairs) -> Result<&(TcpStream, TcpStream)> {
    pairs.streams().first().context("no pairs")
}

/// The names of the namespace, if it is shown. Until it is known which processes hold its sockets it has no inode.
fn shown(scrape: &Scrape, namespace: &File) -> Result<BTreeSet<String>> {
    let inum = namespace.metadata()?.ino();
    let mut names = BTreeSet::new();
    for labels in infos(scrape)? {
        if [0, inum].contains(&inode(&labels)?) {
            names.insert(labels["netns"].clone());
        }
    }
    Ok(names)
}

/// Waits until the namespace is shown, and for two searches. It must have no gauge in any scrape, by any name.
fn await_without_gauges(exporter: &mut Exporter, file: &File) -> Result<()> {
    wait_until("a namespace without a process", DEADLINE, || {
        let names = shown_without_gauges(exporter, file)?;
        Ok(if names.is_empty() { Progress::NotYet(exporter.log()) } else { Progress::Done(()) })
    })?;
    for _ in 0..2 {
        let _newest = await_search(exporter)?;
        shown_without_gauges(exporter, file)?;
    }
    Ok(())
}

/// As [`shown`].
fn shown_without_gauges(exporter: &mut Exporter, file: &File) -> Result<BTreeSet<String>> {
    let scrape = exporter.scrape()?;
    let names = shown(&scrape, file)?;
    for name in &names {
        let gauges = gauges(&scrape, name)?;
        ensure!(gauges.is_none(), "{name} has gauges: {gauges:?}");
    }
    Ok(names)
}
