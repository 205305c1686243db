//! Holders, which have exactly the sockets that a test gives them; and residents that make one system call after the
//! other.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use tcpstat_tests::calls::Call;
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::{Holder, LONGEST_NAME};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view::{self, Connections, await_connections, no_connections};
use tcpstat_tests::resident::Resident;
use tcpstat_tests::tcp::{Family, State};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_holder_has_exactly_the_sockets_that_it_was_given,
        a_child_of_a_holder_keeps_what_it_inherited,
        a_holder_has_any_name,
        residents_make_one_call_after_the_other
    ]
}

/// How many descriptors the process has of each socket that a test made: it has others of its own.
fn descriptors(pid: u32, sockets: &Pairs) -> Result<Vec<usize>> {
    let mut counts = BTreeMap::<_, usize>::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // It may be that of this folder.
        if let Ok(link) = fs::read_link(entry?.path()) {
            *counts.entry(link).or_default() += 1;
        }
    }
    let link = |stream: &std::net::TcpStream| {
        use std::os::fd::AsRawFd;
        fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd()))
    };
    let of = |(client, _): &(_, _)| Ok(counts.get(&link(client)?).copied().unwrap_or(0));
    sockets.streams().iter().map(of).collect()
}

fn a_holder_has_exactly_the_sockets_that_it_was_given(_: &Namespace) -> Result<()> {
    let sockets = Pairs::connect(3, Family::Ipv4)?;
    let mut holder = Holder::start("holder")?;
    assert_eq!(descriptors(holder.pid(), &sockets)?, [0, 0, 0]);
    holder.take(sockets.streams()[1..].iter().map(|(client, _)| client))?;
    assert_eq!(descriptors(holder.pid(), &sockets)?, [0, 1, 1]);
    holder.duplicate()?;
    assert_eq!(descriptors(holder.pid(), &sockets)?, [0, 2, 2]);
    holder.close()?;
    assert_eq!(descriptors(holder.pid(), &sockets)?, [0, 0, 0]);
    Ok(())
}

fn a_child_of_a_holder_keeps_what_it_inherited(_: &Namespace) -> Result<()> {
    let sockets = Pairs::connect(2, Family::Ipv4)?;
    let mut holder = Holder::start("holder")?;
    holder.take([&sockets.streams()[0].0])?;
    let child = holder.fork()?;
    holder.take([&sockets.streams()[1].0])?;
    assert_eq!(descriptors(holder.pid(), &sockets)?, [1, 1]);
    assert_eq!(descriptors(child, &sockets)?, [1, 0]);
    holder.close()?;
    assert_eq!(descriptors(child, &sockets)?, [1, 0]);
    drop(holder);
    ensure!(fs::metadata(format!("/proc/{child}")).is_err(), "the child runs");
    Ok(())
}

fn a_holder_has_any_name(_: &Namespace) -> Result<()> {
    for name in [&b"name"[..], b"a\nb\x1b[31m", b"\xff\xfe", b"0123456789abcdef"] {
        let mut holder = Holder::start(name)?;
        let shown = &name[..name.len().min(LONGEST_NAME)];
        for pid in [holder.pid(), holder.fork()?] {
            let found = fs::read(format!("/proc/{pid}/comm"))?;
            ensure!(found.strip_suffix(b"\n") == Some(shown), "{found:?}, not {shown:?}");
        }
    }
    Ok(())
}

fn await_states(wanted: &[(State, u64)]) -> Result<Connections> {
    let mut expected = no_connections();
    expected.extend(wanted.iter().map(|(state, count)| ((Family::Ipv4, *state), *count)));
    await_connections("sockets of both residents", DEADLINE, |found| *found == expected)
}

fn residents_make_one_call_after_the_other(_: &Namespace) -> Result<()> {
    let (mut server, mut client) = (Resident::start()?, Resident::start()?);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 7_000));
    let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 8_000));
    client.call(Call::ConnectRefused(from, to))?;
    server.call(Call::Listen(to))?;
    client.call(Call::Connect(from, to))?;
    server.call(Call::Accept)?;
    await_states(&[(State::Listen, 1), (State::Established, 2)])?;
    let row = proc_view::rows()?.into_iter().find(|row| row.local_port == 8_000);
    ensure!(row.is_some_and(|row| row.remote_port == 7_000), "{row:?}");
    client.call(Call::Shutdown)?;
    server.call(Call::AwaitEnd)?;
    await_states(&[(State::Listen, 1), (State::FinWait2, 1), (State::CloseWait, 1)])?;
    server.call(Call::Reset)?;
    client.call(Call::AwaitReset)?;
    client.call(Call::Close)?;
    server.call(Call::CloseListener)?;
    await_states(&[])?;
    ensure!(server.call(Call::Accept).is_err(), "there is no listener");
    Ok(())
}
