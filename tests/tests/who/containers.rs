//! Processes in real containers: the row names the container.

use std::fs;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::container::{Container, Maker, random_uid};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::Order;
use tcpstat_tests::tcp::State;
use tcpstat_tests::who::who;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_leak_in_a_container_is_under_its_process_and_its_name,
        two_containers_of_a_pod_have_a_row_each
    ]
}

/// Two are of docker, and two of a kubelet.
fn a_leak_in_a_container_is_under_its_process_and_its_name(_: &Namespace) -> Result<()> {
    let mut containers = Vec::new();
    for maker in [
        Maker::Docker,
        Maker::DockerWithSystemd,
        Maker::Kubelet(random_uid()),
        Maker::KubeletWithSystemd(random_uid()),
    ] {
        containers.push(Container::run(maker)?);
    }
    for (container, leaked) in containers.iter_mut().zip(3..) {
        container.resident.order(&Order::Leak(leaked))?;
    }
    let all = who(&["close_wait"])?;
    for (container, leaked) in containers.iter().zip(3..) {
        let row = all.row_of(&[container.resident.pid()])?;
        row.ensure_states(&[(State::CloseWait, leaked)])?;
        ensure!(row.netns.inode == Some(container.resident.inum()?), "{row:?}");
        let cgroup = row.cgroup.as_deref().unwrap_or_default();
        ensure!(cgroup == own_cgroup(container.resident.pid())?, "{row:?}");
        let (name, scope) = (row.name.as_deref().unwrap_or_default(), &row.netns.name);
        let short_id = &container.id()[..12];
        ensure!(name.contains(short_id), "{short_id}: {row:?}");
        let known = container.maker().pod_uid().unwrap_or(short_id);
        ensure!(scope == known, "{known}: {row:?}");
        let alone = who(&["close_wait", "--netns", known])?;
        assert_eq!((alone.holders.len(), alone.sockets), (1, leaked), "{known}");
    }
    Ok(())
}

/// The cgroup of a process, which is the same in every hierarchy.
fn own_cgroup(pid: u32) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = text.lines().next().and_then(|line| line.splitn(3, ':').nth(2));
    Ok(path.context("no cgroup")?.to_owned())
}

fn two_containers_of_a_pod_have_a_row_each(_: &Namespace) -> Result<()> {
    let mut first = Container::run(Maker::Kubelet(random_uid()))?;
    let mut second = first.beside()?;
    first.resident.order(&Order::Leak(2))?;
    second.resident.order(&Order::Leak(5))?;
    let who = who(&["close_wait"])?;
    for (container, leaked) in [(&first, 2), (&second, 5)] {
        let row = who.row_of(&[container.resident.pid()])?;
        row.ensure_states(&[(State::CloseWait, leaked)])?;
        let name = row.name.as_deref().unwrap_or_default();
        ensure!(name.contains(&container.id()[..12]), "{row:?}");
    }
    assert_eq!(who.in_namespace(first.resident.inum()?).len(), 2);
    Ok(())
}
