//! Files that hang while scrapes wait for them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tcpstat_tests::binary::{fixture, output};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::frozen::FrozenFs;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::process_limits::set_limit;
use tcpstat_tests::scraper::connect_from;
use tcpstat_tests::unprivileged::{NO_CAPABILITIES, NOBODY, ReachableBinary};
use tempfile::TempDir;

use super::limits::address_of;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        waiting_scrapes_share_one_reading,
        a_file_that_hangs_is_omitted_named_and_read_again_later,
        without_another_thread_scrapes_fail_until_there_is_one
    ]
}

/// An exporter over a folder whose sockstat is on a file system that can hang; the path of that sockstat.
pub(crate) fn over_a_folder(folder: &TempDir, more: &str) -> Result<(Exporter, FrozenFs, PathBuf)> {
    let (fuse, sockstat) = fill(folder.path())?;
    Ok((over(folder.path(), Options::default(), more).start()?, fuse, sockstat))
}

/// Makes the files of a procfs in a folder that can hang: sockstat, whose path is the second part.
fn fill(folder: &Path) -> Result<(FrozenFs, PathBuf)> {
    let net = folder.join("net");
    fs::create_dir(&net)?;
    for file in ["tcp", "tcp6"] {
        fs::copy(fixture(format!("proc/debian-6.1/net/{file}"))?, net.join(file))?;
    }
    let fuse = FrozenFs::mount(&PrivateMounts::enter()?)?;
    let sockstat = net.join("sockstat");
    symlink(fuse.copy(&fixture("proc/debian-6.1/net/sockstat")?)?, &sockstat)?;
    Ok((fuse, sockstat))
}

/// These options, over such a folder.
fn over(folder: &Path, options: Options, more: &str) -> Options {
    let procfs = format!("--path.procfs={}", folder.display());
    options.args([procfs.as_str(), "--tracer=off", "--snapshot-interval=1h", more])
}

/// Scrapes that arrive during one reading share the next.
fn waiting_scrapes_share_one_reading(_: &Namespace) -> Result<()> {
    const SCRAPERS: u8 = 30;
    const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\nConnection: close\r\n\r\n";
    let folder = TempDir::new()?;
    let (exporter, fuse, _) = over_a_folder(&folder, "--web.max-requests=40")?;
    let ask = |n| -> Result<TcpStream> {
        let mut stream = connect_from(address_of(n), exporter.address())?;
        stream.write_all(REQUEST)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(stream)
    };
    let before = fuse.opened();
    fuse.freeze();
    let mut first = ask(1)?;
    fuse.wait_asked()?;
    let others = (2..2 + SCRAPERS).map(ask).collect::<Result<Vec<_>>>()?;
    wait_until("exporter that has every request", DEADLINE, || {
        let run = output(Command::new("ss").args(["-Htn", "sport", "=", ":10048"]))?;
        let queued = |line: &&str| line.split_whitespace().nth(1) != Some("0");
        let waiting = run.stdout.lines().filter(queued).count();
        let all = run.stdout.lines().count() > usize::from(SCRAPERS) && waiting == 0;
        Ok(if all { Progress::Done(()) } else { Progress::NotYet(run.stdout) })
    })?;
    fuse.thaw();
    let mut answer = String::new();
    first.read_to_string(&mut answer)?;
    for mut other in others {
        let mut answer = String::new();
        other.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        ensure!(answer.contains("\ntcpstat_sockstat_sockets{"), "{answer}");
    }
    // One for the first scrape, and one more; a request that the server has read may not have reached the
    // handler yet.
    let opened = fuse.opened() - before;
    ensure!((2..=4).contains(&opened), "{opened} readings for {SCRAPERS} scrapes beside the first");
    Ok(())
}

fn a_file_that_hangs_is_omitted_named_and_read_again_later(_: &Namespace) -> Result<()> {
    let folder = TempDir::new()?;
    let (mut exporter, fuse, sockstat) = over_a_folder(&folder, "--web.max-requests=40")?;
    let exported = |exporter: &mut Exporter| -> Result<(bool, bool)> {
        let scrape = exporter.scrape()?;
        let has = |family: &str| !scrape.family(family).is_empty();
        ensure!(has("tcpstat_connections"), "{}", exporter.log());
        Ok((has("tcpstat_sockstat_sockets"), has("process_open_fds")))
    };
    assert_eq!(exported(&mut exporter)?, (true, true));
    let before = threads(exporter.pid())?;
    fuse.freeze();
    // Only the values of the file that hangs are omitted, and no scrape hangs.
    for _ in 0..3 {
        assert_eq!(exported(&mut exporter)?, (false, true));
    }
    let log = exporter.log();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("could not be read within")).collect();
    ensure!(lines.len() == 1 && lines[0].contains(&*sockstat.to_string_lossy()), "{log}");
    fuse.thaw();
    wait_until("sockstat", DEADLINE, || {
        let exported = exported(&mut exporter)?;
        Ok(if exported.0 { Progress::Done(()) } else { Progress::NotYet(format!("{exported:?}")) })
    })?;
    ensure!(exporter.log().contains("its values are no longer left out"), "{}", exporter.log());
    wait_until("end of the blocked thread", DEADLINE, || {
        let now = threads(exporter.pid())?;
        let text = format!("{now} threads, {before} before");
        Ok(if now <= before { Progress::Done(()) } else { Progress::NotYet(text) })
    })
}

fn threads(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

fn without_another_thread_scrapes_fail_until_there_is_one(_: &Namespace) -> Result<()> {
    let folder = TempDir::new()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let (fuse, sockstat) = fill(folder.path())?;
    let binary = ReachableBinary::copy()?;
    let options = over(folder.path(), binary.exporter(NO_CAPABILITIES), "--web.max-requests=40");
    let mut exporter = options.start()?;
    let exported = |exporter: &mut Exporter| -> Result<bool> {
        Ok(!exporter.scrape()?.family("tcpstat_sockstat_sockets").is_empty())
    };
    let again = |exporter: &mut Exporter| {
        wait_until("sockstat", DEADLINE, || {
            Ok(if exported(exporter)? {
                Progress::Done(())
            } else {
                Progress::NotYet("absent".to_owned())
            })
        })
    };
    ensure!(exported(&mut exporter)?, "{}", exporter.log());
    let (nobody, pid) = (NOBODY.to_string(), exporter.pid());
    let count = |exporter: &Exporter, text: &str| exporter.log().matches(text).count();

    // The blocked thread answers again when it has read the file.
    set_limit(&nobody, pid, "--nproc=1:")?;
    fuse.freeze();
    for _ in 0..2 {
        ensure!(exporter.scrape().is_err(), "a scrape without a thread");
    }
    ensure!(count(&exporter, "cannot start a thread") == 1, "{}", exporter.log());
    fuse.thaw();
    again(&mut exporter)?;
    ensure!(count(&exporter, "its values are no longer left out") == 1, "{}", exporter.log());

    // As soon as a thread can be started, it answers without the file.
    fuse.freeze();
    ensure!(exporter.scrape().is_err(), "a scrape without a thread");
    ensure!(count(&exporter, "cannot start a thread") == 2, "{}", exporter.log());
    set_limit(&nobody, pid, "--nproc=1000:")?;
    ensure!(!exported(&mut exporter)?, "{} hangs, and has values", sockstat.display());
    fuse.thaw();
    again(&mut exporter)
}
