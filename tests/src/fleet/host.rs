//! How one host of a fleet differs from the others, at a moment.

use std::f64::consts::TAU;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// A fleet since a moment.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// How many hosts there are.
    pub hosts: u64,
    /// Seconds since 1970 at which the simulation began.
    pub began: f64,
}

/// A host at a moment.
#[derive(Clone, Debug)]
pub struct Host {
    number: u64,
    /// Seconds since 1970.
    now: f64,
    began: f64,
    started: f64,
    is_new: bool,
}

/// A host's exporter runs between these times, in seconds: on the average a day.
const RUNS: (f64, f64) = (0.5 * 86_400.0, 1.5 * 86_400.0);

/// How long the roll-out of the second version takes, and how long after the beginning it starts, in seconds.
const ROLL_OUT: (f64, f64) = (600.0, 600.0);

/// One of that many hosts has a service that leaks sockets, from the beginning on.
const LEAK_EVERY: u64 = 500;
const LEAKED_PER_SECOND: f64 = 10.0 / 60.0;

/// The least and the greatest load of a host, as a multiple of that of the template.
const LOADS: (f64, f64) = (0.1, 10.0);

impl Fleet {
    /// The version before the roll-out, and the one after it.
    pub const VERSIONS: [&'static str; 2] = ["0.2.0", "0.3.0"];

    /// The host of that number at a moment, in seconds since 1970.
    #[must_use]
    pub fn host(&self, number: u64, now: f64) -> Host {
        let (length, after) = ROLL_OUT;
        // Host by host, in an order of its own.
        let renewed = self.began + after + length * share(number, 1);
        let is_new = now >= renewed;
        let (shortest, longest) = RUNS;
        let run = shortest + (longest - shortest) * share(number, 2);
        let first = self.began - run * share(number, 3);
        let mut started = first + ((now - first) / run).floor() * run;
        if is_new {
            started = started.max(renewed);
        }
        Host { number, now, began: self.began, started, is_new }
    }
}

impl Host {
    /// The version of its exporter.
    #[must_use]
    pub fn version(&self) -> &'static str {
        Fleet::VERSIONS[usize::from(self.is_new)]
    }

    /// When its exporter started, in seconds since 1970.
    #[must_use]
    pub fn started(&self) -> f64 {
        self.started
    }

    /// What a gauge is multiplied with: the load of the host, in waves of minutes that differ from series to series.
    #[must_use]
    pub fn level(&self, series: u64) -> f64 {
        let period = 300.0 + 1_500.0 * share(self.number, series);
        let phase = share(series, self.number);
        self.load() * (1.0 + 0.3 * (TAU * (self.now / period + phase)).sin())
    }

    /// What a counter is multiplied with: the template's is that of one minute.
    #[must_use]
    pub fn counted(&self, series: u64) -> f64 {
        let rate = 0.5 + share(self.number, series);
        self.load() * rate * (self.now - self.started) / 60.0
    }

    /// How many sockets its services have leaked.
    #[must_use]
    pub fn leaked(&self) -> f64 {
        let leaks = self.number % LEAK_EVERY == LEAK_EVERY / 2;
        if leaks { (self.now - self.began).max(0.0) * LEAKED_PER_SECOND } else { 0.0 }
    }

    /// From the least to the greatest load, as many hosts in each decade.
    fn load(&self) -> f64 {
        let (least, greatest) = LOADS;
        least * (greatest / least).powf(share(self.number, 4))
    }
}

/// A number from 0 to 1 that looks random, and is always the same for the two.
fn share(number: u64, salt: u64) -> f64 {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((number, salt));
    #[expect(clippy::cast_precision_loss, reason = "32 bits are exact")]
    let share = (hash >> 32) as f64 / f64::from(u32::MAX);
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: Fleet = Fleet { hosts: 1000, began: 1e9 };

    #[test]
    fn a_roll_out_renews_host_by_host_and_restarts_each_once() {
        let new_at = |at: f64| (0..1000).filter(|host| FLEET.host(*host, 1e9 + at).is_new).count();
        assert_eq!((new_at(599.0), new_at(1_201.0)), (0, 1000));
        assert!((400..600).contains(&new_at(900.0)), "{}", new_at(900.0));
        let after = FLEET.host(7, 1e9 + 1_300.0);
        assert!((1e9 + 600.0..=1e9 + 1_200.0).contains(&after.started()), "{after:?}");
    }

    #[test]
    fn one_of_500_hosts_leaks() {
        let leaking = (0..1000).filter(|host| FLEET.host(*host, 1e9 + 60.0).leaked() > 0.0);
        assert_eq!(leaking.collect::<Vec<_>>(), [250, 750]);
        assert_eq!(FLEET.host(250, 1e9 + 60.0).leaked().round(), 10.0);
    }

    #[test]
    fn hosts_differ_by_two_decades_and_waves_stay_positive() {
        let loads: Vec<_> = (0..1000).map(|host| FLEET.host(host, 1e9).load()).collect();
        let low = loads.iter().filter(|load| **load < 1.0).count();
        assert!((400..600).contains(&low), "{low}");
        assert!(loads.iter().all(|load| (0.1..=10.0).contains(load)));
        assert!((0..100).all(|minute| FLEET.host(3, 1e9 + 60.0 * f64::from(minute)).level(9) > 0.0));
    }
}
