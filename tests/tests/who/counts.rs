//! Who holds how many sockets in which state, in the own network namespace and in others.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::{Namespace, within};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::tcp::State;
use tcpstat_tests::who::{LocalPort, Peer, kernel_has_iterator, who};

use crate::links::{accepted, connect, half_close, links};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        each_process_has_a_row_with_its_sockets_by_state,
        processes_of_other_namespaces_have_rows_with_their_namespace,
        a_socket_of_another_namespace_than_its_process_is_counted_in_its_own,
        one_process_has_a_row_for_each_namespace,
        the_most_frequent_ports_and_peers_come_first,
        clients_of_a_server_are_one_peer_for_each_address,
        a_socket_without_a_connection_is_in_state_close
    ]
}

fn each_process_has_a_row_with_its_sockets_by_state(own: &Namespace) -> Result<()> {
    let (mut leaker, mut talker) = (Holder::start("leaker")?, Holder::start("talker")?);
    let (listener, links) = connect((Ipv4Addr::LOCALHOST, 7_000), 5)?;
    half_close(&links[..3])?;
    let (served, clients) = accepted(links);
    leaker.take(&served)?;
    leaker.take([&listener])?;
    talker.take(&clients)?;
    drop((listener, served, clients));

    let all = who(&[])?;
    ensure!(all.in_namespace(own.inum()).len() == 2, "{all:#?}");
    let row = all.row_of(&[leaker.pid()])?;
    row.ensure_states(&[(State::CloseWait, 3), (State::Established, 2), (State::Listen, 1)])?;
    ensure!(row.processes[0].command() == "leaker" && row.more_processes == 0, "{row:?}");
    let row = all.row_of(&[talker.pid()])?;
    row.ensure_states(&[(State::FinWait2, 3), (State::Established, 2)])?;

    let leaking = who(&["close_wait"])?;
    ensure!(leaking.in_namespace(own.inum()).len() == 1, "{leaking:#?}");
    leaking.row_of(&[leaker.pid()])?.ensure_states(&[(State::CloseWait, 3)])?;
    let both = ["close_wait", "established"];
    let listed = ["close_wait,estab"];
    let as_events = ["--state=close_wait,estab"];
    for args in [&both[..], &listed, &as_events, &["--state", "CLOSE-WAIT", both[1]]] {
        let two = who(args)?;
        let row = two.row_of(&[leaker.pid()])?;
        row.ensure_states(&[(State::CloseWait, 3), (State::Established, 2)])?;
        two.row_of(&[talker.pid()])?.ensure_states(&[(State::Established, 2)])?;
    }

    leaker.close()?;
    let none = who(&["close_wait"])?;
    ensure!(!none.shows(leaker.pid()), "{none:#?}");
    Ok(())
}

fn processes_of_other_namespaces_have_rows_with_their_namespace(own: &Namespace) -> Result<()> {
    let mut residents = Vec::new();
    for leaked in 1..=3 {
        let mut resident = Resident::in_new_namespace()?;
        resident.order(&Order::Leak(usize::try_from(leaked)?))?;
        residents.push((resident, leaked));
    }
    let who = who(&["close_wait"])?;
    for (resident, leaked) in &residents {
        let row = who.row_of(&[resident.pid()])?;
        row.ensure_states(&[(State::CloseWait, *leaked)])?;
        ensure!(row.netns.inode == Some(resident.inum()?), "{row:?}");
        ensure!(row.netns.inode != Some(own.inum()), "{row:?}");
    }
    Ok(())
}

fn a_socket_of_another_namespace_than_its_process_is_counted_in_its_own(
    own: &Namespace,
) -> Result<()> {
    let other = Resident::in_new_namespace()?;
    let links = within(&File::open(other.namespace_file())?, || links(7_000, 2))?;
    let mut holder = Holder::start("guest")?;
    let (served, clients) = accepted(links);
    holder.take(&served)?;
    drop(served);
    let who = who(&["established"])?;
    let row = who.row_of(&[holder.pid()])?;
    row.ensure_states(&[(State::Established, 2)])?;
    ensure!(row.netns.inode == Some(other.inum()?), "{row:?}");
    let row = who.row_of(&[process::id()])?;
    row.ensure_states(&[(State::Established, 2)])?;
    ensure!(row.netns.inode == Some(other.inum()?), "{row:?}");
    ensure!(who.in_namespace(own.inum()).is_empty(), "{who:#?}");
    drop(clients);
    Ok(())
}

