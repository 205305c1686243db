//! Hundreds of scopes: their seeds and checks, scrapes, and memory, beside reading the files that list the same
//! sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::time::ClockId;
use nix::unistd::Pid;
use tcpstat_tests::deadline::{Progress, poll};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::memory::resident_bytes;
use tcpstat_tests::priority;
use tcpstat_tests::resident::Order;
use tcpstat_tests::scopes::{infos, inode};

use crate::Effort;
use crate::many::{Cgroups, Namespaces};
use crate::samples::Samples;

const FLAGS: [&str; 2] = ["--netns=all", "--cgroups=*"];

/// The pause between two scrapes that wait for gauges: the exporter spends CPU time on each.
const POLL: Duration = Duration::from_millis(250);

/// Scrapes for one reading of all files.
const SCRAPES: usize = 30;

#[derive(Clone, Copy)]
struct Size {
    namespaces: usize,
    cgroups: usize,
    /// Established sockets of each namespace.
    sockets: usize,
    rounds: usize,
    /// Long enough for a snapshot of each namespace.
    rest: Duration,
}

const LONG: Size =
    Size { namespaces: 200, cgroups: 100, sockets: 500, rounds: 5, rest: Duration::from_secs(330) };
const SHORT: Size =
    Size { namespaces: 4, cgroups: 2, sockets: 10, rounds: 1, rest: Duration::from_secs(1) };

/// Starts with all namespaces and their sockets there.
pub(crate) fn starts(effort: Effort, samples: &mut Samples) -> Result<()> {
    let size = if effort.short { SHORT } else { LONG };
    let Size { namespaces, sockets, .. } = size;
    eprintln!("starts with {namespaces} namespaces with {sockets} sockets each ...");
    let others = Namespaces::make(namespaces, sockets / 2)?;
    let inums = others.inums()?;
    for round in 1..=size.rounds {
        start(sockets, &inums, samples)?;
        eprintln!("    starts: round {round} of {}", size.rounds);
    }
    Ok(())
}

/// Checks, scrapes and memory.
pub(crate) fn measure(effort: Effort, samples: &mut Samples) -> Result<()> {
    let size = if effort.short { SHORT } else { LONG };
    let Size { namespaces, cgroups, sockets, .. } = size;
    eprintln!("{namespaces} namespaces with {sockets} sockets each, and {cgroups} cgroups ...");
    let mut others = Namespaces::make(namespaces, sockets / 2)?;
    let _units = Cgroups::make(cgroups)?;
    let inums = others.inums()?;
    let mut exporter = start_as_unit()?;
    await_seeds(&mut exporter, &inums, sockets)?;
    rest(&mut exporter, &inums, size.rest, samples)?;
    let names = ScrapeNames { wall: "scopes_scrape", cpu: "scopes_scrape_cpu" };
    for round in 1..=size.rounds {
        scrapes(&exporter, names, samples)?;
        let (bytes, wall, cpu) = timed(ClockId::CLOCK_THREAD_CPUTIME_ID, || others.read_sockets())?;
        samples.add("scopes_files", 0, wall);
        samples.add("scopes_files_cpu", 0, cpu);
        samples.add("scopes_files_bytes", 0, bytes as f64);
        eprintln!("    scrapes: round {round} of {}", size.rounds);
    }
    samples.add("scopes_memory", 0, resident_bytes(exporter.pid())? as f64);
    others.order(&Order::Close)?;
    others.order(&Order::Connect(1))?;
    await_seeds(&mut exporter, &inums, 2)?;
    let names = ScrapeNames { wall: "scopes_scrape_few", cpu: "scopes_scrape_few_cpu" };
    for _ in 0..size.rounds {
        scrapes(&exporter, names, samples)?;
    }
    Ok(())
}

/// From the start until the own namespace has gauges, and until all have. CPU time is that of the exporter.
fn start(sockets: usize, inums: &BTreeSet<u64>, samples: &mut Samples) -> Result<()> {
    let started = Instant::now();
    let mut exporter = start_as_unit()?;
    samples.add("scopes_ready", 0, started.elapsed().as_secs_f64());
    await_seeds(&mut exporter, inums, sockets)?;
    samples.add("scopes_seeded", 0, started.elapsed().as_secs_f64());
    samples.add("scopes_seeded_cpu", 0, process_clock(&exporter)?.now()?.as_seconds());
    Ok(())
}

/// With the priority of its unit.
fn start_as_unit() -> Result<Exporter> {
    priority::set(priority::of_unit()?)?;
    let exporter = Exporter::start(&FLAGS);
    priority::set(0)?;
    exporter
}

