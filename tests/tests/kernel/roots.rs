//! Which namespace a procfs lists: the mount at /proc, one of the host seen from a container, one process.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::binary::{output, path_from, tcpstat};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::{Elsewhere, Namespace, elsewhere};
use tcpstat_tests::tcp::{Family, State};
use tempfile::TempDir;

use crate::privileges::ReachableBinary;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        kernel_test("the_procfs_of_the_host_does_not_count_the_container_silently", refused),
        kernel_test("process_1_of_the_host_is_listed_from_a_container", process_1_is_listed),
        kernel_test("the_own_namespace_is_counted_where_it_is_asked_for", own_is_counted),
        kernel_test("a_process_of_the_own_namespace_is_counted_by_a_tracer", a_process_is_counted),
        kernel_test("a_process_elsewhere_is_listed_with_one_warning", a_process_elsewhere),
        kernel_test("a_process_that_changes_its_namespace_is_not_listed_any_more", a_process_moves),
        kernel_test("the_default_procfs_is_never_refused", the_default_is_never_refused),
        kernel_test("where_process_1_is_hidden_nothing_is_refused", process_1_is_hidden),
    ]
}

/// A folder where the machine's /proc is mounted too, as a container has it.
fn host_proc(mounts: &PrivateMounts) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    mounts.replace(folder.path(), Path::new("/proc"))?;
    Ok(folder)
}

/// A PID namespace of its own with a /proc of its own, beside that of the host.
const CONTAINER: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

fn flag(root: &Path) -> String {
    format!("--path.procfs={}", root.display())
}

fn refused(_: &Namespace) -> Result<()> {
    let host = host_proc(&PrivateMounts::enter()?)?;
    let root = host.path().display();
    let [binary, procfs] = [path_from("TCPSTAT_BIN")?.display().to_string(), flag(host.path())];
    for command in ["serve", "show", "check"] {
        let mut container = Command::new(CONTAINER[0]);
        container.args(&CONTAINER[1..]).args(["--", &binary, command, &procfs]);
        let run = output(&mut container)?;
        assert_eq!(run.status, Some(1), "{command}: {run:?}");
        let told = if command == "check" { &run.stdout } else { &run.stderr };
        for remedy in
            ["hostNetwork: true, --network host", &format!("{root}/1 "), &format!("{root}/self ")]
        {
            ensure!(told.contains(remedy), "{command}: {remedy}: {run:?}");
        }
        ensure!(command == "check" || run.stderr.lines().count() == 1, "{command}: {run:?}");
        ensure!(command != "check" || run.stdout.contains("serve would not start"), "{run:?}");
    }
    Ok(())
}

/// The sockets of the namespace that this test came from, which its own are not in.
fn process_1_is_listed(_: &Namespace) -> Result<()> {
    let host = host_proc(&PrivateMounts::enter()?)?;
    let _pairs = Pairs::connect(60, Family::Ipv6)?;
    let procfs = flag(&host.path().join("1"));
    let mut exporter =
        Options::default().within(CONTAINER).args(["--snapshot=iter", &procfs]).start()?;
    let scrape = exporter.scrape()?;
    assert_eq!(scrape.value("tcpstat_tracer_up", &[])?, 0.0);
    assert_eq!(scrape.family("tcpstat_snapshot_rows")[0].labels["source"], "procfs");
    let established = scrape.connections()?[&(Family::Ipv6, State::Established)];
    ensure!(established < 60, "it lists the container: {established}");
    let log = exporter.log();
    ensure!(log.contains("of process 1, not that of this process"), "{log}");
    assert_eq!(log.matches(" WARN ").count(), 1, "{log}");
    ensure!(log.contains("a tracer counts only that of this process"), "{log}");
    // sys/net is that of the container.
    assert!(scrape.family("tcpstat_time_wait_limit").is_empty());
    Ok(())
}

