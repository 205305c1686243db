//! Sockets with several descriptors are counted once.

use std::io::IoSlice;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::{process, thread};

use anyhow::{Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};
use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tcpstat_tests::guest::is_guest;
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::State;
use tcpstat_tests::who::{kernel_has_iterator, who};

use crate::links::{accepted, links};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_socket_that_a_child_inherited_is_in_one_row_with_both,
        a_socket_that_was_sent_to_another_process_is_in_one_row_with_both,
        a_socket_with_two_descriptors_of_one_process_counts_once,
        a_socket_that_many_processes_share_has_one_row,
        a_socket_that_is_being_sent_is_held_by_nobody,
        a_socket_of_a_thread_with_descriptors_of_its_own_is_counted
    ]
}

/// What the parent takes later, the child does not have.
fn a_socket_that_a_child_inherited_is_in_one_row_with_both(own: &Namespace) -> Result<()> {
    let mut parent = Holder::start("parent")?;
    let (served, _clients) = accepted(links(7_000, 5)?);
    parent.take(&served[..3])?;
    let child = parent.fork()?;
    parent.take(&served[3..])?;
    drop(served);
    let all = who(&["established", "--netns=self"])?;
    let shared = all.row_of(&[parent.pid(), child])?;
    shared.ensure_states(&[(State::Established, 3)])?;
    ensure!(shared.processes.iter().all(|one| one.command() == "parent"), "{shared:?}");
    all.row_of(&[parent.pid()])?.ensure_states(&[(State::Established, 2)])?;
    // These and the clients of this process.
    assert_eq!((all.in_namespace(own.inum()).len(), all.sockets), (3, 10));

    let of_child = who(&["established", &format!("--pid={child}")])?;
    assert_eq!((of_child.holders.len(), of_child.sockets), (1, 3));
    of_child.row_of(&[parent.pid(), child])?;
    let of_parent = who(&["established", &format!("--pid={}", parent.pid())])?;
    assert_eq!((of_parent.holders.len(), of_parent.sockets), (2, 5));

    parent.close()?;
    let all = who(&["established"])?;
    all.row_of(&[child])?.ensure_states(&[(State::Established, 3)])?;
    ensure!(!all.shows(parent.pid()), "{all:#?}");
    Ok(())
}

fn a_socket_that_was_sent_to_another_process_is_in_one_row_with_both(_: &Namespace) -> Result<()> {
    let (mut one, mut two) = (Holder::start("one")?, Holder::start("two")?);
    let (served, clients) = accepted(links(7_000, 4)?);
    one.take(&served[..3])?;
    two.take(&served[1..])?;
    drop(served);
    let all = who(&["established", "--netns=self"])?;
    let shared = all.row_of(&[one.pid(), two.pid()])?;
    shared.ensure_states(&[(State::Established, 2)])?;
    let mut commands: Vec<_> = shared.processes.iter().map(|one| one.command()).collect();
    commands.sort_unstable();
    assert_eq!(commands, ["one", "two"]);
    for holder in [&one, &two] {
        all.row_of(&[holder.pid()])?.ensure_states(&[(State::Established, 1)])?;
    }
    assert_eq!(all.sockets, 8);
    drop(clients);
    Ok(())
}

fn a_socket_with_two_descriptors_of_one_process_counts_once(_: &Namespace) -> Result<()> {
    let mut holder = Holder::start("twice")?;
    let (served, _clients) = accepted(links(7_000, 2)?);
    holder.take(&served)?;
    drop(served);
    holder.duplicate()?;
    holder.duplicate()?;
    let who = who(&["established", &format!("--pid={}", holder.pid())])?;
    assert_eq!((who.holders.len(), who.sockets), (1, 2));
    who.row_of(&[holder.pid()])?.ensure_states(&[(State::Established, 2)])
}

/// The row need not show all of them: it says how many it does not show.
fn a_socket_that_many_processes_share_has_one_row(_: &Namespace) -> Result<()> {
    let children = if is_guest() { 8 } else { 30 };
    let mut parent = Holder::start("prefork")?;
    let (served, _clients) = accepted(links(7_000, 2)?);
    parent.take(&served)?;
    drop(served);
    let mut pids = vec![parent.pid()];
    for _ in 0..children {
        pids.push(parent.fork()?);
    }
    let all = who(&["established", "--netns=self"])?;
    let is_of_them = |pid: &u32| pids.contains(pid);
    let rows: Vec<_> = all.holders.iter().filter(|row| row.pids().iter().any(is_of_them)).collect();
    ensure!(rows.len() == 1 && rows[0].sockets == 2, "{all:#?}");
    ensure!(rows[0].pids().iter().all(is_of_them), "{all:#?}");
    assert_eq!(rows[0].processes.len() as u64 + rows[0].more_processes, pids.len() as u64);
    assert_eq!(all.sockets, 4);
    Ok(())
}

/// The only reference is in the queue of a UNIX socket.
fn a_socket_that_is_being_sent_is_held_by_nobody(_: &Namespace) -> Result<()> {
    let (sender, _receiver) = UnixStream::pair()?;
    let (served, clients) = accepted(links(7_000, 1)?);
    let before = who(&["--netns=self"])?;
    assert_eq!((before.sockets, before.not_held.other), (2, Some(0)), "{before:#?}");
    let descriptors = [served[0].as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ensure!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)), "no space");
    sendmsg(&sender, &[IoSlice::new(b"x")], &mut ancillary, SendFlags::empty())?;
    drop(served);
    let after = who(&["--netns=self"])?;
    assert_eq!((after.sockets, after.not_held.other), (1, Some(1)), "{after:#?}");
    drop(clients);
    Ok(())
}

/// /proc/PID/fd shows the descriptors of the first thread only.
fn a_socket_of_a_thread_with_descriptors_of_its_own_is_counted(_: &Namespace) -> Result<()> {
    let (made, ready) = channel();
    let (end, ended) = channel::<()>();
    let thread = thread::spawn(move || -> Result<()> {
        unshare(CloneFlags::CLONE_FILES)?;
        made.send(links(7_000, 3)?)?;
        // It ends with its sender.
        ended.recv().unwrap_or_default();
        Ok(())
    });
    // The descriptors are numbers of the other thread.
    let kept = ready.recv()?.into_iter().map(ManuallyDrop::new).collect::<Vec<_>>();
    let all = who(&["--netns=self"])?;
    let found = (all.sockets, all.not_held.other);
    if kernel_has_iterator()? {
        all.row_of(&[process::id()])?.ensure_states(&[(State::Established, 6)])?;
        assert_eq!(found, (6, Some(0)), "{all:#?}");
    } else {
        assert_eq!(found.0 + found.1.unwrap_or_default(), 6, "{all:#?}");
    }
    drop((end, kept));
    thread.join().map_err(|_| anyhow!("the thread panicked"))?
}
