//! What happens in a fleet, and when.

use std::time::{SystemTime, UNIX_EPOCH};

use super::host::Host;

/// A fleet since a moment. What happens in it can be changed while it is served.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// How many hosts there are.
    pub hosts: u64,
    /// How many sites there are. Each has a range of hosts of consecutive numbers.
    pub sites: u64,
    /// Seconds since 1970 at which the simulation began.
    pub began: f64,
    /// How many seconds pass on the hosts in one second: as many as the durations of the rules are divided by.
    pub speed: f64,
    /// One of so many hosts leaks sockets from the beginning on.
    pub leak_every: Option<u64>,
    /// One of so many hosts has no program that counts in the kernel.
    pub blind_every: Option<u64>,
    /// What a leak adds in a second of the hosts.
    pub leaked_per_second: f64,
    /// Hosts get another version.
    pub roll_out: Option<RollOut>,
    /// The hosts of this site do not answer.
    pub lost_site: Option<u64>,
}

/// One host after the other gets another version, and is restarted for it.
#[derive(Clone, Copy, Debug)]
pub struct RollOut {
    /// Seconds since 1970.
    pub begins: f64,
    /// Seconds of the hosts from the first one to the last one.
    pub lasts: f64,
    /// So many hosts, spread over all sites, leak sockets from then on.
    pub leaking: u64,
}

impl Fleet {
    /// The version before a roll-out, and the one after it.
    pub const VERSIONS: [&'static str; 2] = ["0.2.0", "0.3.0"];

    /// A fleet in ten sites where nothing happens except load and restarts. It begins now.
    #[must_use]
    pub fn quiet(hosts: u64) -> Self {
        Self {
            hosts,
            sites: 10,
            began: now(),
            speed: 1.0,
            leak_every: None,
            blind_every: None,
            leaked_per_second: 1.0,
            roll_out: None,
            lost_site: None,
        }
    }

    /// As [`Fleet::quiet`], where one of 500 hosts leaks, one of 100 is blind, and a version is rolled out within ten
    /// minutes.
    #[must_use]
    pub fn usual(hosts: u64) -> Self {
        let quiet = Self::quiet(hosts);
        Self {
            leak_every: Some(500),
            blind_every: Some(100),
            leaked_per_second: 10.0 / 60.0,
            roll_out: Some(RollOut { begins: quiet.began, lasts: 600.0, leaking: 0 }),
            ..quiet
        }
    }

    /// The host of that number at a moment, in seconds since 1970.
    #[must_use]
    pub fn host(&self, number: u64, now: f64) -> Host {
        Host::new(self, number, now)
    }

    /// The site of a host.
    #[must_use]
    pub fn site(&self, number: u64) -> u64 {
        number * self.sites / self.hosts.max(1)
    }

    /// Whether a host answers.
    #[must_use]
    pub fn answers(&self, number: u64) -> bool {
        number < self.hosts && self.lost_site != Some(self.site(number))
    }

    /// The time of the hosts at a moment.
    pub(super) fn time(&self, now: f64) -> f64 {
        self.began + (now - self.began) * self.speed
    }

    /// Whether a host is one of `some` that are spread evenly over all.
    pub(super) fn is_one_of(&self, some: u64, number: u64) -> bool {
        let up_to = |number: u64| number * some / self.hosts.max(1);
        up_to(number) != up_to(number + 1)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_site_has_as_many_hosts_and_a_lost_one_does_not_answer() {
        let fleet = Fleet { lost_site: Some(3), ..Fleet::quiet(1000) };
        for site in 0..10 {
            let hosts: Vec<_> = (0..1000).filter(|host| fleet.site(*host) == site).collect();
            assert_eq!((hosts.len(), hosts[0]), (100, 100 * site));
        }
        let silent: Vec<_> = (0..1000).filter(|host| !fleet.answers(*host)).collect();
        assert_eq!(silent, (300..400).collect::<Vec<_>>());
        assert!(!fleet.answers(1000));
    }

    #[test]
    fn some_hosts_are_as_many_as_asked_for_and_in_all_sites() {
        let fleet = Fleet::quiet(10_000);
        let some: Vec<_> = (0..10_000).filter(|host| fleet.is_one_of(500, *host)).collect();
        assert_eq!(some.len(), 500);
        assert!((0..10).all(|site| some.iter().any(|host| fleet.site(*host) == site)));
    }
}
