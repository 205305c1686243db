//! Sockets that no process holds: accept queues under their listener and its process, orphans, and the rest.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use tcpstat_tests::harness::Test;
use tcpstat_tests::held::Addressing;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::mptcp_pair;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::states;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::who::{AcceptQueue, NotHeld, Who, kernel_has_iterator, who};
use tcpstat_tests::wire::Wire;

use crate::links::{accepted, half_close, links};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_queue_of_a_stuck_acceptor_is_under_its_listener_and_its_process,
        a_queue_whose_clients_are_gone_is_still_there,
        listeners_that_share_a_port_have_a_queue_each,
        orphans_are_counted,
        what_every_process_holds_leaves_no_rest
    ]
}

/// A guest need not have MPTCP.
pub(crate) fn host_tests() -> Vec<Test> {
    kernel_tests![subflows_of_mptcp_are_among_the_rest]
}

fn listen(address: IpAddr, port: u16, backlog: i32) -> Result<Socket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let listener = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    listener.bind(&SocketAddr::new(address, port).into())?;
    listener.listen(backlog)?;
    Ok(listener)
}

/// What is shown of a limit: /proc does not have it.
fn limit_of(limit: u64) -> Result<Option<u64>> {
    Ok(kernel_has_iterator()?.then_some(limit))
}

/// The queue at this port of a namespace.
fn queue(who: &Who, inum: u64, port: u16) -> Result<&AcceptQueue> {
    let mut found = who.not_held.accept_queues.iter();
    let found = found.find(|queue| queue.netns.inode == Some(inum) && queue.port == port);
    found.with_context(|| format!("no queue at {port}: {who:#?}"))
}

fn the_queue_of_a_stuck_acceptor_is_under_its_listener_and_its_process(
    own: &Namespace,
) -> Result<()> {
    let (mut stuck, mut idle) = (Holder::start("stuck")?, Holder::start("idle")?);
    let [v4, v6] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let listeners = [listen(v4, 7_000, 16)?, listen(v6, 7_001, 9)?];
    stuck.take(&listeners)?;
    let quiet = listen(v4, 7_002, 5)?;
    idle.take([&quiet])?;
    drop((listeners, quiet));
    let child = stuck.fork()?;
    let mut waiting = Vec::new();
    for (address, port, number) in [(v4, 7_000, 5), (v6, 7_001, 3)] {
        for _ in 0..number {
            waiting.push(TcpStream::connect((address, port))?);
        }
    }
    let all = who(&["--netns=self"])?;
    for (address, port, length, limit) in [(v4, 7_000, 5, 16), (v6, 7_001, 3, 9)] {
        let queue = queue(&all, own.inum(), port)?;
        assert_eq!((queue.length, queue.limit), (length, limit_of(limit)?), "{queue:?}");
        ensure!(queue.address == address.to_string(), "{queue:?}");
        let mut pids: Vec<_> = queue.processes.iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        let mut wanted = [stuck.pid(), child];
        wanted.sort_unstable();
        ensure!(pids == wanted && queue.more_processes == 0, "{queue:?}");
        ensure!(queue.processes.iter().all(|process| process.command() == "stuck"), "{queue:?}");
    }
    let quiet = all.not_held.accept_queues.iter().find(|queue| queue.port == 7_002);
    ensure!(quiet.is_none_or(|queue| queue.length == 0), "{quiet:?}");
    // The listeners and the clients are held, and the queued connections are not the rest.
    all.row_of(&[stuck.pid(), child])?.ensure_states(&[(State::Listen, 2)])?;
    assert_eq!((all.sockets, all.not_held.other), (3 + 8, Some(0)), "{all:#?}");
    Ok(())
}

