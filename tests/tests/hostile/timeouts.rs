//! Connections that take too long end; others do not.

use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tcpstat_tests::binary::output;
use tcpstat_tests::curl::Curl;
use tcpstat_tests::deadline::{Progress, poll};
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hostile_clients::{Kind, hold};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::scraper::{Scraper, connect_from};
use tcpstat_tests::web_config;

/// From the first byte of a request to its last.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a test waits for an end that the exporter promises earlier: a loaded machine may be late.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        half_a_request_times_out_and_an_idle_connection_does_not,
        a_request_that_trickles_times_out,
        a_tls_handshake_that_does_not_come_times_out,
        a_head_of_more_than_16_kilobytes_is_refused,
        keepalive_is_on_for_every_connection,
        a_stream_that_nobody_reads_times_out
    ]
}

const HALF: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\nX-Half: ";

fn source() -> IpAddr {
    [127, 9, 0, 1].into()
}

fn half_a_request_times_out_and_an_idle_connection_does_not(_: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&[])?;
    let mut kept = Scraper::connect(exporter.address())?;
    kept.scrape()?;
    let mut silent = connect_from(source(), exporter.address())?;
    let mut half = connect_from(source(), exporter.address())?;
    half.set_read_timeout(Some(PATIENCE))?;
    let begun = Instant::now();
    half.write_all(HALF)?;
    match half.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => bail!("{other:?} after {:?}", begun.elapsed()),
    }
    ensure!(begun.elapsed() >= REQUEST_TIMEOUT, "after {:?}", begun.elapsed());
    // No timeout runs between two requests, nor before the first.
    kept.scrape()?;
    silent.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: tcpstat\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    silent.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

/// More bytes do not extend the timeout.
fn a_request_that_trickles_times_out(_: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&[])?;
    let mut half = connect_from(source(), exporter.address())?;
    let begun = Instant::now();
    half.write_all(HALF)?;
    poll("end of the connection", PATIENCE, Duration::from_millis(500), || {
        Ok(match half.write_all(b"x") {
            Ok(()) => Progress::NotYet("it is open".to_owned()),
            Err(_) => Progress::Done(()),
        })
    })?;
    ensure!(begun.elapsed() >= REQUEST_TIMEOUT, "after {:?}", begun.elapsed());
    Ok(())
}

/// Of a client that sends nothing, and of one that sends the record of a ClientHello byte by byte.
fn a_tls_handshake_that_does_not_come_times_out(_: &Namespace) -> Result<()> {
    let authority = web_config::authority()?;
    let file = web_config::write(&authority, web_config::TLS)?;
    let file = format!("--web.config.file={}", file.display());
    let exporter = Options::default().args([file]).start_locked()?;
    let mut silent = connect_from(source(), exporter.address())?;
    silent.set_read_timeout(Some(PATIENCE))?;
    let mut slow = connect_from(source(), exporter.address())?;
    let begun = Instant::now();
    // A handshake record of 16 KiB begins.
    slow.write_all(&[0x16, 3, 1, 0x40, 0, 1])?;
    poll("end of the slow connection", PATIENCE, Duration::from_millis(500), || {
        Ok(match slow.write_all(&[0]) {
            Ok(()) => Progress::NotYet("it is open".to_owned()),
            Err(_) => Progress::Done(()),
        })
    })?;
    match silent.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => bail!("{other:?} after {:?}", begun.elapsed()),
    }
    ensure!(begun.elapsed() >= REQUEST_TIMEOUT, "after {:?}", begun.elapsed());
    let curl = Curl::default().authority(&authority.path("ca.crt"));
    let answer = curl.get(&format!("https://{}/-/healthy", exporter.address()))?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

fn a_head_of_more_than_16_kilobytes_is_refused(_: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&[])?;
    for (bytes, status) in [(12_000, 200), (40_000, 431)] {
        let mut scraper = Scraper::connect(exporter.address())?;
        let long = "x".repeat(bytes);
        let response = scraper.request("GET", "/-/healthy", &[("X-Long", &long)])?;
        assert_eq!(response.status, status, "{bytes}");
    }
    Ok(())
}

/// The kernel needs almost a minute to notice a peer that vanishes, so the test reads the timer instead.
fn keepalive_is_on_for_every_connection(_: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&["--web.listen-address=[::1]:10049"])?;
    for address in ["127.0.0.1:10048".parse()?, "[::1]:10049".parse()?] {
        let mut scraper = Scraper::connect(address)?;
        scraper.get("/-/healthy")?;
        let port = address.port();
        let filter = format!("( sport = :{port} )");
        let run = output(Command::new("ss").args(["-Htno", "state", "established", &filter]))?;
        let timer = run.stdout.split("timer:(keepalive,").nth(1).context(run.stdout.clone())?;
        let left = timer.split([',', ')']).next().context(run.stdout.clone())?;
        let seconds: f64 = match (left.strip_suffix("ms"), left.strip_suffix("sec")) {
            (Some(milliseconds), _) => milliseconds.parse::<f64>()? / 1e3,
            (_, Some(seconds)) => seconds.parse()?,
            _ => bail!("{}", run.stdout),
        };
        ensure!(seconds <= 15.0, "{}", run.stdout);
    }
    drop(exporter);
    Ok(())
}

/// The buffers fill first, by one event a second; then the timeout begins.
fn a_stream_that_nobody_reads_times_out(_: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&[])?;
    let _held = hold(Kind::StalledStream, source(), exporter.address())?;
    let connections = || -> Result<usize> {
        let run = output(Command::new("ss").args(["-Htn", "sport", "=", ":10048"]))?;
        Ok(run.stdout.lines().filter(|line| line.contains("127.9.0.1:")).count())
    };
    assert_eq!(connections()?, 1);
    poll("end of the stream", Duration::from_mins(2), Duration::from_millis(500), || {
        let now = connections()?;
        Ok(if now == 0 { Progress::Done(()) } else { Progress::NotYet(now.to_string()) })
    })
}
