//! Real containers: what leaks is named by the metrics alone.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::container::{Container, Maker, random_uid};
use tcpstat_tests::deadline::{DEADLINE, Progress, poll, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::Order;
use tcpstat_tests::scopes::{Labels, all_namespaces, await_info, await_right, gauges, infos};
use tcpstat_tests::tcp::State;
use tempfile::TempDir;

const LEAKED: u64 = 1000;

/// What the kubelet makes a directory of, and the name of such a pod.
const POD: (&str, &str) = ("shop", "web-5c689d7589-abcde");

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_leak_of_1000_sockets_in_one_of_five_containers_is_named_by_metrics_alone,
        the_containers_of_a_pod_are_one_namespace,
        a_container_that_ends_takes_its_series_with_it
    ]
}

/// One container of each kind, and a pod whose name is known.
fn five() -> Result<[Container; 5]> {
    Ok([
        Container::run(Maker::Kubelet(random_uid()))?,
        Container::run(Maker::KubeletWithSystemd(random_uid()))?,
        Container::run(Maker::Docker)?,
        Container::run(Maker::DockerWithSystemd)?,
        Container::run(Maker::Kubelet(random_uid()))?,
    ])
}

/// Each of them leaks in turn. The last two of the five are there before the exporter.
fn a_leak_of_1000_sockets_in_one_of_five_containers_is_named_by_metrics_alone(
    _: &Namespace,
) -> Result<()> {
    let mut containers = five()?;
    let pods = pods_folder(&containers[4])?;
    let path = pods.path().to_str().context("a path in UTF-8")?;
    let last = &mut containers[4];
    last.resident.order(&Order::Leak(LEAKED.try_into()?))?;
    let mut exporter = all_namespaces(&["--snapshot-interval=1h", "--path.pods", path]).start()?;
    assert_named(&mut exporter, last, Some(POD))?;
    last.resident.order(&Order::Close)?;
    for container in &mut containers[..4] {
        container.resident.order(&Order::Leak(LEAKED.try_into()?))?;
        assert_named(&mut exporter, container, None)?;
        container.resident.order(&Order::Close)?;
        await_right_close_wait(&mut exporter, container)?;
    }
    Ok(())
}

/// Waits until one namespace alone has exactly the leaked sockets, and compares all of its labels.
fn assert_named(
    exporter: &mut Exporter,
    container: &Container,
    pod: Option<(&str, &str)>,
) -> Result<()> {
    let leaking = wait_until("leak in one namespace", DEADLINE, || {
        let scrape = exporter.scrape()?;
        let leaking = with_close_wait(&scrape)?;
        Ok(match &leaking[..] {
            [(labels, LEAKED)] => Progress::Done(labels.clone()),
            _ => Progress::NotYet(format!("{leaking:?}")),
        })
    });
    let labels = leaking.with_context(|| exporter.log())?;
    let uid = container.maker().pod_uid();
    let (namespace, name) = pod.unwrap_or_default();
    let known = |label: &str| match label {
        "netns" => match (pod, uid) {
            (Some((namespace, name)), _) => format!("{namespace}/{name}"),
            (None, Some(uid)) => uid.to_owned(),
            (None, None) => container.id()[..12].to_owned(),
        },
        "kind" => if uid.is_some() { "pod" } else { "container" }.to_owned(),
        "namespace" => namespace.to_owned(),
        "pod" => name.to_owned(),
        "pod_uid" => uid.unwrap_or_default().to_owned(),
        "container" if uid.is_none() => container.id().to_owned(),
        "cgroup" => container.scope_path(),
        _ => String::new(),
    };
    for (label, value) in labels.iter().filter(|(label, _)| *label != "inode") {
        ensure!(*value == known(label), "{label}: {value:?}, not {:?}: {labels:?}", known(label));
    }
    ensure!(labels.len() == 8, "{labels:?}");
    ensure!(labels["inode"] == container.resident.inum()?.to_string(), "{labels:?}");
    Ok(())
}

fn with_close_wait(scrape: &Scrape) -> Result<Vec<(Labels, u64)>> {
    let mut found = Vec::new();
    for labels in infos(scrape)? {
        let gauges = gauges(scrape, &labels["netns"])?.unwrap_or_default();
        let leaked = gauges.get(&State::CloseWait).copied().unwrap_or_default();
        if leaked > 0 {
            found.push((labels, leaked));
        }
    }
    Ok(found)
}

fn await_right_close_wait(exporter: &mut Exporter, container: &Container) -> Result<()> {
    let name = await_info(exporter, container.resident.inum()?, |_| true)?["netns"].clone();
    wait_until("end of the leak", DEADLINE, || {
        let gauges = gauges(&exporter.scrape()?, &name)?.context("no gauges")?;
        Ok(match gauges[&State::CloseWait] {
            0 => Progress::Done(()),
            left => Progress::NotYet(left.to_string()),
        })
    })
}

/// A folder like /var/log/pods, with the directory of one pod.
fn pods_folder(container: &Container) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let uid = container.maker().pod_uid().context("a pod")?;
    let (namespace, name) = POD;
    fs::create_dir(folder.path().join(format!("{namespace}_{name}_{uid}")))?;
    Ok(folder)
}

fn the_containers_of_a_pod_are_one_namespace(_: &Namespace) -> Result<()> {
    let mut exporter = all_namespaces(&["--snapshot-interval=1h"]).start()?;
    let uid = random_uid();
    let mut first = Container::run(Maker::KubeletWithSystemd(uid.clone()))?;
    let mut second = first.beside()?;
    first.resident.order(&Order::Connect(1))?;
    second.resident.order(&Order::Connect(2))?;
    let labels =
        await_info(&mut exporter, first.resident.inum()?, |labels| labels["kind"] == "pod")?;
    ensure!(labels["netns"] == uid && labels["pod_uid"] == uid, "{labels:?}");
    let (_, gauges) = await_right(&mut exporter, second.resident.pid())?;
    assert_eq!(gauges[&State::Established], 6);
    // The first goes, the pod stays.
    drop(first);
    let (name, gauges) = await_right(&mut exporter, second.resident.pid())?;
    assert_eq!((name, gauges[&State::Established]), (uid, 4));
    Ok(())
}

fn a_container_that_ends_takes_its_series_with_it(_: &Namespace) -> Result<()> {
    let mut exporter = all_namespaces(&["--snapshot-interval=1h"]).start()?;
    let mut container = Container::run(Maker::Docker)?;
    container.resident.order(&Order::Connect(3))?;
    let (name, _) = await_right(&mut exporter, container.resident.pid())?;
    drop(container);
    // Without another namespace that makes the exporter search.
    let gone = poll("end of the series", 3 * DEADLINE, Duration::from_millis(100), || {
        let scrape = exporter.scrape()?;
        let left = scrape.samples.iter().find(|sample| sample.labels.get("netns") == Some(&name));
        Ok(left.map_or(Progress::Done(()), |left| Progress::NotYet(format!("{left:?}"))))
    });
    gone.with_context(|| exporter.log())
}
