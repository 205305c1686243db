//! Without BPF the descriptors of /proc show the same of each process, except ages and limits of queues.

use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::seccomp::{BpfCommand, refuse};
use tcpstat_tests::tcp::State;
use tcpstat_tests::who::{DESCRIPTORS, Peer, Who, unreadable_processes};

use crate::links::{accepted, connect, half_close, links};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        without_bpf_root_sees_the_sockets_of_all_processes,
        without_bpf_a_shared_socket_counts_once,
        without_bpf_an_accept_queue_has_its_process_and_its_length,
        without_bpf_no_age_is_known_and_a_least_age_is_refused
    ]
}

/// Runs it as root, and lets the kernel refuse every program.
fn who(args: &[&str]) -> Result<Who> {
    refuse(&[BpfCommand::MapCreate, BpfCommand::ProgLoad], Errno::EPERM)?;
    let who = Who::of(&tcpstat([&["who", "--json"], args].concat())?)?;
    let hidden = unreadable_processes()?;
    assert_eq!((who.source.as_str(), who.processes_not_visible), (DESCRIPTORS, hidden));
    Ok(who)
}

fn without_bpf_root_sees_the_sockets_of_all_processes(own: &Namespace) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Leak(4))?;
    let mut holder = Holder::start("server")?;
    let (listener, links) = connect((Ipv4Addr::LOCALHOST, 7_000), 5)?;
    half_close(&links[..2])?;
    let (served, _clients) = accepted(links);
    holder.take(&served)?;
    holder.take([&listener])?;
    drop((served, listener));
    let all = who(&[])?;
    let row = all.row_of(&[holder.pid()])?;
    row.ensure_states(&[(State::CloseWait, 2), (State::Established, 3), (State::Listen, 1)])?;
    ensure!(row.netns.inode == Some(own.inum()), "{row:?}");
    ensure!(row.processes[0].command() == "server", "{row:?}");
    assert_eq!((row.local_ports.len(), row.local_ports[0].port), (1, 7_000));
    assert_eq!(row.peers, [Peer { address: "127.0.0.1".to_owned(), port: None, sockets: 5 }]);
    let leaking = who(&["close_wait"])?;
    let row = leaking.row_of(&[resident.pid()])?;
    row.ensure_states(&[(State::CloseWait, 4)])?;
    ensure!(row.netns.inode == Some(resident.inum()?), "{row:?}");
    leaking.row_of(&[holder.pid()])?.ensure_states(&[(State::CloseWait, 2)])
}

fn without_bpf_a_shared_socket_counts_once(_: &Namespace) -> Result<()> {
    let (mut parent, mut other) = (Holder::start("parent")?, Holder::start("other")?);
    let (served, _clients) = accepted(links(7_000, 6)?);
    parent.take(&served[..4])?;
    parent.duplicate()?;
    let child = parent.fork()?;
    other.take(&served[3..])?;
    drop(served);
    let all = who(&["established", "--netns=self"])?;
    for (pids, sockets) in [
        (&[parent.pid(), child][..], 3),
        (&[parent.pid(), child, other.pid()], 1),
        (&[other.pid()], 2),
    ] {
        all.row_of(pids)?.ensure_states(&[(State::Established, sockets)])?;
    }
    ensure!(all.sockets == 12 && all.other_is(0), "{all:#?}");
    Ok(())
}

fn without_bpf_an_accept_queue_has_its_process_and_its_length(own: &Namespace) -> Result<()> {
    let mut stuck = Holder::start("stuck")?;
    let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    listener.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 7_000)).into())?;
    listener.listen(16)?;
    stuck.take([&listener])?;
    drop(listener);
    let connect = |_| Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, 7_000))?);
    let _clients = (0..4).map(connect).collect::<Result<Vec<_>>>()?;
    let all = who(&["--netns=self"])?;
    let queue = all.not_held.accept_queues.first().context("no queue")?;
    assert_eq!((queue.port, queue.length, queue.netns.inode), (7_000, 4, Some(own.inum())));
    let [process] = &queue.processes[..] else { anyhow::bail!("{queue:?}") };
    ensure!((process.pid, process.command()) == (stuck.pid(), "stuck"), "{queue:?}");
    ensure!(all.sockets == 5 && all.other_is(0), "{all:#?}");
    Ok(())
}

/// It would show nothing, which looks as if nothing were old.
fn without_bpf_no_age_is_known_and_a_least_age_is_refused(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("leaker")?;
    let links = links(7_000, 1)?;
    half_close(&links)?;
    let (served, _clients) = accepted(links);
    holder.take(&served)?;
    drop(served);
    let shown = who(&["close_wait"])?;
    assert_eq!(shown.row_of(&[holder.pid()])?.oldest_seconds, None);
    let run = tcpstat(["who", "--older-than=1s"])?;
    ensure!(run.status == Some(1) && run.stdout.is_empty(), "{run:?}");
    ensure!(
        run.stderr.contains("--older-than") && run.stderr.contains("iter/task_file"),
        "{run:?}"
    );
    Ok(())
}
