//! The log: a pipe that nobody reads, and one whose reader is gone.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::yield_now;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::libc::O_NONBLOCK;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tcpstat_tests::binary::{LOG_FORMAT, path_from};
use tcpstat_tests::deadline::{DEADLINE, Progress, poll, wait_until};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::owned_child::OwnedChild;
use tcpstat_tests::scraper::Scraper;

use crate::await_snapshot;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_log_that_nobody_reads_blocks_nothing,
        a_log_whose_reader_is_gone_blocks_nothing,
        lost_log_lines_are_counted_when_somebody_reads_again,
        an_error_that_nobody_reads_does_not_delay_the_exit
    ]
}

/// Signals at which the exporter logs a line.
const NOTICES: [Signal; 3] = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// Where it listens, in a namespace of its own.
const ADDRESS: &str = "127.0.0.1:10048";

/// An exporter that logs every snapshot to a pipe, ten a second.
struct Logging {
    child: OwnedChild,
    scraper: Scraper,
    log: Option<PipeReader>,
    /// The pipe once more, so that the test can fill it.
    pipe: File,
}

impl Logging {
    /// Starts it and waits until it is ready; nobody reads its log.
    fn start() -> Result<Self> {
        let (log, writer) = pipe()?;
        let pipe = opened_again(&writer)?;
        let child = serve(writer)?;
        let mut scraper = None;
        let connected = wait_until("exporter that is ready", DEADLINE, || {
            let ready = Scraper::connect(ADDRESS.parse()?).and_then(|mut connected| {
                let status = connected.get("/-/ready")?.status;
                ensure!(status == 200, "{status}");
                scraper = Some(connected);
                Ok(())
            });
            Ok(ready.map_or_else(|error| Progress::NotYet(error.to_string()), Progress::Done))
        });
        connected?;
        Ok(Self { child, scraper: scraper.context("no connection")?, log: Some(log), pipe })
    }

    fn fill_pipe(&mut self) -> Result<()> {
        fill(&mut self.pipe)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().try_into()?), signal)?)
    }

    /// Sends the signals of [`NOTICES`], and waits until they are delivered, so that the next ones do not merge with
    /// them.
    fn notify(&self) -> Result<()> {
        for signal in NOTICES {
            self.signal(signal)?;
        }
        let path = format!("/proc/{}/status", self.child.id());
        poll("delivery of the signals", DEADLINE, Duration::ZERO, || {
            let status = fs::read_to_string(&path)?;
            let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
            let pending = u64::from_str_radix(pending.context("no ShdPnd")?.trim(), 16)?;
            yield_now();
            Ok(if pending == 0 { Progress::Done(()) } else { Progress::NotYet(status) })
        })
    }

    fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        wait_end(&mut self.child)
    }
}

fn wait_end(child: &mut Child) -> Result<ExitStatus> {
    wait_until("end of the process", DEADLINE, || {
        Ok(match child.try_wait()? {
            Some(status) => Progress::Done(status),
            None => Progress::NotYet("it is running".to_owned()),
        })
    })
}

fn serve(stderr: PipeWriter) -> Result<OwnedChild> {
    let child = Command::new(path_from("TCPSTAT_BIN")?)
        .args(["serve", "--tracer=off", "--snapshot-interval=100ms", "--log.level=debug"])
        .arg(format!("--web.listen-address={ADDRESS}"))
        .env(LOG_FORMAT.0, LOG_FORMAT.1)
        .stderr(stderr)
        .stdin(Stdio::null())
        .spawn()
        .context("start tcpstat")?;
    Ok(child.into())
}

/// Opens the same pipe with O_NONBLOCK. The flag belongs to the open file, not to the descriptor, so the writer
/// still blocks.
fn opened_again(pipe: &PipeWriter) -> Result<File> {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let opened = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&path);
    opened.context(path)
}

/// Writes until the pipe is full.
fn fill(pipe: &mut File) -> Result<()> {
    loop {
        match pipe.write(b"x") {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn an_error_that_nobody_reads_does_not_delay_the_exit(_: &Namespace) -> Result<()> {
    let _holder = TcpListener::bind(ADDRESS)?;
    let (_reader, writer) = pipe()?;
    fill(&mut opened_again(&writer)?)?;
    let mut child = serve(writer)?;
    assert_eq!(wait_end(&mut child)?.code(), Some(1));
    Ok(())
}

fn a_log_that_nobody_reads_blocks_nothing(_: &Namespace) -> Result<()> {
    let mut exporter = Logging::start()?;
    exporter.fill_pipe()?;
    for _ in 0..5 {
        await_snapshot(&mut exporter.scraper)?;
    }
    exporter.notify()?;
    assert_eq!(exporter.stop()?.code(), Some(0));
    Ok(())
}

fn a_log_whose_reader_is_gone_blocks_nothing(_: &Namespace) -> Result<()> {
    let mut exporter = Logging::start()?;
    drop(exporter.log.take());
    for _ in 0..5 {
        await_snapshot(&mut exporter.scraper)?;
    }
    exporter.notify()?;
    assert_eq!(exporter.stop()?.code(), Some(0));
    Ok(())
}

fn lost_log_lines_are_counted_when_somebody_reads_again(_: &Namespace) -> Result<()> {
    // More than a MiB: the shortest lines have 70 bytes.
    const ROUNDS: usize = 7_000;
    let mut exporter = Logging::start()?;
    exporter.fill_pipe()?;
    for _ in 0..ROUNDS {
        exporter.notify()?;
    }
    let mut log = exporter.log.take().context("no log")?;
    let mut text = String::new();
    let mut buffer = vec![0; 1 << 16];
    // Snapshots are logged too, so that every read ends.
    let lost: usize = wait_until("count of lost lines, and a line after it", DEADLINE, || {
        let bytes = log.read(&mut buffer)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..bytes]));
        let counted = text.split_once("tcpstat: ").and_then(|(_, rest)| {
            let (lost, rest) = rest.split_once(" log lines lost here: ")?;
            rest.contains("reconciled").then(|| lost.parse())
        });
        Ok(match counted {
            Some(lost) => Progress::Done(lost?),
            None => Progress::NotYet(format!("{} bytes", text.len())),
        })
    })?;
    // No space follows the name of the crate in other lines, so the first match is the notice.
    let logged = text.matches(" is ignored").count();
    let sent = ROUNDS * NOTICES.len();
    ensure!(lost > 0 && lost + logged >= sent, "{lost} lost and {logged} logged of {sent}");
    ensure!(
        text.lines().collect::<BTreeSet<_>>().len() > 1000,
        "too few lines from before the loss"
    );
    assert_eq!(exporter.stop()?.code(), Some(0));
    Ok(())
}
