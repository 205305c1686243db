//! Healthy days: what happens on hosts where nothing is wrong.

use super::super::host::Host;
use super::super::socket::{Family, HOST};
use super::super::time::{HOUR, MINUTE, SECOND, span};
use super::super::workload::{Acceptor, Closes, Pool, Rate, Side, Traffic};
use super::{Expected, Scenario, load};

const fn day(name: &'static str, hours: u64, run: fn(&mut Host)) -> Scenario {
    Scenario { name, hours, tracer: true, expected: Expected::Quiet, run }
}

const OFFICE: Rate = Rate::Office { hour: 6, night: 10 * SECOND, day: 500 };

/// A pool that nobody uses from then on: the peer closes it, and its owner notices in the evening.
const IDLE_POOL: Pool = Pool {
    size: 60,
    opened: span(5 * MINUTE, 10 * MINUTE),
    closed: span(HOUR, HOUR + 1),
    noticed: span(3 * HOUR, 3 * HOUR + MINUTE),
    keepalive: false,
    place: HOST,
};

const REQUESTS: Traffic = Traffic {
    span: span(0, 0),
    rate: Rate::Every(SECOND),
    side: Side::Accepts,
    family: Family::Ipv4,
    place: HOST,
    life: span(50, 5 * SECOND),
    closes: Closes::Peer(span(0, SECOND)),
    keepalive: false,
    destinations: 1,
};

/// One connect a second that the host itself makes and closes.
fn connects_all_day(host: &Host) -> Traffic {
    Traffic {
        span: span(0, host.duration),
        side: Side::Connects,
        closes: Closes::Owner,
        ..REQUESTS
    }
}

