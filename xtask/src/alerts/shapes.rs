//! Small hosts of which the end-to-end tests make each socket (tests/tests/prometheus/shapes.rs): what the real exporter says of
//! these sockets must be what the corpus exports.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use super::export::{TARGET, export};
use super::host::Host;
use super::series::Sample;
use super::socket::{Family, HOST, Place};
use super::time::{MINUTE, SECOND, span};
use super::workload::{Acceptor, Closes, Pool, Rate, Side, Traffic};
use crate::files;

/// One course of events, and the times at which its sockets are at rest.
struct Shape {
    name: &'static str,
    tracer: bool,
    rests: &'static [u64],
    run: fn(&mut Host),
}

const fn shape(name: &'static str, rests: &'static [u64], run: fn(&mut Host)) -> Shape {
    Shape { name, tracer: true, rests, run }
}

/// Nothing is in TIME_WAIT for longer: what is there at the last rest has not ended.
const DURATION: u64 = MINUTE;

const PORT: &str = "8443";
const PLACE: Place = Place { netns: None, cgroup: None, port: Some(PORT) };
const UNIT: Place = Place { netns: None, cgroup: Some("/shop.service"), port: None };
const CONTAINER: Place = Place { netns: Some("shop/web-0"), cgroup: None, port: None };

/// Connections that a listener accepts and that the peer closes.
const REQUESTS: Traffic = Traffic {
    span: span(0, 10 * SECOND),
    rate: Rate::Every(2 * SECOND),
    side: Side::Accepts,
    family: Family::Ipv4,
    place: PLACE,
    life: span(20, 2 * SECOND),
    closes: Closes::PeerAlone,
    keepalive: false,
    destinations: 1,
};

const SHAPES: [Shape; 9] = [
    shape("leak", &[30 * SECOND], leak),
    Shape { tracer: false, ..shape("leak-without-tracer", &[30 * SECOND], leak) },
    shape("leak-in-scopes", &[30 * SECOND], |host| {
        host.listen(UNIT, PORT, 128);
        host.traffic(&Traffic { place: UNIT, ..REQUESTS });
        host.traffic(&Traffic { place: CONTAINER, ..REQUESTS });
    }),
    shape("half-closed", &[15 * SECOND, 50 * SECOND], |host| {
        host.listen(PLACE, PORT, 128);
        host.traffic(&Traffic { closes: Closes::Peer(span(20 * SECOND, 21 * SECOND)), ..REQUESTS });
    }),
    shape("pool", &[9 * SECOND, 25 * SECOND, 55 * SECOND], |host| {
        host.pool(&Pool {
            size: 5,
            opened: span(0, 5 * SECOND),
            closed: span(10 * SECOND, 15 * SECOND),
            noticed: span(30 * SECOND, 35 * SECOND),
            keepalive: false,
            place: HOST,
        });
    }),
    shape("ports", &[40 * SECOND], |host| {
        host.ephemeral_ports = 10;
        host.one_destination(&Traffic {
            rate: Rate::Every(500),
            side: Side::Connects,
            place: HOST,
            life: span(30, 30),
            closes: Closes::Owner,
            ..REQUESTS
        });
    }),
    shape("failing", &[30 * SECOND], |host| {
        let during = span(0, 10 * SECOND);
        host.failing(during, 3 * SECOND, Family::Ipv4, "refused", 1);
        host.failing(during, 2 * SECOND, Family::Ipv6, "refused", 1);
        // The program gives up after the second SYN.
        host.failing(during, 5 * SECOND, Family::Ipv4, "none", 1500);
    }),
    shape("accept-queue", &[30 * SECOND], |host| {
        host.acceptor(&Acceptor {
            port: PORT,
            limit: 2,
            span: span(0, DURATION),
            arrivals: Rate::Every(4 * SECOND),
            accepts: 1,
            stuck: span(0, 40 * SECOND),
            patience: DURATION,
        });
    }),
    shape("syn-flood", &[30 * SECOND], |host| {
        host.listen(HOST, PORT, 128);
        host.syn_flood(span(0, 10 * SECOND), SECOND, 128);
    }),
];

fn leak(host: &mut Host) {
    host.listen(PLACE, PORT, 128);
    host.traffic(&REQUESTS);
}

/// Writes `NAME.N.prom` to `folder` for each rest: all series, as in a scrape, with the values of that time.
pub(crate) fn write(folder: &Path) -> Result<()> {
    files::make_empty(folder)?;
    for Shape { name, tracer, rests, run } in SHAPES {
        let mut host = Host::new(DURATION, SECOND, tracer);
        run(&mut host);
        for (number, time) in rests.iter().enumerate() {
            fs::write(folder.join(format!("{name}.{number}.prom")), scrape(&host, *time))?;
        }
    }
    Ok(())
}

fn scrape(host: &Host, time: u64) -> String {
    let mut text = String::new();
    for series in export(host) {
        let Sample::Value(value) = series.samples[host.scrape_at(time)] else { continue };
        let name = series.name.replacen(TARGET, "", 1).replacen("{,", "{", 1);
        writeln!(text, "{name} {}", series.number(value)).expect("a string takes all");
    }
    text
}
