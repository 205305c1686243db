//! Which namespace a procfs shows: the mount at /proc, the procfs of the host in a container, or one process.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::binary::{output, path_from, tcpstat};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS, Options};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::{Elsewhere, Namespace, elsewhere};
use tcpstat_tests::owned_child::OwnedChild;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::unprivileged::{NO_CAPABILITIES, ReachableBinary};
use tempfile::TempDir;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_procfs_of_the_host_is_refused_in_a_container_with_a_remedy,
        process_1_of_the_host_can_be_observed_from_a_container,
        the_own_namespace_is_counted_if_it_is_requested,
        a_tracer_counts_if_the_process_is_in_the_own_namespace,
        a_process_in_another_namespace_is_observed_by_snapshots_with_one_warning,
        a_process_that_changes_its_namespace_is_no_longer_observed,
        the_default_procfs_is_never_refused,
        nothing_is_refused_if_process_1_is_hidden
    ]
}

/// A folder on which the machine's /proc is mounted too, as in a container.
fn host_proc(mounts: &PrivateMounts) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    mounts.replace(folder.path(), Path::new("/proc"))?;
    Ok(folder)
}

/// Runs a command in a new PID namespace with its own /proc.
const CONTAINER: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

fn flag(root: &Path) -> String {
    format!("--path.procfs={}", root.display())
}

fn the_procfs_of_the_host_is_refused_in_a_container_with_a_remedy(_: &Namespace) -> Result<()> {
    let host = host_proc(&PrivateMounts::enter()?)?;
    let root = host.path().display();
    let [binary, procfs] = [path_from("TCPSTAT_BIN")?.display().to_string(), flag(host.path())];
    for command in ["serve", "show", "check"] {
        let mut container = Command::new(CONTAINER[0]);
        container.args(&CONTAINER[1..]).args(["--", &binary, command, &procfs]);
        let run = output(&mut container)?;
        assert_eq!(run.status, Some(1), "{command}: {run:?}");
        let output = if command == "check" { &run.stdout } else { &run.stderr };
        for remedy in
            ["hostNetwork: true, --network host", &format!("{root}/1 "), &format!("{root}/self ")]
        {
            ensure!(output.contains(remedy), "{command}: {remedy}: {run:?}");
        }
        ensure!(command == "check" || run.stderr.lines().count() == 1, "{command}: {run:?}");
        ensure!(command != "check" || run.stdout.contains("serve would not start"), "{run:?}");
    }
    Ok(())
}

/// Process 1 is in the namespace that this test was started from, which does not have the test's own sockets.
fn process_1_of_the_host_can_be_observed_from_a_container(_: &Namespace) -> Result<()> {
    let host = host_proc(&PrivateMounts::enter()?)?;
    let _pairs = Pairs::connect(60, Family::Ipv6)?;
    let procfs = flag(&host.path().join("1"));
    let mut exporter =
        Options::default().within(CONTAINER).args(["--snapshot=iter", &procfs]).start()?;
    let scrape = exporter.scrape()?;
    assert_eq!(scrape.value("tcpstat_tracer_up", &[])?, 0.0);
    assert_eq!(scrape.family("tcpstat_snapshot_rows")[0].labels["source"], "procfs");
    let established = scrape.connections()?[&(Family::Ipv6, State::Established)];
    ensure!(established < 60, "the sockets of the container: {established}");
    let log = exporter.log();
    ensure!(log.contains("of process 1, not that of this process"), "{log}");
    assert_eq!(log.matches(" WARN ").count(), 1, "{log}");
    ensure!(log.contains("a tracer counts only that of this process"), "{log}");
    ensure!(log.contains("/1/ns/net` without --path.procfs"), "{log}");
    // sys/net belongs to the container.
    assert!(scrape.family("tcpstat_time_wait_limit").is_empty());
    Ok(())
}

fn the_own_namespace_is_counted_if_it_is_requested(namespace: &Namespace) -> Result<()> {
    let host = host_proc(&PrivateMounts::enter()?)?;
    let procfs = flag(&host.path().join("self"));
    let mut exporter = Options::default().within(CONTAINER).args([&procfs]).start()?;
    let _pairs = Pairs::connect(5, Family::Ipv6)?;
    await_agreement(&mut exporter)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_tracer_up", &[])?, 1.0);
    let log = exporter.log();
    let counted = format!("net:[{}], of this process, not that of process 1", namespace.inum());
    ensure!(log.contains(&counted) && !log.contains(" WARN "), "{log}");
    Ok(())
}

/// An idle process in the namespace of the calling thread.
fn sleep() -> Result<OwnedChild> {
    let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().context("sleep")?;
    Ok(child.into())
}

