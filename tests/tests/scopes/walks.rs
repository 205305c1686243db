//! One walk over the files of all processes seeds and confirms the namespaces whose sockets are all in it. The others
//! have snapshots of their own.

use std::fs::{self, File};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::{Domain, Protocol, Socket, Type};
use tcpstat_tests::deadline::{Progress, poll};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::held::Addressing;
use tcpstat_tests::kernel_release::namespaces_have_cookies;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::{Pairs, connected_pair, mptcp_pair};
use tcpstat_tests::netns::{Namespace, within};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{Distant, all_namespaces, await_right, counts_of, gauges};
use tcpstat_tests::states::syn_recv;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::wire::Wire;

use crate::losses::losing;

/// Nothing but a walk or the first snapshot of each namespace can set its gauges.
const NO_SNAPSHOT: [&str; 3] = ["--snapshot-interval=1h", "--log.level", "debug"];

/// What the log says of a namespace of which a walk has shown all sockets.
const SHOWN: &str = "a walk has shown all sockets";

/// The results of a walk.
const SEEDED: &str = "result=Seeded";
const CONFIRMED: &str = "result=Confirmed";
const DIFFERS: &str = "result=Differs";

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
        a_half_open_request_is_counted_beside_held_sockets,
        without_iterators_for_snapshots_there_is_no_walk,
        gauges_that_a_walk_contradicts_are_corrected
    ]
}

fn a_walk_shows_all_sockets_of_namespaces_whose_processes_hold_them(_: &Namespace) -> Result<()> {
    let residents = (0..6).map(with_connections).collect::<Result<Vec<_>>>()?;
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    for (pairs, resident) in residents.iter().enumerate() {
        let (name, gauges) = await_right(&mut exporter, resident.pid())?;
        assert_eq!(gauges[&State::Established], 2 * u64::try_from(pairs)?);
        await_walk(&exporter, &name, &[SEEDED, CONFIRMED])?;
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
    await_walk(&exporter, &name, &[SEEDED, CONFIRMED])?;
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

    // The raw socket has the protocol of TCP and the number of ESTABLISHED, and is no TCP socket.
    let in_flight = with_connections(1)?;
    let (one, other) = UnixStream::pair()?;
    let (listener, _raw) = inside(&in_flight, || {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))?;
        raw.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        Ok((TcpListener::bind("127.0.0.1:0")?, raw))
    })?;
    let descriptors = [listener.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<()>(one.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None)?;
    drop(listener);

    let not_accepted = with_connections(1)?;
    let (_listener, _client) = inside(&not_accepted, || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        Ok((listener, client))
    })?;

    let all_held = with_connections(1)?;
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    let (name, _) = await_right(&mut exporter, all_held.pid())?;
    await_walk(&exporter, &name, &[SEEDED, CONFIRMED])?;
    for (resident, established) in
        [(&orphan, 2), (&waiting, 2), (&in_flight, 2), (&not_accepted, 4)]
    {
        let (name, gauges) = await_right(&mut exporter, resident.pid())?;
        assert_eq!(gauges[&State::Established], established, "{name}: {gauges:?}");
        assert_eq!(walks(&exporter, &name), 0, "{name}");
    }
    drop(other);
    Ok(())
}

/// They are TCP sockets without a descriptor. Before 6.18 sockstat does not count those of IPv6.
fn subflows_of_mptcp_are_counted_beside_held_sockets(_: &Namespace) -> Result<()> {
    for family in Family::ALL {
        subflows(family)?;
    }
    Ok(())
}

fn subflows(family: Family) -> Result<()> {
    let [resident, all_held] = [with_connections(1)?, with_connections(1)?];
    let _mptcp = inside(&resident, || mptcp_pair(family))?;
    let mut exporter = all_namespaces(&NO_SNAPSHOT).start()?;
    let (name, _) = await_right(&mut exporter, all_held.pid())?;
    await_walk(&exporter, &name, &[SEEDED, CONFIRMED])?;
    let (name, gauges) = await_right(&mut exporter, resident.pid())?;
    assert_eq!(gauges[&State::Established], 4);
    assert_eq!(walks(&exporter, &name), 0);
    Ok(())
}

/// sockstat does not count it, and only its listener shows that it is there.
fn a_half_open_request_is_counted_beside_held_sockets(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let request = syn_recv(&wire, Addressing::Ipv4)?;
    let all_held = with_connections(1)?;
    let mut distant = Distant::start(&NO_SNAPSHOT)?;
    let (name, _) = await_right(&mut distant.exporter, all_held.pid())?;
    await_walk(&distant.exporter, &name, &[SEEDED, CONFIRMED])?;
    let (name, gauges) = await_right(&mut distant.exporter, std::process::id())?;
    assert_eq!(gauges[&State::SynRecv], 1);
    assert_eq!(walks(&distant.exporter, &name), 0);
    request.end()
}

/// That is what a user gets who wants snapshots from /proc.
fn without_iterators_for_snapshots_there_is_no_walk(_: &Namespace) -> Result<()> {
    let residents = [with_connections(1)?, with_connections(2)?];
    let args = [&NO_SNAPSHOT[..], &["--snapshot=procfs"]].concat();
    let mut exporter = all_namespaces(&args).start()?;
    for resident in &residents {
        await_right(&mut exporter, resident.pid())?;
    }
    // The thread of the walks begins with the first one, which is due before the first seed.
    let tasks = fs::read_dir(format!("/proc/{}/task", exporter.pid()))?;
    for task in tasks {
        let name = fs::read_to_string(task?.path().join("comm"))?;
        assert_ne!(name.trim_end(), "walker");
    }
    Ok(())
}

/// Half of the transitions to CLOSE_WAIT are lost, which changes no sum.
fn gauges_that_a_walk_contradicts_are_corrected(_: &Namespace) -> Result<()> {
    let [resident, beside] = [with_connections(0)?, with_connections(1)?];
    let pairs = inside(&resident, || Pairs::connect(40, Family::Ipv4))?;
    // A walk is due after 18 s if the last one took less than 90 ms of CPU, a snapshot after 20 s.
    let args = ["--snapshot-interval=1s", "--log.level=debug"];
    let mut exporter = losing(&args, "established:close_wait:2")?.start()?;
    let (name, _) = await_right(&mut exporter, resident.pid())?;
    await_right(&mut exporter, beside.pid())?;
    pairs.half_close_clients()?;
    let lost = gauges(&exporter.scrape()?, &name)?.context("no gauges")?;
    ensure!(lost[&State::CloseWait] < 40, "nothing was lost: {lost:?}");
    await_walk(&exporter, &name, &[DIFFERS])?;
    let (_, right) = await_right(&mut exporter, resident.pid())?;
    assert_eq!(right[&State::CloseWait], 40);
    Ok(())
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

/// Waits until a walk has had one of these results in a namespace.
fn await_walk(exporter: &Exporter, name: &str, results: &[&str]) -> Result<()> {
    poll("a walk", Duration::from_mins(1), Duration::from_millis(50), || {
        let log = exporter.log();
        let is_it = |line: &&str| results.iter().any(|result| line.contains(result));
        let done = shown(&log, name).any(|line| is_it(&line));
        Ok(if done { Progress::Done(()) } else { Progress::NotYet(format!("{name}: {log}")) })
    })
}

/// How many walks have shown all sockets of a namespace.
fn walks(exporter: &Exporter, name: &str) -> usize {
    shown(&exporter.log(), name).count()
}

fn shown<'a>(log: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let named = format!("netns=\"{name}\"");
    log.lines().filter(move |line| line.contains(SHOWN) && line.contains(&named))
}