fn own_is_counted(namespace: &Namespace) -> Result<()> {
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

/// A process that does nothing, in the namespace of the calling thread.
fn sleep() -> Result<Child> {
    Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().context("sleep")
}

fn a_process_is_counted(namespace: &Namespace) -> Result<()> {
    let mut process = sleep()?;
    let procfs = format!("--path.procfs=/proc/{}", process.id());
    let mut exporter = Options::default().args([&procfs, "--snapshot-interval=1h"]).start()?;
    let _pairs = Pairs::connect(5, Family::Ipv4)?;
    await_agreement(&mut exporter)?;
    let scrape = exporter.scrape()?;
    assert_eq!(scrape.value("tcpstat_tracer_up", &[])?, 1.0);
    // The limits of the own namespace are those of the one that is listed.
    assert_eq!(scrape.family("tcpstat_time_wait_limit").len(), 1);
    let counted = format!("net:[{}], of this process", namespace.inum());
    ensure!(exporter.log().contains(&counted), "{}", exporter.log());
    let run = tcpstat(["check", &procfs])?;
    ensure!(run.status == Some(0) && run.stdout.contains(&counted), "{run:?}");
    process.kill()?;
    process.wait()?;
    Ok(())
}

/// Another namespace with five connections, and a process in it.
pub(crate) fn process_elsewhere() -> Result<(Elsewhere, Child)> {
    let (send, receive) = channel();
    let elsewhere = elsewhere(move |_| {
        send.send(sleep()?)?;
        Pairs::connect(5, Family::Ipv4)
    })?;
    Ok((elsewhere, receive.recv()?))
}

fn a_process_elsewhere(_: &Namespace) -> Result<()> {
    let (elsewhere, mut process) = process_elsewhere()?;
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
    process.kill()?;
    process.wait()?;
    Ok(())
}

/// One that stays the same process, and goes to a namespace without a socket when it is told to.
fn a_process_moves(_: &Namespace) -> Result<()> {
    let (send, receive) = channel();
    let _elsewhere = elsewhere(move |_| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read line; exec unshare --net sleep 1000"]).stdin(Stdio::piped());
        send.send(shell.spawn()?)?;
        Pairs::connect(5, Family::Ipv4)
    })?;
    let mut process = receive.recv()?;
    let procfs = format!("--path.procfs=/proc/{}", process.id());
    let mut exporter = Options::default().args([&procfs, "--snapshot-interval=200ms"]).start()?;
    let before = exporter.scrape()?.connections()?;
    assert_eq!(before[&(Family::Ipv4, State::Established)], 10);
    process.stdin.take().context("stdin")?.write_all(b"go\n")?;
    wait_until("snapshots that failed", DEADLINE, || {
        let failed = exporter.scrape()?.value("tcpstat_snapshot_errors_total", &[])?;
        Ok(if failed >= 3.0 { Progress::Done(()) } else { Progress::NotYet(failed.to_string()) })
    })?;
    assert_eq!(exporter.scrape()?.connections()?, before);
    let log = exporter.log();
    let told = "this lists a different network namespace from the one at the start";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    process.kill()?;
    process.wait()?;
    Ok(())
}

/// This test is in another namespace than process 1, as after `nsenter`.
fn the_default_is_never_refused(namespace: &Namespace) -> Result<()> {
    for path in ["/proc", "/proc/", "/proc/../proc"] {
        let run = tcpstat(["check", "--path.procfs", path])?;
        ensure!(run.status == Some(0), "{run:?}");
        let counted = format!("net:[{}], of this process, not that of process 1", namespace.inum());
        ensure!(run.stdout.contains(&counted), "{run:?}");
    }
    Ok(())
}

fn process_1_is_hidden(_: &Namespace) -> Result<()> {
    let mounts = PrivateMounts::enter()?;
    mounts.proc("hidepid=2")?;
    let host = host_proc(&mounts)?;
    let binary = ReachableBinary::copy()?;
    let mut exporter = Options::default()
        .binary(&binary.path)
        .args([&flag(host.path()), "--log.level=debug", "--snapshot-interval=200ms"])
        .unprivileged()
        .start()?;
    await_agreement(&mut exporter)?;
    let log = exporter.log();
    ensure!(log.contains("the network namespace of process 1 is unknown"), "{log}");
    Ok(())
}
