//! Few descriptors, and many requests at once.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::hostile_clients::{ATTACK_DEADLINE, Attack, Kind};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::process_limits::set_limit;
use tcpstat_tests::scraper::{Scraper, connect_from};
use tcpstat_tests::unprivileged::{NOBODY, ReachableBinary};
use tempfile::TempDir;

use super::hanging_files::over_a_folder;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        with_64_descriptors_it_serves_and_takes_snapshots_while_clients_hold_connections,
        the_soft_limit_on_descriptors_is_raised_to_the_hard_limit,
        a_scraper_that_keeps_its_connection_is_not_disconnected,
        requests_above_the_limit_are_503_and_name_the_flag,
        a_limit_of_0_answers_on_every_connection,
        an_unread_answer_is_dropped_for_a_new_request,
        unread_histories_do_not_block_other_clients,
        while_the_kernel_starts_no_thread_it_answers_and_stops
    ]
}

/// Limits the descriptors of the processes that this one starts.
fn limit_descriptors(soft: u64, hard: u64) -> Result<()> {
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).context("setrlimit(RLIMIT_NOFILE)")
}

pub(crate) fn address_of(last: u8) -> IpAddr {
    [127, 9, 0, last].into()
}

fn with_64_descriptors_it_serves_and_takes_snapshots_while_clients_hold_connections(
    _: &Namespace,
) -> Result<()> {
    limit_descriptors(64, 64)?;
    let mut exporter = Exporter::start(&["--snapshot=procfs", "--snapshot-interval=100ms"])?;
    // This process has 64 descriptors too.
    let hold = |n: u8| -> Result<TcpStream> {
        let mut half = connect_from(address_of(1), exporter.address())?;
        half.write_all(&b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\n"[..usize::from(n % 30)])?;
        Ok(half)
    };
    let _held = (0..40).map(hold).collect::<Result<Vec<_>>>()?;
    let snapshot = |exporter: &mut Exporter| -> Result<f64> {
        let mut scraper = Scraper::connect_from(address_of(2), exporter.address())?;
        let scrape = scraper.scrape()?;
        scrape.value("tcpstat_snapshot_timestamp_seconds", &[("source", "procfs")])
    };
    let first = snapshot(&mut exporter)?;
    for _ in 0..3 {
        wait_until("later snapshot", DEADLINE, || {
            let later = snapshot(&mut exporter)?;
            Ok(if later > first { Progress::Done(()) } else { Progress::NotYet(later.to_string()) })
        })?;
    }
    let scrape = Scraper::connect_from(address_of(2), exporter.address())?.scrape()?;
    assert_eq!(scrape.value("tcpstat_snapshot_errors_total", &[])?, 0.0, "{}", exporter.log());
    ensure!(!exporter.log().contains("(os error 24)"), "{}", exporter.log());
    ensure!(exporter.log().contains("closing idle ones for new ones"), "{}", exporter.log());
    Ok(())
}

fn the_soft_limit_on_descriptors_is_raised_to_the_hard_limit(_: &Namespace) -> Result<()> {
    limit_descriptors(80, 300)?;
    let mut exporter = Exporter::start(&[])?;
    assert_eq!(exporter.scrape()?.value("process_max_fds", &[])?, 300.0);
    Ok(())
}

fn a_scraper_that_keeps_its_connection_is_not_disconnected(_: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&[])?;
    let mut kept = Scraper::connect_from(address_of(1), exporter.address())?;
    kept.scrape()?;
    // More clients than connections: none has more than two.
    let sources = (1..=250).map(|n| [127, 8, 0, n].into()).collect();
    let attack = Attack::start(Kind::Idle, sources, 2, exporter.address())?;
    for opened in [1_000, 2_000, 3_000] {
        wait_until("attack", ATTACK_DEADLINE, || {
            let now = attack.opened();
            Ok(if now >= opened { Progress::Done(()) } else { Progress::NotYet(now.to_string()) })
        })?;
        kept.scrape()?;
    }
    Ok(())
}

/// Sends requests and reads no answer, until the answers fill every buffer.
fn ask_without_reading(source: IpAddr, address: SocketAddr) -> Result<TcpStream> {
    let mut stream = connect_from(source, address)?;
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let request = b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\n\r\n";
    // The write fails when the server no longer reads, because it waits for the client to read.
    for _ in 0..100_000 {
        if stream.write_all(request).is_err() {
            break;
        }
    }
    Ok(stream)
}

