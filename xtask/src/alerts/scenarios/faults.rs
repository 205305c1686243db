//! Faults that must be reported.

use super::super::host::Host;
use super::super::socket::{Family, HOST, Place};
use super::super::time::{HOUR, MINUTE, SECOND, span};
use super::super::workload::{Acceptor, Closes, Rate, Side, Traffic};
use super::{Expected, Scenario, load};

const BEGINS: u64 = 15 * MINUTE;

const FAST: u64 = 7 * MINUTE;

const fn leak(name: &'static str, hours: u64, within: u64, run: fn(&mut Host)) -> Scenario {
    fault(name, hours, "TcpCloseWaitLeak", within, run)
}

const fn fault(
    name: &'static str,
    hours: u64,
    alert: &'static str,
    within: u64,
    run: fn(&mut Host),
) -> Scenario {
    let expected = Expected::Alert { name: alert, begins: BEGINS, within };
    Scenario { name, hours, tracer: true, expected, run }
}

const CONTAINER: Place = Place { netns: Some("shop/web-0"), cgroup: None, port: None };
const UNIT: Place =
    Place { netns: None, cgroup: Some("/system.slice/shop.service"), port: Some("8080") };
const PORT: Place = Place { netns: None, cgroup: None, port: Some("443") };

/// Short connections that the client closes first, so that their ports stay in TIME_WAIT.
const CLIENT: Traffic = Traffic {
    span: span(0, 0),
    rate: Rate::Every(SECOND),
    side: Side::Connects,
    family: Family::Ipv4,
    place: HOST,
    life: span(30, 30),
    closes: Closes::Owner,
    keepalive: false,
    destinations: 1,
};

/// Sockets that leak, one in `every` on average.
fn leaking(every: u64, place: Place) -> Traffic {
    Traffic {
        span: span(BEGINS, u64::MAX),
        rate: Rate::Every(every),
        side: Side::Accepts,
        family: Family::Ipv4,
        place,
        life: span(20, 2 * SECOND),
        closes: Closes::PeerAlone,
        keepalive: false,
        destinations: 1,
    }
}

fn leak_in(host: &mut Host, every: u64, place: Place) {
    let traffic = leaking(every, place);
    host.traffic(&Traffic { span: span(BEGINS, host.duration), ..traffic });
}

