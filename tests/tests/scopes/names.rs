//! The names of namespaces that belong to no container.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::cgroups;
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::scopes::{
    HOST, all_namespaces, await_info, await_right, await_search, counts, infos, live_namespaces,
};
use tcpstat_tests::tcp::{Family, State};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_namespace_of_process_1_is_host,
        the_own_namespace_is_one_of_all,
        a_namespace_of_ip_netns_has_its_name,
        a_namespace_that_nothing_names_has_its_inode,
        a_namespace_that_is_named_later_gets_the_name,
        without_the_flag_there_are_no_scopes,
        the_namespace_of_a_path_is_counted_alone
    ]
}

fn exporter() -> Result<Exporter> {
    all_namespaces(&["--snapshot-interval=1h"]).start()
}

fn the_namespace_of_process_1_is_host(namespace: &Namespace) -> Result<()> {
    let mut exporter = exporter()?;
    let inum = inum_of_process_1()?;
    let labels = await_info(&mut exporter, inum, |_| true)?;
    ensure!(labels["netns"] == HOST && labels["kind"] == HOST, "{labels:?}");
    ensure!(labels["cgroup"].is_empty() && labels["container"].is_empty(), "{labels:?}");
    // That of the exporter is another one here.
    let labels = await_info(&mut exporter, namespace.inum(), |_| true)?;
    ensure!(labels["netns"] != HOST && labels["kind"] != HOST, "{labels:?}");
    Ok(())
}

/// Some machines do not let root read `/proc/1/ns/net`: the number of a process with the same `net/tcp`.
fn inum_of_process_1() -> Result<u64> {
    let table = |pid: u32| Some(fs::metadata(format!("/proc/{pid}/net/tcp")).ok()?.ino());
    let live = live_namespaces()?;
    let same = live.into_iter().find(|(_, pid)| table(*pid) == table(1));
    Ok(same.context("no process in the namespace of process 1")?.0)
}

fn the_own_namespace_is_one_of_all(_: &Namespace) -> Result<()> {
    let mut exporter = exporter()?;
    let (_, gauges) = await_right(&mut exporter, process::id())?;
    // The exporter's listener, and both ends of the scrape.
    assert_eq!((gauges[&State::Listen], gauges[&State::Established]), (1, 2));
    assert_eq!(gauges, counts(&exporter.scrape()?.connections()?));
    Ok(())
}

/// A /run of the test alone, so that its names are gone after it.
fn own_run() -> Result<PrivateMounts> {
    let mounts = PrivateMounts::enter()?;
    mounts.empty(Path::new("/run"))?;
    Ok(mounts)
}

fn a_namespace_of_ip_netns_has_its_name(namespace: &Namespace) -> Result<()> {
    let _mounts = own_run()?;
    namespace.ip(&["netns add blue", "netns add green"])?;
    let mut exporter = exporter()?;
    for name in ["blue", "green"] {
        let path = Path::new("/run/netns").join(name);
        let mut resident = Resident::start()?;
        resident.order(&Order::Enter(path))?;
        cgroups::move_to_root(resident.pid())?;
        let _newest = await_search(&mut exporter)?;
        let labels = await_info(&mut exporter, resident.inum()?, |labels| labels["netns"] == name)?;
        ensure!(labels["kind"] == "named" && labels["container"].is_empty(), "{labels:?}");
    }
    Ok(())
}

fn a_namespace_that_nothing_names_has_its_inode(_: &Namespace) -> Result<()> {
    let resident = Resident::in_new_namespace()?;
    cgroups::move_to_root(resident.pid())?;
    let mut exporter = exporter()?;
    let labels = await_info(&mut exporter, resident.inum()?, |_| true)?;
    ensure!(labels["kind"] == "unnamed" && labels["netns"] == labels["inode"], "{labels:?}");
    let other = ["namespace", "pod", "pod_uid", "container"].map(|label| labels[label].as_str());
    ensure!(other == [""; 4], "{labels:?}");
    Ok(())
}

fn a_namespace_that_is_named_later_gets_the_name(namespace: &Namespace) -> Result<()> {
    let _mounts = own_run()?;
    let mut resident = Resident::in_new_namespace()?;
    cgroups::move_to_root(resident.pid())?;
    resident.order(&Order::Connect(2))?;
    let mut exporter = exporter()?;
    let inode = await_info(&mut exporter, resident.inum()?, |_| true)?["netns"].clone();
    namespace.ip(&[&format!("netns attach late {}", resident.pid())])?;
    let _newest = await_search(&mut exporter)?;
    let labels = await_info(&mut exporter, resident.inum()?, |labels| labels["netns"] == "late")?;
    ensure!(labels["kind"] == "named", "{labels:?}");
    let (_, gauges) = await_right(&mut exporter, resident.pid())?;
    assert_eq!(gauges[&State::Established], 4);
    let scrape = exporter.scrape()?;
    let left = scrape.samples.iter().find(|sample| sample.labels.get("netns") == Some(&inode));
    ensure!(left.is_none(), "the name before is exported, too: {left:?}");
    Ok(())
}

fn without_the_flag_there_are_no_scopes(_: &Namespace) -> Result<()> {
    let _other = Resident::in_new_namespace()?;
    let scrape = Exporter::start(&[])?.scrape()?;
    let of_scopes = ["tcpstat_netns_", "tcpstat_scopes", "container_network_"];
    let is_of_scopes = |name: &str| of_scopes.iter().any(|prefix| name.starts_with(prefix));
    let names: Vec<_> = scrape.types.keys().filter(|name| is_of_scopes(name)).collect();
    ensure!(names.is_empty(), "{names:?}");
    Ok(())
}

/// The exporter listens in the namespace where it started, and counts another one.
fn the_namespace_of_a_path_is_counted_alone(_: &Namespace) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Connect(7))?;
    let file = resident.namespace_file();
    let path = file.to_str().context("a path in UTF-8")?;
    let mut exporter =
        Options::default().args(["--netns", path, "--snapshot-interval=1h"]).start()?;
    assert_eq!(exporter.scrape()?.connections()?, proc_view::connections_of(resident.pid())?);
    resident.order(&Order::Close)?;
    resident.order(&Order::Connect(2))?;
    let scrape = exporter.scrape()?;
    assert_eq!(scrape.connections()?[&(Family::Ipv4, State::Established)], 4);
    assert_eq!(infos(&scrape)?.len(), 0);
    Ok(())
}
