//! A process id that the kernel gives to a process in another namespace.

use std::env;
use std::fs::{self, File};
use std::process::{self, Command};

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::exporter::FREQUENT_SNAPSHOTS;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::{Namespace, within};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{all_namespaces, await_gone, await_right, await_search};
use tcpstat_tests::tcp::{Family, State};

use crate::is_guest;
use crate::lifetimes::await_snapshot;

/// The id that the kernel gave last, in the PID namespace of the writer.
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Others may take the id.
const ATTEMPTS: usize = 20;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![a_process_id_that_is_used_again_shows_no_numbers_of_another_namespace]
}

/// Ids are chosen in a guest, or in a PID namespace of the test alone. There the exporter has no tracer: its
/// iterator knows the ids of the machine alone.
fn a_process_id_that_is_used_again_shows_no_numbers_of_another_namespace(
    _: &Namespace,
) -> Result<()> {
    if is_guest() {
        return used_again(&FREQUENT_SNAPSHOTS, true);
    }
    if process::id() == 1 {
        return used_again(&[&["--tracer=off"], &FREQUENT_SNAPSHOTS[..]].concat(), false);
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(env::current_exe()?);
    let status = unshare.status().context("start unshare (util-linux)")?;
    ensure!(status.success(), "the test in a PID namespace: {status}");
    Ok(())
}

fn used_again(args: &[&str], with_tracer: bool) -> Result<()> {
    let mut exporter = all_namespaces(args).start()?;
    let first = Resident::in_new_namespace()?;
    let held = within(&File::open(first.namespace_file())?, || Pairs::connect(3, Family::Ipv4))?;
    let (first_name, first_gauges) = await_right(&mut exporter, first.pid())?;
    let id = first.pid();
    first.end()?;

    let mut second = with_id(id)?;
    second.order(&Order::NewNamespace)?;
    second.order(&Order::Connect(5))?;
    let (second_name, second_gauges) =
        await_right(&mut exporter, second.pid()).with_context(|| exporter.log())?;
    ensure!(second_gauges[&State::Established] == 10, "{second_gauges:?}");
    ensure!(first_name != second_name, "two namespaces are one: {first_name}");
    if with_tracer {
        await_snapshot(&mut exporter, second.pid(), (&first_name, &first_gauges))?;
        let newest = await_search(&mut exporter)?;
        await_snapshot(&mut exporter, newest.pid(), (&first_name, &first_gauges))?;
        drop(held);
    }
    await_gone(&mut exporter, &first_name).with_context(|| exporter.log())
}

/// A process of that id, which is free.
fn with_id(id: u32) -> Result<Resident> {
    for _ in 0..ATTEMPTS {
        fs::write(LAST_PID, (id - 1).to_string()).context(LAST_PID)?;
        let resident = Resident::start()?;
        if resident.pid() == id {
            return Ok(resident);
        }
    }
    bail!("no process gets the id {id}")
}