fn a_queue_whose_clients_are_gone_is_still_there(own: &Namespace) -> Result<()> {
    let mut stuck = Holder::start("stuck")?;
    let listener = listen(Ipv4Addr::UNSPECIFIED.into(), 7_000, 16)?;
    stuck.take([&listener])?;
    drop(listener);
    let connect = |_| Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, 7_000))?);
    let clients = (0..4).map(connect).collect::<Result<Vec<_>>>()?;
    for client in &clients {
        client.shutdown(Shutdown::Write)?;
    }
    let all = who(&["--netns=self"])?;
    let queue = queue(&all, own.inum(), 7_000)?;
    assert_eq!((queue.length, queue.limit), (4, limit_of(16)?));
    assert_eq!(queue.address, "0.0.0.0");
    assert_eq!(all.not_held.other, Some(0), "{all:#?}");
    Ok(())
}

/// The kernel chooses the listener for each connection.
fn listeners_that_share_a_port_have_a_queue_each(_: &Namespace) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7_000));
    let mut holders = [Holder::start("one")?, Holder::start("two")?];
    for holder in &mut holders {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        listener.set_reuse_port(true)?;
        listener.bind(&address.into())?;
        listener.listen(64)?;
        holder.take([&listener])?;
    }
    let connect = |_| Ok(TcpStream::connect(address)?);
    let clients = (0..40).map(connect).collect::<Result<Vec<_>>>()?;
    let all = who(&["--netns=self"])?;
    let (queues, limit) = (&all.not_held.accept_queues, limit_of(64)?);
    let mut pids: Vec<_> =
        queues.iter().flat_map(|queue| &queue.processes).map(|process| process.pid).collect();
    pids.sort_unstable();
    let mut wanted = holders.each_ref().map(Holder::pid);
    wanted.sort_unstable();
    assert_eq!(pids, wanted, "{queues:?}");
    ensure!(queues.iter().all(|queue| queue.port == 7_000 && queue.limit == limit), "{queues:?}");
    assert_eq!(queues.iter().map(|queue| queue.length).sum::<u64>(), 40, "{queues:?}");
    drop(clients);
    Ok(())
}

/// Their peers do not acknowledge the FIN, so the kernel keeps sending it. It counts the orphans of the whole host
/// only: those of one namespace are among the rest.
fn orphans_are_counted(namespace: &Namespace) -> Result<()> {
    let wire = Wire::open(namespace)?;
    let mut orphans = Vec::new();
    for addressing in Addressing::ALL {
        let mut held = states::fin_wait1(&wire, addressing)?;
        held.close();
        held.await_state(State::FinWait1)?;
        orphans.push(held);
    }
    let mut held = states::close_wait(&wire, Addressing::Ipv4)?;
    held.close();
    held.await_state(State::LastAck)?;
    orphans.push(held);
    let here = who(&["--netns=self"])?;
    let NotHeld { orphans: counted, other, .. } = here.not_held;
    assert_eq!((counted, other, here.sockets), (None, Some(4), 0));
    let everywhere = who(&[])?.not_held;
    ensure!(everywhere.orphans >= Some(4), "{everywhere:?}");
    drop(orphans);
    Ok(())
}

fn what_every_process_holds_leaves_no_rest(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("leaker")?;
    let links = links(7_000, 6)?;
    half_close(&links[..3])?;
    let (served, _clients) = accepted(links);
    holder.take(&served)?;
    drop(served);
    let all = who(&["--netns=self"])?;
    assert_eq!(all.sockets, 12);
    let rest = &all.not_held;
    ensure!(rest.accept_queues.iter().all(|queue| queue.length == 0), "{rest:?}");
    assert_eq!(rest.other, Some(0), "{rest:?}");
    Ok(())
}

/// A process has no descriptor of a subflow: one for each end of the connection, and the listening one.
fn subflows_of_mptcp_are_among_the_rest(_: &Namespace) -> Result<()> {
    let _connection = mptcp_pair(Family::Ipv4)?;
    let all = who(&["--netns=self"])?;
    assert_eq!((all.sockets, all.not_held.other), (0, Some(3)), "{all:#?}");
    Ok(())
}
