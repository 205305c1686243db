//! How one host of a fleet differs from the others, at a moment.

use std::f64::consts::TAU;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::plan::Fleet;

/// A host at a moment. Its times are those of the hosts, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    number: u64,
    fleet: Fleet,
    /// The time of the reader.
    read_at: f64,
    now: f64,
    started: f64,
    is_new: bool,
    /// Since when it leaks sockets.
    leaks_since: Option<f64>,
    load: f64,
}

/// A host's exporter runs between these times, in seconds: on the average a day.
const RUNS: (f64, f64) = (0.5 * 86_400.0, 1.5 * 86_400.0);

/// The least and the greatest load of a host, as a multiple of that of the template.
const LOADS: (f64, f64) = (0.1, 10.0);

/// The kernels of the fleet.
const KERNELS: [&str; 4] =
    ["5.10.0-33-amd64", "5.15.0-130-generic", "6.1.0-28-amd64", "6.8.0-51-generic"];

/// How many of ten hosts count with each program.
const PROGRAMS: [(u64, &str); 2] = [(8, "tp_btf"), (2, "tracepoint")];

impl Host {
    pub(super) fn new(fleet: &Fleet, number: u64, read_at: f64) -> Self {
        let now = fleet.time(read_at);
        let (shortest, longest) = RUNS;
        let run = shortest + (longest - shortest) * share(number, 2);
        let first = fleet.began - run * share(number, 3);
        let mut started = first + ((now - first) / run).floor() * run;
        let is_leaking = fleet.leak_every.is_some_and(|every| number % every == every / 2);
        let mut leaks_since = is_leaking.then_some(fleet.began);
        let mut is_new = false;
        if let Some(roll_out) = fleet.roll_out {
            // Host by host, in an order of its own.
            let renewed = fleet.time(roll_out.begins) + roll_out.lasts * share(number, 1);
            is_new = now >= renewed;
            if is_new {
                started = started.max(renewed);
                let leaks = fleet.is_one_of(roll_out.leaking, number);
                leaks_since = leaks_since.or(leaks.then_some(renewed));
            }
        }
        // As many hosts in each decade.
        let (least, greatest) = LOADS;
        let load = least * (greatest / least).powf(share(number, 4));
        Self { number, fleet: *fleet, read_at, now, started, is_new, leaks_since, load }
    }

