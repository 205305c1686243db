//! Clients that try passwords: a check takes a processor for a while, and there is one at a time.

use std::io::Write;
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::curl::Curl;
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::scraper::connect_from;
use tcpstat_tests::web_config::{self, USER_OF_SLOW_HASH};

/// More than the answers that may be under way.
const ATTEMPTS: usize = 100;

/// Attempts that may be over before the scraper has its answer: fewer than those answers.
const BEFORE: usize = 30;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![many_wrong_passwords_of_one_client_do_not_keep_another_one_waiting]
}

fn many_wrong_passwords_of_one_client_do_not_keep_another_one_waiting(_: &Namespace) -> Result<()> {
    let authority = web_config::authority()?;
    let file = web_config::write(&authority, USER_OF_SLOW_HASH)?;
    let file = format!("--web.config.file={}", file.display());
    let exporter = Options::default().args([file]).start_locked()?;
    let url = format!("http://{}/metrics", exporter.address());
    let attempt = |number: usize| {
        let mut stream = connect_from([127, 8, 0, 1].into(), exporter.address())?;
        // `alice:` and three bytes in base64.
        let credentials = format!("YWxpY2U6{number:04}");
        let head = "GET /metrics HTTP/1.1\r\nHost: tcpstat\r\nAuthorization: Basic";
        stream.write_all(format!("{head} {credentials}\r\n\r\n").as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let attempts: Vec<TcpStream> = (0..ATTEMPTS).map(attempt).collect::<Result<_>>()?;
    let scraper = Curl::default().user("alice", "secret");
    // The second answer needs no check.
    for number in 1..=2 {
        let answer = scraper.get(&url)?;
        ensure!(answer.status == 200, "scrape {number}: {answer:?}");
    }
    let mut byte = [0];
    let over = attempts.iter().filter(|stream| stream.peek(&mut byte).is_ok()).count();
    ensure!(over < BEFORE, "{over} of {ATTEMPTS} attempts were answered first");
    exporter.wait_log("wrong user name or password").context("no attempt was checked")
}
