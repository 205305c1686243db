//! The file for node_exporter's textfile collector: when it is written, and when it is removed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tempfile::TempDir;

use crate::web::anywhere;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        the_textfile_equals_the_metrics_and_is_readable_by_all,
        the_textfile_is_written_although_the_metric_is_not_served,
        the_textfile_is_removed_when_the_exporter_stops,
        a_textfile_that_cannot_be_written_prevents_the_start,
        the_textfile_of_another_process_is_not_removed,
        of_two_processes_the_last_writer_removes_the_textfile,
        an_exporter_that_was_never_ready_removes_no_textfile,
        the_next_start_removes_temporary_files_of_killed_runs,
        errors_name_the_textfile_as_the_user_gave_it,
        a_limit_on_file_size_affects_only_the_textfile,
        a_folder_that_disappears_and_returns_is_logged_once_each
    ]
}

/// A folder, and an exporter that writes to it over a fixture.
struct Dropped {
    folder: TempDir,
    path: PathBuf,
}

impl Dropped {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("tcpstat.prom");
        Ok(Self { folder, path })
    }

    fn options(&self) -> Result<Options> {
        Ok(anywhere("debian-7.2")?.env("TCPSTAT_TEXTFILE", &self.path))
    }

    /// Waits until the file is there, and reads it.
    fn text(&self) -> Result<String> {
        wait_until("textfile", DEADLINE, || {
            Ok(match fs::read_to_string(&self.path) {
                Ok(text) => Progress::Done(text),
                Err(error) => Progress::NotYet(error.to_string()),
            })
        })
    }
}

fn the_textfile_equals_the_metrics_and_is_readable_by_all() -> Result<()> {
    let dropped = Dropped::new()?;
    let mut exporter = dropped.options()?.start()?;
    let text = dropped.text()?;
    let body = exporter.get("/metrics")?.body;
    let of_contract = |line: &&str| line.contains("node_tcp_connection_states");
    let expected: String = body.split_inclusive('\n').filter(of_contract).collect();
    assert_eq!(text, expected);
    assert_eq!(text.lines().count(), 2 + 13);
    assert_eq!(fs::metadata(&dropped.path)?.permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(dropped.folder.path())?.count(), 1, "other files are in the folder");
    Ok(())
}

fn the_textfile_is_written_although_the_metric_is_not_served() -> Result<()> {
    let dropped = Dropped::new()?;
    let mut exporter = dropped.options()?.args(["--no-compat.node-exporter"]).start()?;
    assert!(dropped.text()?.contains("node_tcp_connection_states{state=\"listen\"}"));
    assert!(!exporter.get("/metrics")?.body.contains("node_tcp_connection_states"));
    Ok(())
}

fn the_textfile_is_removed_when_the_exporter_stops() -> Result<()> {
    let dropped = Dropped::new()?;
    let exporter = dropped.options()?.start()?;
    dropped.text()?;
    assert_eq!(exporter.stop()?.code(), Some(0));
    assert_eq!(fs::read_dir(dropped.folder.path())?.count(), 0);
    Ok(())
}

fn a_textfile_that_cannot_be_written_prevents_the_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("folder.prom"))?;
    let below = |name: &str| folder.path().join(name).display().to_string();
    let cases = [
        (below("tcpstat.txt"), 2, "end in .prom"),
        (below("none/tcpstat.prom"), 1, "No such file or directory"),
        (below("folder.prom"), 1, "is a directory"),
        // Not even root may.
        ("/sys/kernel/tcpstat.prom".to_owned(), 1, "must be able to write to it"),
    ];
    for (path, status, reason) in cases {
        let run = tcpstat(["serve", "--web.listen-address=127.0.0.1:0", "--textfile", &path])?;
        assert_eq!(run.status, Some(status), "{path}: {run:?}");
        let line = run.stderr.lines().next().context("no error")?;
        assert!(line.contains("--textfile") && line.contains(reason), "{path}: {}", run.stderr);
        assert!(!line.contains(".tcpstat-"), "{path}: {}", run.stderr);
        assert!(status == 2 || run.stderr.lines().count() == 1, "{path}: {}", run.stderr);
    }
    Ok(())
}

fn the_textfile_of_another_process_is_not_removed() -> Result<()> {
    let dropped = Dropped::new()?;
    let mut exporter = dropped.options()?.args(["--snapshot-interval=1h"]).start()?;
    dropped.text()?;
    let other = dropped.folder.path().join("other");
    fs::write(&other, "another's\n")?;
    fs::rename(&other, &dropped.path)?;
    exporter.signal(Signal::SIGTERM)?;
    assert_eq!(exporter.wait_end()?.code(), Some(0));
    assert_eq!(dropped.text()?, "another's\n");
    let log = exporter.log();
    let named = format!("--textfile {} is not removed: another process", dropped.path.display());
    assert!(log.contains(&named), "{log}");
    Ok(())
}

