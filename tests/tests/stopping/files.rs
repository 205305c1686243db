//! Files: a file system that hangs under the textfile or under procfs, and one that is full.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tcpstat_tests::binary::{fixture, tcpstat};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::frozen::FrozenFs;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;

use crate::await_snapshot;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_textfile_that_hangs_delays_no_scrape_and_no_stop,
        a_second_signal_exits_at_once_while_the_stop_hangs,
        a_snapshot_that_hangs_does_not_delay_the_stop,
        it_stops_although_all_files_of_proc_hang,
        a_start_that_hangs_exits_with_an_error,
        a_full_file_system_keeps_the_old_textfile_and_leaves_no_partial_one
    ]
}

/// An exporter that waits for its textfile on a file system that hangs; the path of the textfile.
fn hanging_textfile(fuse: &FrozenFs) -> Result<(Exporter, String)> {
    let path = fuse.path().join("tcpstat.prom");
    let flag = format!("--textfile={}", path.display());
    let exporter = Exporter::start(&["--tracer=off", "--snapshot-interval=100ms", &flag])?;
    wait_until("textfile", DEADLINE, || {
        Ok(if path.exists() { Progress::Done(()) } else { Progress::NotYet(exporter.log()) })
    })?;
    fuse.freeze();
    fuse.wait_asked()?;
    Ok((exporter, path.display().to_string()))
}

fn last_line(text: &str) -> Result<&str> {
    text.lines().last().context("no line")
}

fn a_textfile_that_hangs_delays_no_scrape_and_no_stop(_: &Namespace) -> Result<()> {
    let fuse = FrozenFs::mount(&PrivateMounts::enter()?)?;
    let (mut exporter, path) = hanging_textfile(&fuse)?;
    exporter.wait_log(&format!("--textfile {path} is being written for more than 5s"))?;
    exporter.scrape()?;
    exporter.signal(Signal::SIGTERM)?;
    assert_eq!(exporter.wait_end()?.code(), Some(1));
    let log = exporter.log();
    let last = last_line(&log)?;
    assert!(
        last.contains(&format!("still running after 5s: the writer of --textfile {path} ")),
        "{log}"
    );
    Ok(())
}

fn a_second_signal_exits_at_once_while_the_stop_hangs(_: &Namespace) -> Result<()> {
    let fuse = FrozenFs::mount(&PrivateMounts::enter()?)?;
    let (mut exporter, _) = hanging_textfile(&fuse)?;
    exporter.signal(Signal::SIGTERM)?;
    exporter.wait_log("stopping")?;
    exporter.signal(Signal::SIGINT)?;
    // After the first signal only, the status is 1.
    assert_eq!(exporter.wait_end()?.code(), Some(128 + 2));
    let log = exporter.log();
    assert!(last_line(&log)?.ends_with("second SIGINT: exiting immediately"), "{log}");
    Ok(())
}

/// An exporter over a fixture whose `files` are on a file system that hangs after the start.
fn hanging_procfs(mounts: &PrivateMounts, fuse: &FrozenFs, files: &[&str]) -> Result<Exporter> {
    let procfs = fixture("proc/debian-7.2")?;
    for file in files {
        let path = procfs.join("net").join(file);
        mounts.replace(&path, &fuse.copy(&path)?)?;
    }
    let flag = format!("--path.procfs={}", procfs.display());
    let exporter = Exporter::start(&["--tracer=off", "--snapshot-interval=100ms", &flag])?;
    fuse.freeze();
    fuse.wait_asked()?;
    Ok(exporter)
}

fn a_snapshot_that_hangs_does_not_delay_the_stop(_: &Namespace) -> Result<()> {
    let mounts = PrivateMounts::enter()?;
    let fuse = FrozenFs::mount(&mounts)?;
    let mut exporter = hanging_procfs(&mounts, &fuse, &["tcp"])?;
    exporter.scrape()?;
    exporter.signal(Signal::SIGTERM)?;
    assert_eq!(exporter.wait_end()?.code(), Some(1));
    let log = exporter.log();
    assert!(last_line(&log)?.contains("still running after 5s: the tracker"), "{log}");
    Ok(())
}

fn it_stops_although_all_files_of_proc_hang(_: &Namespace) -> Result<()> {
    let mounts = PrivateMounts::enter()?;
    let fuse = FrozenFs::mount(&mounts)?;
    let mut exporter = hanging_procfs(&mounts, &fuse, &["tcp", "tcp6", "sockstat", "sockstat6"])?;
    // More than the server has threads.
    let mut connections = Vec::new();
    for _ in 0..8 {
        let mut connection = TcpStream::connect(exporter.address())?;
        connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\n\r\n")?;
        connections.push(connection);
    }
    exporter.signal(Signal::SIGTERM)?;
    assert_eq!(exporter.wait_end()?.code(), Some(1));
    Ok(())
}

fn a_start_that_hangs_exits_with_an_error(_: &Namespace) -> Result<()> {
    let fuse = FrozenFs::mount(&PrivateMounts::enter()?)?;
    fs::metadata(fuse.path())?;
    fuse.freeze();
    let path = fuse.path().join("tcpstat.prom");
    let run = tcpstat(["serve".to_owned(), format!("--textfile={}", path.display())])?;
    assert_eq!(run.status, Some(1), "{run:?}");
    let line = last_line(&run.stderr)?;
    let expected = format!("{}: its file system does not answer", path.display());
    assert!(line.contains("--textfile") && line.contains(&expected), "{run:?}");
    Ok(())
}

fn a_full_file_system_keeps_the_old_textfile_and_leaves_no_partial_one(
    _: &Namespace,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    PrivateMounts::enter()?.tmpfs(folder.path(), "size=64k")?;
    let path = folder.path().join("tcpstat.prom");
    let flag = format!("--textfile={}", path.display());
    let mut exporter = Exporter::start(&["--tracer=off", "--snapshot-interval=100ms", &flag])?;
    wait_until("textfile", DEADLINE, || {
        Ok(if path.exists() { Progress::Done(()) } else { Progress::NotYet(exporter.log()) })
    })?;
    let ballast = folder.path().join("ballast");
    let filled = File::create(&ballast)?.write_all(&vec![0; 1 << 16]);
    ensure!(
        filled.is_err_and(|error| error.kind() == ErrorKind::StorageFull),
        "the file system is not full"
    );
    exporter.wait_log(&format!(
        "--textfile {} cannot be written, and its values are stale: No space",
        path.display()
    ))?;
    // It fails each time.
    await_snapshot(exporter.scraper())?;
    await_snapshot(exporter.scraper())?;
    assert!(fs::read_to_string(&path)?.contains("node_tcp_connection_states{"));
    let log = exporter.log();
    assert_eq!(log.matches("values are stale").count(), 1, "{log}");
    fs::remove_file(&ballast)?;
    exporter.wait_log(&format!("--textfile {} is written again", path.display()))?;
    exporter.signal(Signal::SIGTERM)?;
    assert_eq!(exporter.wait_end()?.code(), Some(0));
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "a partial file is left");
    Ok(())
}