    /// The version of its exporter.
    #[must_use]
    pub fn version(&self) -> &'static str {
        Fleet::VERSIONS[usize::from(self.is_new)]
    }

    /// The release of its kernel.
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        KERNELS[usize::try_from(self.number % 4).unwrap_or_default()]
    }

    /// The program that counts on it, unless it is blind.
    #[must_use]
    pub fn program(&self) -> &'static str {
        let [(many, usual), (_, rare)] = PROGRAMS;
        if self.number % 10 < many { usual } else { rare }
    }

    /// Whether it has no program that counts.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.fleet.blind_every.is_some_and(|every| self.number % every == every / 3)
    }

    /// The time at which its exporter started, as its reader sees it.
    #[must_use]
    pub fn started(&self) -> f64 {
        self.read_at - (self.now - self.started) / self.fleet.speed
    }

    /// The time at which it is read.
    #[must_use]
    pub fn read_at(&self) -> f64 {
        self.read_at
    }

    /// What a gauge is multiplied with: the load of the host, in waves of minutes that differ from series to series.
    #[must_use]
    pub fn level(&self, series: u64) -> f64 {
        let period = 300.0 + 1_500.0 * share(self.number, series);
        let phase = share(series, self.number);
        self.load * (1.0 + 0.3 * (TAU * (self.now / period + phase)).sin())
    }

    /// What a counter is multiplied with: the template's is that of one minute.
    #[must_use]
    pub fn counted(&self, series: u64) -> f64 {
        let rate = 0.5 + share(self.number, series);
        self.load * rate * (self.now - self.started) / 60.0
    }

    /// How many of its sockets leaked more than `age` seconds ago.
    #[must_use]
    pub fn leaked(&self, age: f64) -> f64 {
        ((self.leaking() - age).max(0.0) * self.fleet.leaked_per_second).floor()
    }

    /// How many have leaked since the start of its exporter.
    #[must_use]
    pub fn leaked_since_start(&self) -> f64 {
        self.leaked(0.0) - self.leaked(self.now - self.started)
    }

    /// For how many seconds it has leaked.
    #[must_use]
    pub fn leaking(&self) -> f64 {
        self.leaks_since.map_or(0.0, |since| self.now - since)
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
#[expect(clippy::float_cmp, reason = "the values compared are whole numbers, or copies")]
mod tests {
    use super::*;
    use crate::fleet::RollOut;

    fn fleet() -> Fleet {
        let roll_out = RollOut { begins: 1e9 + 600.0, lasts: 600.0, leaking: 500 };
        Fleet { began: 1e9, roll_out: Some(roll_out), ..Fleet::quiet(1000) }
    }

    #[test]
    fn a_roll_out_renews_host_by_host_and_restarts_each_once() {
        let fleet = fleet();
        let new_at = |at: f64| (0..1000).filter(|host| fleet.host(*host, 1e9 + at).is_new).count();
        assert_eq!((new_at(599.0), new_at(1_201.0)), (0, 1000));
        assert!((400..600).contains(&new_at(900.0)), "{}", new_at(900.0));
        let after = fleet.host(7, 1e9 + 1_300.0);
        assert!((1e9 + 600.0..=1e9 + 1_200.0).contains(&after.started()), "{after:?}");
        assert_eq!(after.version(), Fleet::VERSIONS[1]);
    }

    #[test]
    fn a_roll_out_brings_a_leak_to_as_many_hosts_as_it_says() {
        let leaking = |at: f64| {
            let hosts = (0..1000).map(|host| fleet().host(host, 1e9 + at));
            hosts.filter(|host| host.leaked(0.0) > 0.0).count()
        };
        assert_eq!((leaking(599.0), leaking(1_300.0)), (0, 500));
    }

    #[test]
    fn a_leak_grows_and_ages() {
        let fleet = Fleet { leak_every: Some(500), roll_out: None, ..fleet() };
        let leaking: Vec<_> =
            (0..1000).filter(|host| fleet.host(*host, 1e9 + 60.0).leaked(0.0) > 0.0).collect();
        assert_eq!(leaking, [250, 750]);
        let host = fleet.host(250, 1e9 + 400.0);
        assert_eq!(
            [0.0, 60.0, 300.0, 3600.0].map(|age| host.leaked(age)),
            [400.0, 340.0, 100.0, 0.0]
        );
    }

    #[test]
    fn time_passes_on_the_hosts_as_fast_as_asked_for() {
        let fast = Fleet { speed: 120.0, leak_every: Some(500), roll_out: None, ..fleet() };
        assert_eq!(fast.host(250, 1e9 + 10.0).leaked(300.0), 900.0);
        let host = fast.host(1, 1e9 + 10.0);
        assert!(host.started() <= host.read_at(), "{host:?}");
    }

    #[test]
    fn one_of_many_hosts_is_blind() {
        let fleet = Fleet { blind_every: Some(100), ..fleet() };
        assert_eq!((0..1000).filter(|host| fleet.host(*host, 1e9).is_blind()).count(), 10);
    }

    #[test]
    fn hosts_differ_by_two_decades_and_waves_stay_positive() {
        let fleet = fleet();
        let loads: Vec<_> = (0..1000).map(|host| fleet.host(host, 1e9).load).collect();
        let low = loads.iter().filter(|load| **load < 1.0).count();
        assert!((400..600).contains(&low), "{low}");
        assert!(loads.iter().all(|load| (0.1..=10.0).contains(load)));
        assert!(
            (0..100).all(|minute| fleet.host(3, 1e9 + 60.0 * f64::from(minute)).level(9) > 0.0)
        );
    }
}
