//! Two thousand hostile connections of each kind, from one address and from a hundred, beside a scraper.
//!
//! Every scrape must be answered: none is refused, and none takes longer than the deadline after which a
//! [`Scraper`] fails. How long they take is measured by the part `attack` of `cargo xtask bench`.

use std::fs;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::deadline::{Progress, poll};
use tcpstat_tests::events::EventStream;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::hostile_clients::{ATTACK_DEADLINE, Attack, Kind};
use tcpstat_tests::memory::resident_bytes;
use tcpstat_tests::priority;
use tcpstat_tests::scraper::Scraper;

/// Hostile connections.
const CONNECTIONS: usize = 2_000;

/// Scrapes over each of the two kinds of connection, and the pause between two.
const SCRAPES: usize = 600;
const PAUSE: Duration = Duration::from_millis(5);

/// Limit of the exporter's memory.
pub(crate) const RESIDENT_BYTES: u64 = 32_000_000;

const KINDS: [(&str, Kind); 4] = [
    ("idle_connections", Kind::Idle),
    ("half_requests", Kind::HalfRequest),
    ("slow_readers", Kind::SlowReader),
    ("stalled_streams", Kind::StalledStream),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (word, kind) in KINDS {
        for (from, addresses) in [("one_address", 1), ("a_hundred_addresses", 100)] {
            let name = format!("{word}_from_{from}_starve_no_scraper_and_take_little_memory");
            tests.push(kernel_test(name, move |_| attacked(kind, addresses)));
        }
    }
    tests
}

fn attacked(kind: Kind, addresses: u8) -> Result<()> {
    // As its unit runs it.
    priority::set(priority::of_unit()?)?;
    let exporter = Exporter::start(&[])?;
    let (pid, address) = (exporter.pid(), exporter.address());
    let mut kept = Scraper::connect_from([127, 9, 0, 1].into(), address)?;
    kept.scrape()?;
    let before = sockets(pid)?;

    let attack = Attack::start_from_loopback(kind, addresses, CONNECTIONS, address)?;

    priority::set(priority::HIGHEST)?;
    for number in 0..SCRAPES {
        let what = |connection| format!("scrape {number} on {connection} connection");
        kept.scrape().with_context(|| what("the kept"))?;
        scrape_on_a_new_connection(address).with_context(|| what("a new"))?;
        check_memory(pid)?;
        sleep(PAUSE);
    }
    if kind == Kind::StalledStream {
        let mut stream = EventStream::open_from([127, 9, 0, 3].into(), address, "/api/v1/stream")?;
        // Streams of a hundred addresses may take all places.
        ensure!(addresses > 1 || stream.status == 200, "{}", stream.status);
        ensure!(stream.status != 200 || stream.next_event()?.is_some(), "the stream has ended");
    }

    drop(attack);
    await_end(pid, before)?;
    kept.scrape()?;
    Ok(())
}

/// Fails if the exporter takes too much memory.
pub(crate) fn check_memory(pid: u32) -> Result<()> {
    let resident = resident_bytes(pid)?;
    ensure!(resident < RESIDENT_BYTES, "{resident} bytes are resident");
    Ok(())
}

/// Waits until the exporter has no more sockets open than `before` the attack.
pub(crate) fn await_end(pid: u32, before: usize) -> Result<()> {
    poll("end of every hostile connection", ATTACK_DEADLINE, PAUSE, || {
        let now = sockets(pid)?;
        Ok(if now <= before {
            Progress::Done(())
        } else {
            Progress::NotYet(format!("{now} of {before}"))
        })
    })
}

fn scrape_on_a_new_connection(address: SocketAddr) -> Result<()> {
    Scraper::connect_from([127, 9, 0, 2].into(), address)?.scrape()?;
    Ok(())
}

/// The sockets that the exporter has open. Other descriptors may be added for good: those of the iterator.
pub(crate) fn sockets(pid: u32) -> Result<usize> {
    let links = fs::read_dir(format!("/proc/{pid}/fd"))?.filter_map(|entry| {
        // A descriptor can be closed meanwhile.
        fs::read_link(entry.ok()?.path()).ok()
    });
    Ok(links.filter(|link| link.to_string_lossy().starts_with("socket:")).count())
}
