//! Signals: which of them stop the exporter, and that it cleans up then.

use std::fs;

use anyhow::Result;
use nix::sys::signal::Signal;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::harness::{Test, hermetic_test};
use tcpstat_tests::hermetic_tests;
use tempfile::TempDir;

use crate::web::anywhere;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = hermetic_tests![
        sighup_and_sigusr_do_not_stop_the_exporter,
        a_signal_that_a_wrapper_sends_twice_stops_the_exporter_cleanly
    ];
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGALRM,
        Signal::SIGXCPU,
        Signal::SIGPWR,
    ] {
        let name = signal.as_str().to_ascii_lowercase();
        tests.push(hermetic_test(format!("{name}_stops_the_exporter_cleanly"), move || {
            stops_it_cleanly(signal)
        }));
    }
    tests
}

/// A folder for the textfile, which is empty after a clean stop.
fn textfile() -> Result<(TempDir, String)> {
    let folder = tempfile::tempdir()?;
    let flag = format!("--textfile={}", folder.path().join("tcpstat.prom").display());
    Ok((folder, flag))
}

fn stops_it_cleanly(signal: Signal) -> Result<()> {
    let (folder, flag) = textfile()?;
    let mut exporter = anywhere("debian-6.1")?.args([flag]).start()?;
    wait_for_textfile(&folder)?;
    exporter.signal(signal)?;
    assert_eq!(exporter.wait_end()?.code(), Some(0));
    let log = exporter.log();
    assert!(log.contains("stopping") && log.contains(signal.as_str()), "{log}");
    assert_eq!(fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

fn sighup_and_sigusr_do_not_stop_the_exporter() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.start()?;
    exporter.signal(Signal::SIGPIPE)?;
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        exporter.signal(signal)?;
        exporter.wait_log(&format!("{signal} is ignored"))?;
    }
    assert_eq!(exporter.get("/-/ready")?.status, 200);
    assert_eq!(exporter.stop()?.code(), Some(0));
    Ok(())
}

/// As `timeout` of coreutils does: once to its child, and once to the process group of its child.
fn a_signal_that_a_wrapper_sends_twice_stops_the_exporter_cleanly() -> Result<()> {
    let (folder, flag) = textfile()?;
    let mut exporter = anywhere("debian-6.1")?.args([flag]).start()?;
    wait_for_textfile(&folder)?;
    exporter.signal(Signal::SIGTERM)?;
    exporter.wait_log("stopping")?;
    // It may have ended, but nobody has waited for it.
    exporter.signal(Signal::SIGTERM)?;
    assert_eq!(exporter.wait_end()?.code(), Some(0), "{}", exporter.log());
    assert_eq!(fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

fn wait_for_textfile(folder: &TempDir) -> Result<()> {
    let path = folder.path().join("tcpstat.prom");
    wait_until("textfile", DEADLINE, || {
        Ok(if path.exists() { Progress::Done(()) } else { Progress::NotYet("none".to_owned()) })
    })
}
