//! One walk over the files of all processes seeds and confirms the namespaces whose sockets are all in it. The others
//! have snapshots of their own.

use std::fs::File;
use std::io::IoSlice;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tcpstat_tests::deadline::{Progress, poll};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_release::namespaces_have_cookies;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::{Pairs, connected_pair, mptcp_pair};
use tcpstat_tests::netns::{Namespace, within};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{FREQUENT, all_namespaces, await_right, counts_of, gauges};
use tcpstat_tests::tcp::{Family, State};

use crate::losses::losing;

/// Nothing but a walk or the first snapshot of each namespace can set its gauges.
const NO_SNAPSHOT: [&str; 3] = ["--snapshot-interval=1h", "--log.level", "debug"];

/// What the log says of a namespace that a walk has seeded or confirmed.
const CONFIRMED: &str = "processes hold all sockets of it, and the gauges agree";

/// What the log says of one whose gauges differ.
const DIFFERS: &str = "processes hold all sockets of it, and the gauges differ";

pub(crate) fn tests() -> Vec<Test> {
    if !namespaces_have_cookies().unwrap_or(true) {
        // Before 5.12 no program lists what processes hold.
        return Vec::new();
    }
    kernel_tests![
        a_walk_shows_all_sockets_of_namespaces_whose_processes_hold_them,
        a_socket_with_many_descriptors_counts_once,
        sockets_without_a_descriptor_are_counted_beside_held_ones,
        subflows_of_mptcp_are_counted_beside_held_sockets,
        gauges_that_a_walk_contradicts_are_corrected
    ]
}

fn a_walk_shows_all_sockets_of_namespaces_whose_processes_hold_them(_: &Namespace) -> Result<()> {
    let residents = (0..6).map(with_connections).collect::<Result<Vec<_>>>()?;
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    for (pairs, resident) in residents.iter().enumerate() {
        let (name, gauges) = await_right(&mut exporter, resident.pid())?;
        assert_eq!(gauges[&State::Established], 2 * u64::try_from(pairs)?);
        await_line(&exporter, CONFIRMED, &name)?;
    }
    Ok(())
}

/// Of this process, and of its copies while other tests start processes.
fn a_socket_with_many_descriptors_counts_once(_: &Namespace) -> Result<()> {
    let [resident, beside] = [with_connections(0)?, with_connections(1)?];
    let (client, _server) = inside(&resident, || connected_pair(Family::Ipv6))?;
    let _copies = (0..50).map(|_| client.try_clone()).collect::<Result<Vec<_>, _>>()?;
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    let (name, gauges) = await_right(&mut exporter, resident.pid())?;
    assert_eq!(gauges[&State::Established], 2);
    await_line(&exporter, CONFIRMED, &name)?;
    await_right(&mut exporter, beside.pid())?;
    Ok(())
}

/// Each beside a connection that a process holds.
fn sockets_without_a_descriptor_are_counted_beside_held_ones(_: &Namespace) -> Result<()> {
    let mut orphan = with_connections(1)?;
    orphan.order(&Order::Orphan)?;

    let waiting = with_connections(1)?;
    // The client closes first.
    let pairs = inside(&waiting, || Pairs::connect(3, Family::Ipv4))?;
    drop(pairs.close_clients()?);
    assert_eq!(counts_of(waiting.pid())?[&State::TimeWait], 3);

    let in_flight = with_connections(1)?;
    let (one, other) = UnixStream::pair()?;
    let (client, server) = inside(&in_flight, || connected_pair(Family::Ipv4))?;
    let descriptors = [client.as_raw_fd(), server.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<()>(one.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None)?;
    drop((client, server));

    let not_accepted = with_connections(1)?;
    let (_listener, _client) = inside(&not_accepted, || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        Ok((listener, client))
    })?;

    let all_held = with_connections(1)?;
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    let (name, _) = await_right(&mut exporter, all_held.pid())?;
    await_line(&exporter, CONFIRMED, &name)?;
    for (resident, established) in
        [(&orphan, 2), (&waiting, 2), (&in_flight, 4), (&not_accepted, 4)]
    {
        let (name, gauges) = await_right(&mut exporter, resident.pid())?;
        assert_eq!(gauges[&State::Established], established, "{name}: {gauges:?}");
        assert_eq!(lines(&exporter.log(), CONFIRMED, &name), 0, "{name}");
    }
    drop(other);
    Ok(())
}

/// They are TCP sockets without a descriptor.
fn subflows_of_mptcp_are_counted_beside_held_sockets(_: &Namespace) -> Result<()> {
    let [resident, all_held] = [with_connections(1)?, with_connections(1)?];
    let _mptcp = inside(&resident, mptcp_pair)?;
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    let (name, _) = await_right(&mut exporter, all_held.pid())?;
    await_line(&exporter, CONFIRMED, &name)?;
    let (name, gauges) = await_right(&mut exporter, resident.pid())?;
    assert_eq!(gauges[&State::Established], 4);
    assert_eq!(lines(&exporter.log(), CONFIRMED, &name), 0);
    Ok(())
}

/// Half of the transitions to CLOSE_WAIT are lost, which changes no sum.
fn gauges_that_a_walk_contradicts_are_corrected(_: &Namespace) -> Result<()> {
    let [resident, beside] = [with_connections(0)?, with_connections(1)?];
    let pairs = inside(&resident, || Pairs::connect(40, Family::Ipv4))?;
    let args = [&FREQUENT[..], &["--log.level=debug"]].concat();
    let mut exporter = losing(&args, "established:close_wait:2")?.start()?;
    let (name, _) = await_right(&mut exporter, resident.pid())?;
    await_right(&mut exporter, beside.pid())?;
    pairs.half_close_clients()?;
    let lost = gauges(&exporter.scrape()?, &name)?.context("no gauges")?;
    ensure!(lost[&State::CloseWait] < 40, "nothing was lost: {lost:?}");
    await_line(&exporter, DIFFERS, &name)?;
    let (_, right) = await_right(&mut exporter, resident.pid())?;
    assert_eq!(right[&State::CloseWait], 40);
    await_line(&exporter, CONFIRMED, &name)
}

/// A process in a namespace of its own, with that many connections.
fn with_connections(pairs: usize) -> Result<Resident> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(pairs))?;
    Ok(resident)
}

/// What `make` makes in the namespace of a resident. This process holds it.
fn inside<T: Send>(resident: &Resident, make: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    within(&File::open(resident.namespace_file())?, make)
}

/// Waits until the log has such a line of this namespace.
fn await_line(exporter: &Exporter, message: &str, name: &str) -> Result<()> {
    poll("a walk", Duration::from_mins(1), Duration::from_millis(50), || {
        let log = exporter.log();
        let done = lines(&log, message, name) > 0;
        Ok(if done { Progress::Done(()) } else { Progress::NotYet(format!("{name}: {log}")) })
    })
}

fn lines(log: &str, message: &str, name: &str) -> usize {
    let named = format!("netns=\"{name}\"");
    log.lines().filter(|line| line.contains(message) && line.contains(&named)).count()
}