pub(super) const ALL: [Scenario; 22] = [
    day("pool: idle, its backend closes all connections after a while", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        host.pool(&Pool { closed: span(HOUR, HOUR + 5 * SECOND), ..IDLE_POOL });
    }),
    day("pool: its idle connections are closed one by one, 3 a minute", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        host.pool(&Pool { closed: span(HOUR, HOUR + 20 * MINUTE), ..IDLE_POOL });
    }),
    day("pool: its idle connections are closed one by one, 15 a minute", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        let closed = span(HOUR, HOUR + 10 * MINUTE);
        host.pool(&Pool { size: 150, closed, ..IDLE_POOL });
    }),
    day("pool: fills while the load rises", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        let opened = span(10 * MINUTE, 2 * HOUR);
        host.pool(&Pool {
            size: 200,
            opened,
            closed: span(3 * HOUR, 3 * HOUR + SECOND),
            ..IDLE_POOL
        });
    }),
    day("pool: loses its backend twice, keepalive on", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        host.pool(&Pool { keepalive: true, ..IDLE_POOL });
        let (opened, again) = (span(HOUR + MINUTE, HOUR + 40 * MINUTE), 2 * HOUR);
        host.pool(&Pool { keepalive: true, opened, closed: span(again, again + 1), ..IDLE_POOL });
        let down = span(again, again + 90 * SECOND);
        host.failing(down, SECOND, Family::Ipv4, "refused", 1);
    }),
    day("rolling deploy of ten backends, a pool to each", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        for backend in 0..10 {
            let closed = HOUR + backend * 2 * MINUTE;
            // Most are used again soon, found closed, and opened again; some stay idle.
            let used = span(closed, closed + 5 * MINUTE);
            let closed = span(closed, closed + SECOND);
            host.pool(&Pool { size: 8, closed, noticed: used, ..IDLE_POOL });
            let opened = used;
            let closed_later = span(3 * HOUR + 50 * MINUTE, 3 * HOUR + 51 * MINUTE);
            host.pool(&Pool { size: 8, opened, closed: closed_later, ..IDLE_POOL });
            host.pool(&Pool { size: 4, closed, ..IDLE_POOL });
            let down = span(closed.from, closed.from + 20 * SECOND);
            host.failing(down, SECOND, Family::Ipv4, "refused", 1);
        }
    }),
    day("backup: 16 connections for hours, closed by either side", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        let (opened, closed) = (span(HOUR, HOUR + MINUTE), span(2 * HOUR, 3 * HOUR));
        host.pool(&Pool {
            size: 16,
            opened,
            closed,
            noticed: span(3 * HOUR, 3 * HOUR + MINUTE),
            ..IDLE_POOL
        });
    }),
    day("office hours", 14, |host| load(host, OFFICE)),
    day("bursts: 200 connections a second for ten seconds, each quarter of an hour", 2, |host| {
        load(host, Rate::Every(2 * SECOND));
        for burst in 1..8 {
            let begins = burst * 15 * MINUTE;
            let accepts = Rate::Every(5);
            host.traffic(&Traffic {
                span: span(begins, begins + 10 * SECOND),
                rate: accepts,
                ..REQUESTS
            });
        }
        host.acceptor(&Acceptor {
            port: "8080",
            limit: 128,
            span: span(0, host.duration),
            arrivals: Rate::Every(50),
            accepts: 10,
            stuck: span(HOUR, HOUR + 20 * SECOND),
            patience: 30 * SECOND,
        });
    }),
    day("health checks each second, first over IPv6, where nothing listens", 2, |host| {
        let check = connects_all_day(host);
        host.failing(check.span, SECOND, Family::Ipv6, "refused", 0);
        host.traffic(&check);
    }),
    day("health checks each second, first over IPv4, where nothing listens", 2, |host| {
        let check = Traffic { family: Family::Ipv6, ..connects_all_day(host) };
        host.failing(check.span, SECOND, Family::Ipv4, "refused", 0);
        host.traffic(&check);
    }),
    day("IPv6 is dropped on the way: programs try it for two seconds, then IPv4", 2, |host| {
        let connects = connects_all_day(host);
        host.failing(connects.span, SECOND, Family::Ipv6, "none", 2 * SECOND);
        host.traffic(&connects);
    }),
    day("browsers: the slower of two parallel attempts is given up", 2, |host| {
        let connects = connects_all_day(host);
        host.traffic(&connects);
        host.failing(connects.span, 2 * SECOND, Family::Ipv6, "none", 250);
    }),
    day("slow clients: the server answers them for up to a minute", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        let closes = Closes::Peer(span(SECOND, MINUTE));
        host.traffic(&Traffic { span: span(0, host.duration), closes, ..REQUESTS });
    }),
    day("half-closed streams: the server sends for up to 15 minutes", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        let closes = Closes::Peer(span(MINUTE, 15 * MINUTE));
        let (during, rate) = (span(30 * MINUTE, host.duration), Rate::Every(10 * SECOND));
        host.traffic(&Traffic { span: during, rate, closes, keepalive: true, ..REQUESTS });
    }),
    day("restart of tcpstat, beside a pool that its backend has closed", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        host.restarts.push(span(HOUR + 30 * MINUTE, HOUR + 31 * MINUTE));
        host.restarts.push(span(2 * HOUR, 2 * HOUR + 2 * MINUTE));
        host.pool(&Pool { keepalive: true, ..IDLE_POOL });
        host.pool(&IDLE_POOL);
    }),
    day("restart of Prometheus", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        host.gaps.push(span(HOUR + 2 * MINUTE, HOUR + 5 * MINUTE));
        host.pool(&IDLE_POOL);
    }),
    day("restart of the host", 4, |host| {
        host.reboots.push(span(2 * HOUR, 2 * HOUR + 3 * MINUTE));
        load(host, Rate::Every(SECOND));
        host.pool(&IDLE_POOL);
        host.pool(&Pool {
            opened: span(2 * HOUR + 3 * MINUTE, 2 * HOUR + 8 * MINUTE),
            closed: span(3 * HOUR, 3 * HOUR + 1),
            noticed: span(9 * HOUR, 9 * HOUR + 1),
            ..IDLE_POOL
        });
    }),
    day("no scrapes for 20 minutes, while a pool loses its backend", 4, |host| {
        load(host, Rate::Every(2 * SECOND));
        host.gaps.push(span(HOUR - 5 * MINUTE, HOUR + 15 * MINUTE));
        host.pool(&IDLE_POOL);
    }),
    day("a client of ten addresses, 450 connections a second", 1, |host| {
        host.traffic(&Traffic {
            span: span(10 * MINUTE, 30 * MINUTE),
            rate: Rate::Every(2),
            side: Side::Connects,
            life: span(10, 100),
            closes: Closes::Owner,
            destinations: 10,
            ..REQUESTS
        });
    }),
    day("a client of ten addresses, with twice as many sockets as ephemeral ports", 1, |host| {
        let client = Traffic {
            span: span(10 * MINUTE, 20 * MINUTE),
            rate: Rate::Every(1),
            side: Side::Connects,
            life: span(10, 100),
            closes: Closes::Owner,
            destinations: 10,
            ..REQUESTS
        };
        host.traffic(&client);
        host.traffic(&client);
    }),
    Scenario {
        tracer: false,
        ..day("a pool is closed one by one, 3 a minute, without a tracer", 4, |host| {
            load(host, OFFICE);
            host.pool(&Pool {
                closed: span(2 * HOUR, 2 * HOUR + 20 * MINUTE),
                noticed: span(9 * HOUR, 9 * HOUR + 1),
                ..IDLE_POOL
            });
        })
    },
];