fn a_tracer_counts_if_the_process_is_in_the_own_namespace(namespace: &Namespace) -> Result<()> {
    let process = sleep()?;
    let procfs = format!("--path.procfs=/proc/{}", process.id());
    let mut exporter = Options::default().args([&procfs, "--snapshot-interval=1h"]).start()?;
    let _pairs = Pairs::connect(5, Family::Ipv4)?;
    await_agreement(&mut exporter)?;
    let scrape = exporter.scrape()?;
    assert_eq!(scrape.value("tcpstat_tracer_up", &[])?, 1.0);
    // The limits of the own namespace apply to the process.
    assert_eq!(scrape.family("tcpstat_time_wait_limit").len(), 1);
    let counted = format!("net:[{}], of this process", namespace.inum());
    ensure!(exporter.log().contains(&counted), "{}", exporter.log());
    let run = tcpstat(["check", &procfs])?;
    ensure!(run.status == Some(0) && run.stdout.contains(&counted), "{run:?}");
    Ok(())
}

/// Another namespace with five connections, and a process in it.
pub(crate) fn process_elsewhere() -> Result<(Elsewhere, OwnedChild)> {
    let (send, receive) = channel();
    let elsewhere = elsewhere(move |_| {
        send.send(sleep()?)?;
        Pairs::connect(5, Family::Ipv4)
    })?;
    Ok((elsewhere, receive.recv()?))
}

fn a_process_in_another_namespace_is_observed_by_snapshots_with_one_warning(
    _: &Namespace,
) -> Result<()> {
    let (elsewhere, process) = process_elsewhere()?;
    let procfs = format!("--path.procfs=/proc/{}", process.id());
    let mut exporter = Options::default().args([&procfs, "--snapshot=iter"]).start()?;
    let established = exporter.scrape()?.connections()?[&(Family::Ipv4, State::Established)];
    assert_eq!(established, 10);
    let log = exporter.log();
    assert_eq!(log.matches(" WARN ").count(), 1, "{log}");
    let run = tcpstat(["check", &procfs])?;
    ensure!(run.status == Some(1), "{run:?}");
    let counted = format!("net:[{}], neither of this process nor of process 1", elsewhere.inum());
    ensure!(run.stdout.contains(&counted) && log.contains(&counted), "{run:?} {log}");
    Ok(())
}

/// The process moves to a namespace without sockets when it reads a line.
fn a_process_that_changes_its_namespace_is_no_longer_observed(_: &Namespace) -> Result<()> {
    let (send, receive) = channel();
    let _elsewhere = elsewhere(move |_| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read line; exec unshare --net sleep 1000"]).stdin(Stdio::piped());
        send.send(OwnedChild::from(shell.spawn()?))?;
        Pairs::connect(5, Family::Ipv4)
    })?;
    let mut process = receive.recv()?;
    let procfs = format!("--path.procfs=/proc/{}", process.id());
    let mut exporter = Exporter::start(&[&[procfs.as_str()], &FREQUENT_SNAPSHOTS[..]].concat())?;
    let before = exporter.scrape()?.connections()?;
    assert_eq!(before[&(Family::Ipv4, State::Established)], 10);
    process.stdin.take().context("stdin")?.write_all(b"go\n")?;
    wait_until("snapshots that failed", DEADLINE, || {
        let failed = exporter.scrape()?.value("tcpstat_snapshot_errors_total", &[])?;
        Ok(if failed >= 3.0 { Progress::Done(()) } else { Progress::NotYet(failed.to_string()) })
    })?;
    assert_eq!(exporter.scrape()?.connections()?, before);
    let log = exporter.log();
    let warning = "this lists a different network namespace from the one at the start";
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    Ok(())
}

/// This test is in a different namespace from process 1, as after `nsenter`.
fn the_default_procfs_is_never_refused(namespace: &Namespace) -> Result<()> {
    for path in ["/proc", "/proc/", "/proc/../proc"] {
        let run = tcpstat(["check", "--path.procfs", path])?;
        ensure!(run.status == Some(0), "{run:?}");
        let counted = format!("net:[{}], of this process, not that of process 1", namespace.inum());
        ensure!(run.stdout.contains(&counted), "{run:?}");
    }
    Ok(())
}

fn nothing_is_refused_if_process_1_is_hidden(_: &Namespace) -> Result<()> {
    let mounts = PrivateMounts::enter()?;
    mounts.proc("hidepid=2")?;
    let host = host_proc(&mounts)?;
    let binary = ReachableBinary::copy()?;
    let mut exporter = Options::default()
        .binary(binary.path())
        .args([&flag(host.path()), "--log.level=debug"])
        .args(FREQUENT_SNAPSHOTS)
        .as_nobody(NO_CAPABILITIES)
        .start()?;
    await_agreement(&mut exporter)?;
    let log = exporter.log();
    ensure!(log.contains("the network namespace of process 1 is unknown"), "{log}");
    Ok(())
}