/// Waits until each of these namespaces is exported with that many established sockets.
fn await_seeds(exporter: &mut Exporter, inums: &BTreeSet<u64>, sockets: usize) -> Result<()> {
    poll("gauges of all namespaces", Duration::from_mins(1), POLL, || {
        let scrape = exporter.scrape()?;
        let mut names = BTreeMap::new();
        for labels in infos(&scrape)? {
            names.insert(labels["netns"].clone(), inode(&labels)?);
        }
        let right = scrape.family("tcpstat_netns_connections").into_iter().filter(|sample| {
            let of_it = names.get(&sample.labels["netns"]);
            of_it.is_some_and(|inum| inums.contains(inum))
                && sample.labels["state"] == "established"
                && sample.count() == Some(sockets as u64)
        });
        Ok(match right.count() {
            all if all == inums.len() => Progress::Done(()),
            some => Progress::NotYet(format!("{some} of {}", inums.len())),
        })
    })
}

/// The share of a core without scrapes, and the share of the namespaces that had a snapshot meanwhile.
fn rest(
    exporter: &mut Exporter,
    inums: &BTreeSet<u64>,
    duration: Duration,
    samples: &mut Samples,
) -> Result<()> {
    let before = snapshot_times(exporter, inums)?;
    let clock = process_clock(exporter)?;
    let (started, spent) = (Instant::now(), clock.now()?.as_seconds());
    sleep(duration);
    let (elapsed, spent) = (started.elapsed(), clock.now()?.as_seconds() - spent);
    samples.add("scopes_rest_cpu", 0, spent / elapsed.as_secs_f64());
    exporter.reconnect()?;
    let after = snapshot_times(exporter, inums)?;
    let listed = after.iter().filter(|(inum, time)| before.get(inum) != Some(time)).count();
    samples.add("scopes_rest_listed", 0, listed as f64 / inums.len() as f64);
    Ok(())
}

/// When the last snapshot of each of these namespaces ended.
fn snapshot_times(exporter: &mut Exporter, inums: &BTreeSet<u64>) -> Result<BTreeMap<u64, String>> {
    let scrape = exporter.scrape()?;
    let mut times = BTreeMap::new();
    for labels in infos(&scrape)? {
        let inum = inode(&labels)?;
        if inums.contains(&inum) {
            let of_it = [("netns", &*labels["netns"])];
            let time = scrape.value("tcpstat_netns_snapshot_timestamp_seconds", &of_it)?;
            times.insert(inum, time.to_string());
        }
    }
    Ok(times)
}

#[derive(Clone, Copy)]
struct ScrapeNames {
    wall: &'static str,
    cpu: &'static str,
}

/// Scrapes without gzip over one connection: until the end of the answer, and the exporter's CPU time for one.
fn scrapes(exporter: &Exporter, names: ScrapeNames, samples: &mut Samples) -> Result<()> {
    let mut stream = TcpStream::connect(exporter.address())?;
    for _ in 0..SCRAPES {
        let (bytes, wall, cpu) = timed(process_clock(exporter)?, || answer(&mut stream))?;
        samples.add(names.wall, 0, wall);
        samples.add(names.cpu, 0, cpu);
        samples.add("scopes_scrape_bytes", 0, bytes as f64);
    }
    Ok(())
}

/// The length of a body. It is read as it comes: a client that understands it would take longer than the exporter.
fn answer(stream: &mut TcpStream) -> Result<usize> {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut stream = BufReader::with_capacity(1 << 20, stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200 "), "/metrics: {line:?}");
    let mut length = None;
    while line != "\r\n" {
        line.clear();
        ensure!(stream.read_line(&mut line)? > 0, "/metrics: the answer ends in its head");
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse()?);
        }
    }
    let length: usize = length.context("/metrics: no Content-Length")?;
    stream.read_exact(&mut vec![0; length])?;
    Ok(length)
}

fn process_clock(exporter: &Exporter) -> Result<ClockId> {
    let pid = Pid::from_raw(exporter.pid().try_into()?);
    ClockId::pid_cpu_clock_id(pid).context("clock_getcpuclockid")
}

/// What `work` returns, its seconds, and those of that clock.
fn timed<T>(clock: ClockId, work: impl FnOnce() -> Result<T>) -> Result<(T, f64, f64)> {
    let (started, spent) = (Instant::now(), clock.now()?.as_seconds());
    let done = work()?;
    Ok((done, started.elapsed().as_secs_f64(), clock.now()?.as_seconds() - spent))
}

/// A time of nix in seconds.
trait Seconds {
    fn as_seconds(&self) -> f64;
}

impl Seconds for nix::sys::time::TimeSpec {
    fn as_seconds(&self) -> f64 {
        Duration::from(*self).as_secs_f64()
    }
}
