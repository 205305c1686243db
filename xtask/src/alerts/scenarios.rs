//! The corpus: faults, each with the alert that must report it and the time that this may take, and healthy days,
//! on which no alert may fire.

mod days;
mod faults;

use super::host::Host;
use super::socket::{Family, HOST};
use super::time::{HOUR, Random, SECOND, span};
use super::workload::{Closes, Rate, Side, Traffic};

/// One course of events on one host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) hours: u64,
    pub(super) tracer: bool,
    pub(super) expected: Expected,
    pub(super) run: fn(&mut Host),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    Quiet,
    /// The alert, and no other one, fires within that time after the tenth leaked socket, or after `begins` if
    /// nothing leaks.
    Alert {
        name: &'static str,
        begins: u64,
        within: u64,
    },
}

impl Scenario {
    pub(super) fn simulate(&self, seed: u64) -> Host {
        // Days are long: a scrape each 30 seconds there, one each 15 seconds for faults.
        let scrape = if matches!(self.expected, Expected::Quiet) { 30 } else { 15 };
        let mut host = Host::new(self.hours * HOUR, scrape * SECOND, self.tracer);
        host.random = Random::new(seed);
        (self.run)(&mut host);
        host
    }
}

pub(super) fn all() -> Vec<Scenario> {
    faults::ALL.into_iter().chain(days::ALL).collect()
}

/// Requests that a server answers: most close in order, first at either side.
fn load(host: &mut Host, rate: Rate) {
    let all = span(0, host.duration);
    let server = Traffic {
        span: all,
        rate,
        side: Side::Accepts,
        family: Family::Ipv4,
        place: HOST,
        life: span(50, 60 * SECOND),
        closes: Closes::Peer(span(0, 2 * SECOND)),
        keepalive: false,
        destinations: 1,
    };
    host.traffic(&server);
    host.traffic(&Traffic { family: Family::Ipv6, closes: Closes::Owner, ..server });
    host.traffic(&Traffic { side: Side::Connects, closes: Closes::Owner, ..server });
}
