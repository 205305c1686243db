//! Containers, with the cgroups that their makers give them.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use tcpstat_tests::container::{Container, Maker, random_uid};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::Order;
use tcpstat_tests::scopes::counts_of;
use tcpstat_tests::tcp::State;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        containers_have_the_cgroups_of_their_makers_and_leave_none,
        the_containers_of_a_pod_share_its_namespace
    ]
}

fn containers_have_the_cgroups_of_their_makers_and_leave_none(_: &Namespace) -> Result<()> {
    let makers = [
        Maker::Kubelet(random_uid()),
        Maker::KubeletWithSystemd(random_uid()),
        Maker::Docker,
        Maker::DockerWithSystemd,
    ];
    for maker in makers {
        let container = Container::run(maker)?;
        let process = format!("/proc/{}", container.resident.pid());
        let path = container.scope_path();
        let cgroups = fs::read_to_string(format!("{process}/cgroup"))?;
        ensure!(cgroups.lines().all(|line| line.contains(&path)), "{path}: {cgroups}");
        drop(container);
        ensure!(!Path::new(&process).exists(), "{process} runs");
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        for mount in mounts.lines().filter(|line| line.contains(" - cgroup")) {
            let folder = mount.split(' ').nth(4).unwrap_or_default();
            let left = format!("{folder}{path}");
            ensure!(!Path::new(&left).exists(), "{left} is left");
        }
    }
    Ok(())
}

fn the_containers_of_a_pod_share_its_namespace(_: &Namespace) -> Result<()> {
    let first = Container::run(Maker::Kubelet(random_uid()))?;
    let mut second = first.beside()?;
    second.resident.order(&Order::Connect(2))?;
    assert_eq!(first.resident.inum()?, second.resident.inum()?);
    assert_eq!(first.scope_path(), second.scope_path());
    assert_eq!(counts_of(first.resident.pid())?[&State::Established], 4);
    Ok(())
}
