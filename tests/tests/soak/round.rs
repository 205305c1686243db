//! One round of what happens to the exporters.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use std::fs;
use tcpstat_tests::agreement::await_agreement;
use tcpstat_tests::binary::path_from;
use tcpstat_tests::bpf_objects;
use tcpstat_tests::container::{Container, Maker};
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::resident::{Order, Resident};
use tcpstat_tests::tcp::Family;
use tempfile::TempDir;

const NAMESPACES: usize = 5;
const SCRAPES: usize = 20;
const STREAMS: usize = 10;

/// How far the wall clock is set forward or back in a round.
const STEP_SECONDS: u64 = 3600;

pub(crate) struct Scene {
    /// It runs from the first round to the last.
    pub(crate) staying: Exporter,
    folder: TempDir,
}

impl Scene {
    pub(crate) fn new() -> Result<Self> {
        let folder = TempDir::new()?;
        fs::write(folder.path().join("clock"), "0")?;
        fs::write(folder.path().join("web.yml"), web_config("deny"))?;
        // The binary of the tests: its wall clock can be set. It loses no events here.
        let options = options().binary(path_from("TCPSTAT_LOSING_BIN")?);
        let options = options.env("TCPSTAT_CLOCK", folder.path().join("clock"));
        let config = folder.path().join("web.yml");
        let staying = options.args([format!("--web.config.file={}", config.display())]).start()?;
        Ok(Self { staying, folder })
    }

    /// Everything once; then both exporters agree with /proc.
    pub(crate) fn play(&mut self, round: usize) -> Result<()> {
        let churn = thread::spawn(churn);
        self.scrape_and_stream()?;
        namespaces_and_a_container()?;
        self.reload(round)?;
        self.step_clock(round)?;
        churn.join().expect("the churn does not panic")?;
        self.stop_and_continue()?;
        await_agreement(&mut self.staying).context("the exporter that stays")?;
        start_again()
    }

    fn scrape_and_stream(&mut self) -> Result<()> {
        for _ in 0..SCRAPES {
            self.staying.scrape()?;
        }
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let mut stream = TcpStream::connect(self.staying.address())?;
            stream.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            ensure!(stream.read(&mut [0; 1024])? > 0, "no stream");
            streams.push(stream);
        }
        Ok(())
    }

    /// A bad file leaves the last good one in force; then there is a good one.
    fn reload(&mut self, round: usize) -> Result<()> {
        let wanted = if round.is_multiple_of(2) { "sameorigin" } else { "deny" };
        for text in ["http_server_config: {headers: 7}\n".to_owned(), web_config(wanted)] {
            fs::write(self.folder.path().join("web.yml"), text)?;
            self.staying.signal(Signal::SIGHUP)?;
        }
        wait_until("header of the new web configuration", DEADLINE, || {
            let answer = self.staying.get("/-/healthy")?;
            let header = answer.header("x-frame-options").unwrap_or("none").to_owned();
            Ok(if header == wanted { Progress::Done(()) } else { Progress::NotYet(header) })
        })
    }

    /// An hour forward, or back. Samples follow the wall clock, and go on by the time since boot.
    fn step_clock(&mut self, round: usize) -> Result<()> {
        let ahead = if round.is_multiple_of(2) { STEP_SECONDS } else { 0 };
        fs::write(self.folder.path().join("clock"), ahead.to_string())?;
        wait_until("a sample by the new time", DEADLINE, || {
            let newest = newest_sample(&mut self.staying)?;
            let real = real_time()?;
            let is_new = newest.abs_diff(real + ahead) < STEP_SECONDS / 2;
            Ok(if is_new {
                Progress::Done(())
            } else {
                Progress::NotYet(format!("sample of {newest}, real time {real}, {ahead} ahead"))
            })
        })
    }

    /// Stopped while sockets change.
    fn stop_and_continue(&mut self) -> Result<()> {
        self.staying.signal(Signal::SIGSTOP)?;
        let pairs = Pairs::connect(20, Family::Ipv4)?;
        let leaked = pairs.close_clients()?;
        self.staying.signal(Signal::SIGCONT)?;
        drop(leaked);
        Ok(())
    }
}

fn options() -> Options {
    Options::default().args([
        "--netns=all",
        "--cgroups=/**",
        "--dwell=established",
        "--ports=10048",
    ])
}

fn web_config(frames: &str) -> String {
    format!("http_server_config:\n  headers:\n    X-Frame-Options: {frames}\n")
}

fn churn() -> Result<()> {
    for family in [Family::Ipv4, Family::Ipv6] {
        Churn { threads: 2, connections: 1_000, family, resets: true }.run()?;
    }
    Ok(())
}

fn namespaces_and_a_container() -> Result<()> {
    let mut residents = Vec::new();
    for number in 0..NAMESPACES {
        let mut resident = Resident::in_new_namespace()?;
        resident.order(&Order::Connect(1 + number))?;
        resident.order(&Order::Leak(1))?;
        residents.push(resident);
    }
    let mut container = Container::run(Maker::Docker)?;
    container.resident.order(&Order::Connect(2))
}

/// Its first gauges are right, and its end leaves no BPF object.
fn start_again() -> Result<()> {
    let address = "127.0.0.1:10049".parse()?;
    let mut exporter = options().listen(address).start()?;
    await_agreement(&mut exporter).context("the exporter that starts again")?;
    let objects = bpf_objects::held_by(exporter.pid())?;
    ensure!(!objects.is_empty(), "an exporter without BPF objects");
    for object in &objects {
        ensure!(bpf_objects::exists(*object)?, "{object:?} is held, and does not exist");
    }
    let status = exporter.stop()?;
    ensure!(status.success(), "{status}");
    wait_until("the end of all BPF objects", DEADLINE, || {
        let mut left = objects.clone();
        left.retain(|object| bpf_objects::exists(*object).unwrap_or(true));
        Ok(if left.is_empty() { Progress::Done(()) } else { Progress::NotYet(format!("{left:?}")) })
    })
}

/// The time of the newest sample, in seconds since 1970.
fn newest_sample(exporter: &mut Exporter) -> Result<u64> {
    let history: serde_json::Value = serde_json::from_str(&exporter.get("/api/v1/history")?.body)?;
    let times = history["unix_ms"].as_array().context("no times")?;
    Ok(times.last().and_then(serde_json::Value::as_u64).unwrap_or_default() / 1000)
}

fn real_time() -> Result<u64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())
}