pub(super) const ALL: [Scenario; 23] = [
    leak("leak of 100 a second", 1, FAST, |host| {
        let traffic = leaking(10, HOST);
        host.traffic(&Traffic { span: span(BEGINS, BEGINS + 10 * MINUTE), ..traffic });
    }),
    leak("leak of 10 a second", 1, FAST, |host| leak_in(host, SECOND / 10, HOST)),
    leak("leak of 1 a second", 1, FAST, |host| leak_in(host, SECOND, HOST)),
    leak("leak of 10 a minute", 1, FAST, |host| leak_in(host, 6 * SECOND, HOST)),
    leak("leak of 1 a minute", 1, 20 * MINUTE, |host| leak_in(host, MINUTE, HOST)),
    leak("leak of 1 in 5 minutes", 3, 2 * HOUR, |host| leak_in(host, 5 * MINUTE, HOST)),
    leak("leak of 10 a minute, in a container", 1, FAST, |host| {
        load(host, Rate::Every(SECOND));
        leak_in(host, 6 * SECOND, CONTAINER);
    }),
    leak("leak of 1 a minute, in a unit, with load around", 1, 20 * MINUTE, |host| {
        load(host, Rate::Every(SECOND));
        leak_in(host, MINUTE, UNIT);
    }),
    leak("leak of 1 a second, behind a port, with load around", 1, FAST, |host| {
        load(host, Rate::Every(200));
        leak_in(host, SECOND, PORT);
    }),
    leak("leak of 10 a minute, with load around", 1, FAST, |host| {
        load(host, Rate::Every(200));
        leak_in(host, 6 * SECOND, HOST);
    }),
    leak("leak of 10 a minute, while the load falls in the evening", 3, FAST, |host| {
        load(host, Rate::Office { hour: 16, night: 10 * SECOND, day: 500 });
        let traffic = leaking(6 * SECOND, HOST);
        host.traffic(&Traffic { span: span(HOUR + 30 * MINUTE, host.duration), ..traffic });
    }),
    leak("leak of 1 in 5 minutes, with load around", 3, 2 * HOUR, |host| {
        load(host, Rate::Every(500));
        leak_in(host, 5 * MINUTE, HOST);
    }),
    leak("leak of 10 a minute, keepalive on", 1, FAST, |host| {
        let traffic = leaking(6 * SECOND, HOST);
        let during = span(BEGINS, host.duration);
        host.traffic(&Traffic { span: during, keepalive: true, ..traffic });
    }),
    Scenario {
        tracer: false,
        ..leak("leak of 10 a minute, without a tracer", 2, 45 * MINUTE, |host| {
            load(host, Rate::Every(SECOND));
            leak_in(host, 6 * SECOND, HOST);
        })
    },
    fault("stuck acceptor", 1, "TcpAcceptQueueFull", 5 * MINUTE, |host| {
        acceptor(host, Rate::Every(200), 1, span(BEGINS, BEGINS + 30 * MINUTE));
    }),
    fault(
        "accept queue full: the program is too slow",
        1,
        "TcpAcceptQueueFull",
        10 * MINUTE,
        |host| {
            let calm = span(0, 0);
            acceptor(host, Rate::Every(20), 22, calm);
        },
    ),
    fault("SYN flood", 1, "TcpSynFlood", 5 * MINUTE, |host| {
        load(host, Rate::Every(SECOND));
        host.syn_flood(span(BEGINS, BEGINS + 30 * MINUTE), 10, 1024);
    }),
    fault("backend down: connects are refused", 1, "TcpConnectsFailing", 15 * MINUTE, |host| {
        load(host, Rate::Every(SECOND));
        let during = span(BEGINS, BEGINS + 30 * MINUTE);
        host.failing(during, SECOND, Family::Ipv4, "refused", 1);
    }),
    fault(
        "backend down: connects are refused over both families, with load around",
        1,
        "TcpConnectsFailing",
        15 * MINUTE,
        |host| {
            connecting(host, Family::Ipv4);
            connecting(host, Family::Ipv6);
            let during = span(BEGINS, BEGINS + 30 * MINUTE);
            host.failing(during, SECOND, Family::Ipv6, "refused", 1);
            host.failing(during, SECOND, Family::Ipv4, "refused", 1);
        },
    ),
    fault(
        "one of two backends down, on a host with IPv6 only",
        1,
        "TcpConnectsFailing",
        15 * MINUTE,
        |host| {
            connecting(host, Family::Ipv6);
            let during = span(BEGINS, BEGINS + 30 * MINUTE);
            host.failing(during, SECOND, Family::Ipv6, "refused", 1);
        },
    ),
    fault(
        "one of two backends down, on a host with IPv4 only",
        1,
        "TcpConnectsFailing",
        15 * MINUTE,
        |host| {
            connecting(host, Family::Ipv4);
            let during = span(BEGINS, BEGINS + 30 * MINUTE);
            host.failing(during, SECOND, Family::Ipv4, "timed_out", 127 * SECOND);
        },
    ),
    fault("ports to one destination run out", 1, "TcpEphemeralPortsShort", 10 * MINUTE, |host| {
        host.one_destination(&Traffic {
            span: span(BEGINS, BEGINS + 15 * MINUTE),
            rate: Rate::Every(2),
            ..CLIENT
        });
    }),
    Scenario {
        tracer: false,
        ..fault(
            "ports to one destination of ten run short, without a tracer",
            1,
            "TcpEphemeralPortsShort",
            10 * MINUTE,
            |host| {
                load(host, Rate::Every(200));
                let during = span(0, host.duration);
                let rate = Rate::Every(50);
                host.traffic(&Traffic { span: during, rate, destinations: 10, ..CLIENT });
                let (during, rate) = (span(BEGINS, host.duration), Rate::Every(2));
                host.traffic(&Traffic { span: during, rate, life: span(1, 300), ..CLIENT });
            },
        )
    },
];

/// Connects that succeed, one each second.
fn connecting(host: &mut Host, family: Family) {
    host.traffic(&Traffic { span: span(0, host.duration), family, ..CLIENT });
}

fn acceptor(host: &mut Host, arrivals: Rate, accepts: u64, stuck: super::super::time::Span) {
    let all = if stuck.from == stuck.to {
        span(BEGINS, BEGINS + 20 * MINUTE)
    } else {
        span(0, host.duration)
    };
    host.acceptor(&Acceptor {
        port: "8080",
        limit: 128,
        span: all,
        arrivals,
        accepts,
        stuck,
        patience: 30 * SECOND,
    });
}