/// More answers than the default limit are under way.
fn a_limit_of_0_answers_on_every_connection(_: &Namespace) -> Result<()> {
    let folder = TempDir::new()?;
    let (exporter, fuse, _) = over_a_folder(&folder, "--web.max-requests=0")?;
    fuse.freeze();
    let ask = |n| -> Result<TcpStream> {
        let mut stream = connect_from(address_of(n), exporter.address())?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\n\r\n")?;
        Ok(stream)
    };
    let _waiting = (1..=60).map(ask).collect::<Result<Vec<_>>>()?;
    let answer = Scraper::connect_from(address_of(99), exporter.address())?.get("/-/healthy")?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Ok(())
}

fn an_unread_answer_is_dropped_for_a_new_request(_: &Namespace) -> Result<()> {
    let mut exporter = Exporter::start(&["--web.max-requests=2"])?;
    let held = (1..=2)
        .map(|n| ask_without_reading(address_of(n), exporter.address()))
        .collect::<Result<Vec<_>>>()?;
    // Unread answers take both places: one is dropped at once.
    exporter.scrape()?;
    let mut ended = 0;
    for mut stream in held {
        stream.set_nonblocking(true)?;
        let mut rest = vec![0; 1 << 20];
        loop {
            match stream.read(&mut rest) {
                Ok(0) => break ended += 1,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => break ended += 1,
            }
        }
    }
    assert_eq!(ended, 1, "{}", exporter.log());
    Ok(())
}

fn requests_above_the_limit_are_503_and_name_the_flag(_: &Namespace) -> Result<()> {
    let folder = TempDir::new()?;
    let (exporter, fuse, _) = over_a_folder(&folder, "--web.max-requests=1")?;
    fuse.freeze();
    let address = exporter.address();
    let slow = connect_from(address_of(1), address)?;
    (&slow).write_all(b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\n\r\n")?;
    let refused = wait_until("refusal", DEADLINE, || {
        let response = Scraper::connect_from(address_of(2), address)?.get("/-/healthy")?;
        Ok(if response.status == 503 {
            Progress::Done(response)
        } else {
            Progress::NotYet(response.status.to_string())
        })
    })?;
    assert_eq!(refused.header("retry-after"), Some("1"));
    ensure!(refused.body.contains("--web.max-requests"), "{}", refused.body);
    // The slow answer ends, and others are served.
    wait_until("answer", DEADLINE, || {
        let status = Scraper::connect_from(address_of(2), address)?.get("/-/healthy")?.status;
        Ok(if status == 200 { Progress::Done(()) } else { Progress::NotYet(status.to_string()) })
    })
}

/// Requests more histories than the exporter sends at once, and reads none of them.
fn unread_histories_do_not_block_other_clients(_: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&[])?;
    let request = b"GET /api/v1/history HTTP/1.1\r\nHost: tcpstat\r\n\r\n";
    // Until the exporter stops reading.
    let ask = |n| -> Result<TcpStream> {
        let mut stream = connect_from(address_of(n), exporter.address())?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        for _ in 0..20_000 {
            if stream.write_all(request).is_err() {
                break;
            }
        }
        Ok(stream)
    };
    let _held = (1..=6).map(ask).collect::<Result<Vec<_>>>()?;
    let response =
        Scraper::connect_from(address_of(99), exporter.address())?.get("/api/v1/history")?;
    assert_eq!(response.status, 200, "{}", response.body);
    Ok(())
}

fn while_the_kernel_starts_no_thread_it_answers_and_stops(_: &Namespace) -> Result<()> {
    let binary = ReachableBinary::copy()?;
    let mut exporter = binary.serve(&["--tracer=off"])?;
    set_limit(&NOBODY.to_string(), exporter.pid(), "--nproc=1:")?;
    let mut scraper = Scraper::connect(exporter.address())?;
    for path in ["/api/v1/history", "/api/v1/scopes", "/api/v1/status"] {
        assert_eq!(scraper.get(path)?.status, 200, "{path}: {}", exporter.log());
    }
    exporter.signal(Signal::SIGTERM)?;
    let status = exporter.wait_end()?;
    ensure!(status.success(), "{status}: {}", exporter.log());
    ensure!(!exporter.log().contains("defect"), "{}", exporter.log());
    Ok(())
}