fn one_process_has_a_row_for_each_namespace(own: &Namespace) -> Result<()> {
    let other = Resident::in_new_namespace()?;
    let there = within(&File::open(other.namespace_file())?, || links(7_000, 2))?;
    let here = links(7_000, 3)?;
    let mut holder = Holder::start("both")?;
    holder.take(here.iter().chain(&there).map(|link| &link.accepted))?;
    let (_here, _there) = (accepted(here).1, accepted(there).1);
    let who = who(&["established", &format!("--pid={}", holder.pid())])?;
    for (inum, sockets) in [(own.inum(), 3), (other.inum()?, 2)] {
        let rows = who.in_namespace(inum);
        ensure!(rows.len() == 1 && rows[0].sockets == sockets, "{who:#?}");
        ensure!(rows[0].pids() == [holder.pid()].into(), "{who:#?}");
    }
    assert_eq!((who.holders.len(), who.sockets), (2, 5));
    Ok(())
}

fn the_most_frequent_ports_and_peers_come_first(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("proxy")?;
    let backends = [(Ipv4Addr::new(127, 0, 1, 1), 443, 1), (Ipv4Addr::new(127, 0, 1, 2), 8_443, 4)];
    let mut kept = Vec::new();
    for (address, port, number) in backends {
        let (_, links) = connect((address, port), number)?;
        let (served, clients) = accepted(links);
        holder.take(&clients)?;
        kept.extend(served);
    }
    let served = accepted(links(7_000, 6)?);
    holder.take(&served.0)?;
    drop(served.0);
    let who = who(&["established"])?;
    let row = who.row_of(&[holder.pid()])?;
    assert_eq!(row.sockets, 11);
    let most = row.local_ports.first().context("no port")?;
    assert_eq!(*most, LocalPort { port: 7_000, sockets: 6 });
    let most = Peer { address: "127.0.1.2".to_owned(), port: Some(8_443), sockets: 4 };
    assert_eq!(row.peers.first(), Some(&most), "{row:?}");
    ensure!(row.peers.is_sorted_by_key(|peer| u64::MAX - peer.sockets), "{row:?}");
    ensure!(row.local_ports.is_sorted_by_key(|port| u64::MAX - port.sockets), "{row:?}");
    drop((kept, served.1));
    Ok(())
}

/// Each connection of a client has another port.
fn clients_of_a_server_are_one_peer_for_each_address(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("server")?;
    let (listener, links) = connect((Ipv4Addr::LOCALHOST, 7_000), 4)?;
    let (served, clients) = accepted(links);
    holder.take(&served)?;
    holder.take([&listener])?;
    drop((served, listener));
    let who = who(&["established"])?;
    let row = who.row_of(&[holder.pid()])?;
    assert_eq!(row.peers, [Peer { address: "127.0.0.1".to_owned(), port: None, sockets: 4 }]);
    drop(clients);
    Ok(())
}

/// The kernel has not hashed it, so /proc/net/tcp and sockstat do not show it.
fn a_socket_without_a_connection_is_in_state_close(own: &Namespace) -> Result<()> {
    let mut holder = Holder::start("unused")?;
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP));
    let sockets = [socket()?, socket()?];
    holder.take(&sockets)?;
    drop(sockets);
    let all = who(&["--netns=self"])?;
    if kernel_has_iterator()? {
        let row = all.row_of(&[holder.pid()])?;
        row.ensure_states(&[(State::Close, 2)])?;
        ensure!(row.netns.inode == Some(own.inum()) && row.oldest_seconds.is_none(), "{row:?}");
        who(&["close"])?.row_of(&[holder.pid()])?.ensure_states(&[(State::Close, 2)])?;
    }
    ensure!(!who(&["close_wait"])?.shows(holder.pid()));
    assert_eq!(all.not_held.other, Some(0), "{all:#?}");
    Ok(())
}
