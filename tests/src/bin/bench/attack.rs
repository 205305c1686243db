//! Scrapes beside thousands of hostile connections, and without them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::hostile_clients::{Attack, Kind};
use tcpstat_tests::priority;
use tcpstat_tests::scraper::Scraper;

use crate::Effort;
use crate::samples::Samples;

/// The addresses of the hostile connections.
const ADDRESSES: u8 = 100;

/// A kind of attack, the name of its samples, and what the table calls them.
#[derive(Clone, Copy)]
pub(crate) struct Measured {
    kind: Kind,
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
}

pub(crate) const KINDS: [Measured; 4] = [
    Measured {
        kind: Kind::Idle,
        name: "scrape_under_idle_connections",
        what: "p99 of a scrape beside 2,000 idle connections, against none",
    },
    Measured {
        kind: Kind::HalfRequest,
        name: "scrape_under_half_requests",
        what: "p99 of a scrape beside 2,000 half requests, against none",
    },
    Measured {
        kind: Kind::SlowReader,
        name: "scrape_under_slow_readers",
        what: "p99 of a scrape beside 2,000 slow readers, against none",
    },
    Measured {
        kind: Kind::StalledStream,
        name: "scrape_under_stalled_streams",
        what: "p99 of a scrape beside 2,000 stalled streams, against none",
    },
];

/// The name of the samples without an attack.
pub(crate) const WITHOUT: &str = "scrape_without_attack";

/// Scrapes over a new connection each, without an attack and beside each kind of it.
pub(crate) fn measure(effort: Effort, samples: &mut Samples) -> Result<()> {
    let (connections, scrapes) = if effort.short { (200, 20) } else { (2_000, 600) };
    let attacks = KINDS.map(|Measured { kind, name, .. }| (name, Some(kind)));
    for (name, kind) in [(WITHOUT, None)].into_iter().chain(attacks) {
        eprintln!("{name} ...");
        // As its unit runs it.
        priority::set(priority::of_unit()?)?;
        let exporter = Exporter::start(&[])?;
        let address = exporter.address();
        let attack = kind
            .map(|kind| Attack::start_from_loopback(kind, ADDRESSES, connections, address))
            .transpose()?;
        // The scraper stands for another machine.
        priority::set(priority::HIGHEST)?;
        for _ in 0..scrapes {
            let started = Instant::now();
            Scraper::connect_from([127, 9, 0, 1].into(), address)?.scrape()?;
            samples.add(name, 0, started.elapsed().as_secs_f64());
            sleep(Duration::from_millis(5));
        }
        priority::set(0)?;
        drop(attack);
    }
    Ok(())
}
