//! What an unprivileged user sees: all with two capabilities, and without them what that user's processes hold.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use tcpstat_tests::binary::output;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::owned_child::OwnedChild;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::tcp::State;
use tcpstat_tests::unprivileged::{
    BPF_CAPABILITIES, NO_CAPABILITIES, NOBODY, ReachableBinary, as_nobody,
};
use tcpstat_tests::who::{DESCRIPTORS, ITERATOR, Who, kernel_has_iterator};

use crate::links::{accepted, links};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        without_capabilities_a_user_sees_the_own_processes_and_how_many_are_hidden,
        without_capabilities_the_table_does_not_say_that_nobody_holds_a_socket,
        with_two_capabilities_an_unprivileged_user_sees_the_sockets_of_all_processes
    ]
}

/// Runs `tcpstat who --json` as nobody.
fn who_as_nobody(capabilities: &str, args: &[&str]) -> Result<Who> {
    let binary = ReachableBinary::copy()?;
    Who::of(&output(binary.command(capabilities).args(["who", "--json"]).args(args))?)
}

/// A process of nobody with a socket as its standard input.
fn holder_of_nobody(socket: OwnedFd) -> Result<OwnedChild> {
    let mut command = as_nobody(NO_CAPABILITIES);
    command.args(["sleep", "1000"]).stdin(socket);
    let process = OwnedChild::from(command.spawn().context("start setpriv (util-linux)")?);
    let name = format!("/proc/{}/comm", process.id());
    // Until then setpriv runs.
    wait_until("sleep", DEADLINE, || {
        let name = fs::read_to_string(&name)?;
        let runs = name == "sleep\n";
        Ok(if runs { Progress::Done(()) } else { Progress::NotYet(name) })
    })?;
    Ok(process)
}

/// Processes of other users that run a program. Threads of the kernel run none.
fn processes_of_others() -> Result<BTreeSet<u32>> {
    let mut others = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended.
        let owner = entry.metadata().map(|file| file.uid());
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if owner.is_ok_and(|owner| owner != NOBODY) && !line.is_empty() {
            others.insert(pid);
        }
    }
    Ok(others)
}

fn without_capabilities_a_user_sees_the_own_processes_and_how_many_are_hidden(
    own: &Namespace,
) -> Result<()> {
    let mut hidden = Holder::start("hidden")?;
    let (served, clients) = accepted(links(7_000, 4)?);
    hidden.take(&served[1..])?;
    let mut served = served.into_iter();
    let shown = holder_of_nobody(served.next().context("a socket")?.into())?;
    drop(served);
    let before = processes_of_others()?;
    let who = who_as_nobody(NO_CAPABILITIES, &["established"])?;
    let after = processes_of_others()?;
    assert_eq!(who.source, DESCRIPTORS);
    let row = who.row_of(&[shown.id()])?;
    row.ensure_states(&[(State::Established, 1)])?;
    ensure!(row.processes[0].command() == "sleep", "{row:?}");
    ensure!(row.local_ports.iter().all(|port| port.port == 7_000), "{row:?}");
    ensure!(!who.shows(hidden.pid()), "{who:#?}");
    let least = before.intersection(&after).count() as u64;
    ensure!(least >= 2 && who.processes_not_visible >= least, "{least} are hidden: {who:#?}");
    ensure!(row.netns.inode.is_none_or(|inode| inode == own.inum()), "{row:?}");
    drop(clients);
    Ok(())
}

fn without_capabilities_the_table_does_not_say_that_nobody_holds_a_socket(
    _: &Namespace,
) -> Result<()> {
    let binary = ReachableBinary::copy()?;
    let mut hidden = Holder::start("hidden")?;
    // A port of its own: the command sees the sockets of other tests' processes.
    let (served, _clients) = accepted(links(7_321, 1)?);
    hidden.take(&served)?;
    drop(served);
    let mut command = binary.command(NO_CAPABILITIES);
    let run = output(command.args(["who", "established", "--port=7321"]))?;
    ensure!(run.status == Some(0), "{run:?}");
    for part in ["no visible process holds", "processes not visible: run as root"] {
        ensure!(run.stdout.contains(part), "{part}: {run:?}");
    }
    Ok(())
}

fn with_two_capabilities_an_unprivileged_user_sees_the_sockets_of_all_processes(
    own: &Namespace,
) -> Result<()> {
    // Before 5.11 the kernel charges maps to this limit, and the two capabilities may not raise it.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let mut holder = Holder::start("of-root")?;
    let (served, clients) = accepted(links(7_000, 3)?);
    holder.take(&served)?;
    drop(served);
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Leak(2))?;
    let who = who_as_nobody(BPF_CAPABILITIES, &["established", "close_wait"])?;
    if !kernel_has_iterator()? {
        assert_eq!(who.source, DESCRIPTORS);
        ensure!(who.processes_not_visible > 0 && !who.shows(holder.pid()), "{who:#?}");
        return Ok(());
    }
    assert_eq!((who.source.as_str(), who.processes_not_visible), (ITERATOR, 0));
    let row = who.row_of(&[holder.pid()])?;
    row.ensure_states(&[(State::Established, 3)])?;
    ensure!(row.processes[0].command() == "of-root", "{row:?}");
    who.row_of(&[resident.pid()])?.ensure_states(&[(State::CloseWait, 2)])?;
    ensure!(row.netns.inode.is_none_or(|inode| inode == own.inum()), "{row:?}");
    drop(clients);
    Ok(())
}
