//! The ids of processes are those of the PID namespace that `who` runs in.

use anyhow::Result;
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::pid_namespace::as_process_1;
use tcpstat_tests::tcp::State;
use tcpstat_tests::who::who;

use crate::links::{accepted, links};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![in_a_pid_namespace_processes_have_the_ids_that_they_have_there]
}

fn in_a_pid_namespace_processes_have_the_ids_that_they_have_there(_: &Namespace) -> Result<()> {
    as_process_1(1, processes_have_the_ids_that_they_have_here)
}

fn processes_have_the_ids_that_they_have_here() -> Result<()> {
    let mut holder = Holder::start("inside")?;
    let (served, clients) = accepted(links(7_000, 2)?);
    holder.take(&served)?;
    drop(served);
    let child = holder.fork()?;
    let all = who(&["established", "--netns=self"])?;
    all.row_of(&[holder.pid(), child])?.ensure_states(&[(State::Established, 2)])?;
    all.row_of(&[1])?.ensure_states(&[(State::Established, 2)])?;
    assert_eq!((all.holders.len(), all.sockets), (2, 4), "{all:#?}");
    drop(clients);
    Ok(())
}
