//! Scrapes, snapshots and memory, with more and more sockets.

use std::env;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::memory::resident_bytes;
use tcpstat_tests::node_exporter::NodeExporter;
use tcpstat_tests::population::Population;
use tcpstat_tests::scraper::Scraper;

use crate::Effort;
use crate::samples::Samples;

/// Scrapes of tcpstat for one of a tool that lists.
const SCRAPES: usize = 40;

pub(crate) fn measure(effort: Effort, samples: &mut Samples) -> Result<()> {
    let sizes = (1..).map(|power| 10_usize.pow(power)).take_while(|size| *size < effort.sockets);
    for sockets in sizes.chain([effort.sockets]) {
        eprintln!("{sockets} sockets ...");
        let populate = env::current_exe()?.with_file_name("populate");
        let _population = Population::hold(&populate, sockets)?;
        let rounds = if effort.short { 1 } else { 5 };
        snapshots(sockets, rounds, samples)?;
        scrapes(sockets, rounds, samples)?;
    }
    Ok(())
}

/// Starts of tcpstat with each source, and `cat` between them.
fn snapshots(sockets: usize, rounds: usize, samples: &mut Samples) -> Result<()> {
    for round in 1..=rounds {
        let cat = [("cat", "/proc/net/tcp"), ("cat6", "/proc/net/tcp6")];
        for (what, file) in cat {
            samples.add(what, sockets, timed(Command::new("cat").arg(file))?);
        }
        for (source, pass, start) in
            [("procfs", "pass_procfs", "start_procfs"), ("iter", "pass_iter", "start_iter")]
        {
            let started = Instant::now();
            let mut exporter = Exporter::start(&["--snapshot", source, "--snapshot-interval=1h"])?;
            samples.add(start, sockets, started.elapsed().as_secs_f64());
            let scrape = exporter.scrape()?;
            let labels = [("source", source)];
            let pass_seconds = scrape.value("tcpstat_snapshot_duration_seconds", &labels)?;
            samples.add(pass, sockets, pass_seconds);
        }
        eprintln!("    snapshots: round {round} of {rounds}");
    }
    Ok(())
}

/// Every tool in each round. Memory at the end of all of them.
fn scrapes(sockets: usize, rounds: usize, samples: &mut Samples) -> Result<()> {
    let mut exporter = Exporter::start(&[])?;
    let mut node_exporter =
        NodeExporter::start(["--collector.tcpstat", "--web.disable-exporter-metrics"])?;
    for round in 1..=rounds {
        for _ in 0..SCRAPES {
            samples.add("tcpstat", sockets, get(exporter.scraper(), "/metrics")?);
            let (seconds, bytes) = get_compressed(exporter.scraper())?;
            samples.add("tcpstat_gzip", sockets, seconds);
            samples.add("gzip_bytes", sockets, bytes);
            samples.add("empty", sockets, get(exporter.scraper(), "/-/healthy")?);
        }
        samples.add("node_exporter", sockets, get(&mut node_exporter.scraper, "/metrics")?);
        samples.add("ss", sockets, timed(Command::new("ss").arg("-tan"))?);
        eprintln!("    scrapes: round {round} of {rounds}");
    }
    samples.add("memory", sockets, resident_bytes(exporter.pid())? as f64);
    samples.add("node_exporter_memory", sockets, resident_bytes(node_exporter.pid())? as f64);
    Ok(())
}

/// Seconds from the request to the end of the answer.
pub(crate) fn get(scraper: &mut Scraper, path: &str) -> Result<f64> {
    let started = Instant::now();
    let response = scraper.get(path)?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(response.status == 200, "{path}: {}", response.status);
    Ok(seconds)
}

/// The same for a scrape as Prometheus requests it, and the length of its body.
fn get_compressed(scraper: &mut Scraper) -> Result<(f64, f64)> {
    let started = Instant::now();
    let accepts = [("Accept-Encoding", "gzip")];
    let (status, headers, body) = scraper.raw_request("GET", "/metrics", &accepts)?;
    let seconds = started.elapsed().as_secs_f64();
    let coding = headers.get("content-encoding").map(String::as_str);
    ensure!(status == 200 && coding == Some("gzip"), "/metrics: {status} {coding:?}");
    Ok((seconds, body.len() as f64))
}

/// Seconds from start to end, its output thrown away.
fn timed(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("start {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(started.elapsed().as_secs_f64())
}
