//! Attacks on the handshakes of an exporter that serves HTTPS: others are served, and memory is bounded.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::curl::Curl;
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::hostile_clients::{Attack, Kind};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::priority;
use tcpstat_tests::web_config::{self, TLS};

use crate::attacks::{await_end, check_memory, sockets};

/// Hostile connections, from a hundred addresses.
const CONNECTIONS: usize = 1_000;

const SCRAPES: usize = 40;

const KINDS: [(&str, Kind); 4] = [
    ("clients_without_a_handshake", Kind::Idle),
    ("slow_handshakes", Kind::SlowHandshake),
    ("half_handshakes", Kind::HalfHandshake),
    ("repeated_handshakes", Kind::RepeatedHandshake),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests =
        kernel_tests![a_renegotiation_ends_its_connection_and_resumed_sessions_are_served];
    for (word, kind) in KINDS {
        let name = format!("{word}_starve_no_scraper_and_take_little_memory");
        tests.push(kernel_test(name, move |_| attacked(kind)));
    }
    tests
}

/// An exporter that serves HTTPS, and a client that accepts its certificate.
fn locked(authority: &tcpstat_tests::certificates::Authority) -> Result<(Exporter, Curl)> {
    let file = web_config::write(authority, TLS)?;
    let file = format!("--web.config.file={}", file.display());
    let exporter = Options::default().args([file]).start_locked()?;
    Ok((exporter, Curl::default().authority(&authority.path("ca.crt"))))
}

fn attacked(kind: Kind) -> Result<()> {
    priority::set(priority::of_unit()?)?;
    let authority = web_config::authority()?;
    let (exporter, curl) = locked(&authority)?;
    let (pid, url) = (exporter.pid(), format!("https://{}/metrics", exporter.address()));
    ensure!(curl.get(&url)?.status == 200);
    let before = sockets(pid)?;
    let attack = Attack::start_from_loopback(kind, 100, CONNECTIONS, exporter.address())?;
    for number in 0..SCRAPES {
        let answer = curl.get(&url)?;
        ensure!(answer.status == 200, "scrape {number}: {answer:?}");
        check_memory(pid)?;
    }
    drop(attack);
    await_end(pid, before)?;
    ensure!(curl.get(&url)?.status == 200);
    Ok(())
}

/// A client that may ask for new keys as often as it likes makes the server work for nothing.
fn a_renegotiation_ends_its_connection_and_resumed_sessions_are_served(
    _: &Namespace,
) -> Result<()> {
    let authority = web_config::authority()?;
    let (exporter, curl) = locked(&authority)?;
    let address = exporter.address().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-tls1_2", "-connect", &address]);
    openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = openssl.spawn()?;
    // Each line asks for a renegotiation.
    client.stdin.as_mut().context("no input")?.write_all(&b"R\n".repeat(10))?;
    let run = client.wait_with_output()?;
    let text = String::from_utf8_lossy(&run.stderr);
    ensure!(!run.status.success() && text.contains("no renegotiation"), "{text}");

    let resumed = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-reconnect", "-connect", &address])
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&resumed.stdout);
    ensure!(text.matches("Reused, TLSv1.2").count() == 5, "{text}");
    ensure!(curl.get(&format!("https://{address}/metrics"))?.status == 200);
    Ok(())
}