/// Only the last writer removes the file when it stops, whichever of the two stops first.
fn of_two_processes_the_last_writer_removes_the_textfile() -> Result<()> {
    let dropped = Dropped::new()?;
    let mut often = dropped.options()?.args(["--snapshot-interval=100ms"]).start()?;
    dropped.text()?;
    let rarely = dropped.options()?.args(["--snapshot-interval=1h"]).start()?;
    // When the other one logs this, it has replaced the only file of this one.
    often.wait_log("is also written by another process")?;
    await_snapshot(&mut often)?;
    assert_eq!(rarely.stop()?.code(), Some(0));
    assert!(dropped.path.exists(), "the file of the running exporter is gone");
    often.signal(Signal::SIGTERM)?;
    assert_eq!(often.wait_end()?.code(), Some(0));
    assert_eq!(fs::read_dir(dropped.folder.path())?.count(), 0);
    let log = often.log();
    assert_eq!(log.matches("is also written by another process").count(), 1, "{log}");
    Ok(())
}

fn an_exporter_that_was_never_ready_removes_no_textfile() -> Result<()> {
    let dropped = Dropped::new()?;
    fs::write(&dropped.path, "another's\n")?;
    let empty = tempfile::tempdir()?;
    let run = tcpstat([
        OsStr::new("serve"),
        OsStr::new("--web.listen-address=127.0.0.1:0"),
        OsStr::new("--path.procfs"),
        empty.path().as_os_str(),
        OsStr::new("--textfile"),
        dropped.path.as_os_str(),
    ])?;
    assert_eq!(run.status, Some(1), "{run:?}");
    assert_eq!(dropped.text()?, "another's\n");
    Ok(())
}

/// A temporary file that no process has locked belongs to a run that was killed.
fn the_next_start_removes_temporary_files_of_killed_runs() -> Result<()> {
    let dropped = Dropped::new()?;
    let beside = |name: &str| dropped.folder.path().join(name);
    for name in [".tcpstat-aaaaaa.tmp", ".tcpstat-bbbbbb.tmp", "mine.tmp"] {
        fs::write(beside(name), "half")?;
    }
    let in_use = fs::File::create(beside(".tcpstat-cccccc.tmp"))?;
    in_use.lock()?;
    let exporter = dropped.options()?.start()?;
    dropped.text()?;
    let mut names: Vec<_> = fs::read_dir(dropped.folder.path())?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    names.sort();
    assert_eq!(names, [".tcpstat-cccccc.tmp", "mine.tmp", "tcpstat.prom"]);
    exporter.wait_log("removed=2")?;
    Ok(())
}

fn errors_name_the_textfile_as_the_user_gave_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("none\n\u{1b}[31m").join("tcpstat.prom");
    let run = tcpstat([
        OsStr::new("serve"),
        OsStr::new("--web.listen-address=127.0.0.1:0"),
        OsStr::new("--textfile"),
        path.as_os_str(),
    ])?;
    assert_eq!(run.status, Some(1), "{run:?}");
    let named = format!("{}/none\\n\\u{{1b}}[31m/tcpstat.prom: ", folder.path().display());
    assert!(run.stderr.contains(&named), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    Ok(())
}

/// RLIMIT_FSIZE, at which the kernel also sends SIGXFSZ.
fn a_limit_on_file_size_affects_only_the_textfile() -> Result<()> {
    setrlimit(Resource::RLIMIT_FSIZE, 16, 16)?;
    let dropped = Dropped::new()?;
    let mut exporter = dropped.options()?.args(["--snapshot-interval=100ms"]).start()?;
    exporter.wait_log("its values are stale: File too large")?;
    await_snapshot(&mut exporter)?;
    exporter.signal(Signal::SIGTERM)?;
    assert_eq!(exporter.wait_end()?.code(), Some(0));
    assert_eq!(fs::read_dir(dropped.folder.path())?.count(), 0);
    Ok(())
}

fn a_folder_that_disappears_and_returns_is_logged_once_each() -> Result<()> {
    let dropped = Dropped::new()?;
    let mut exporter = dropped.options()?.args(["--snapshot-interval=100ms"]).start()?;
    dropped.text()?;
    let elsewhere = dropped.folder.path().with_extension("elsewhere");
    fs::rename(dropped.folder.path(), &elsewhere)?;
    exporter.wait_log("values are stale")?;
    // It fails at every snapshot.
    await_snapshot(&mut exporter)?;
    await_snapshot(&mut exporter)?;
    fs::rename(&elsewhere, dropped.folder.path())?;
    exporter.wait_log("is written again")?;
    let log = exporter.log();
    assert_eq!(log.matches("values are stale").count(), 1, "{log}");
    assert_eq!(log.matches("is written again").count(), 1, "{log}");
    Ok(())
}

/// Waits for another snapshot.
fn await_snapshot(exporter: &mut Exporter) -> Result<()> {
    let finished = |exporter: &mut Exporter| {
        exporter.scrape()?.value("tcpstat_snapshot_timestamp_seconds", &[])
    };
    let before = finished(exporter)?;
    wait_until("another snapshot", DEADLINE, || {
        let now = finished(exporter)?;
        Ok(if now > before { Progress::Done(()) } else { Progress::NotYet(now.to_string()) })
    })
}
