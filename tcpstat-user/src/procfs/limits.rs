//! Limits of sockets in /proc/sys/net/ipv4.
//!
//! They are those of the namespace that net/tcp lists, or unknown: sys/net shows that of the reading process.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive};

use super::{Procfs, ProcfsError, file::read_to_string, root::number};
use crate::destinations::{EphemeralPorts, TimeWaitReuse};

/// The limits; `None` for one that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of mini-sockets, in both families and both substates.
    pub time_wait: Option<u64>,
    /// Number of ports that the kernel can choose for `connect`, and for `bind` to port 0.
    pub ephemeral_ports: Option<u64>,
}

impl Procfs {
    /// `net.ipv4.tcp_max_tw_buckets`: above this number `inet_twsk_alloc` creates no mini-socket.
    ///
    /// # Errors
    /// [`ProcfsError`], [`ProcfsError::Unexpected`] for a negative value: some kernels read it as no limit,
    /// others as 0.
    pub(crate) fn time_wait_limit(&self) -> Result<u64, ProcfsError> {
        let path = self.sys_net()?.join("ipv4/tcp_max_tw_buckets");
        let limit = number(path.clone())?;
        u64::try_from(limit).map_err(|_| ProcfsError::Unexpected {
            path,
            field: "value",
            value: limit.to_string(),
        })
    }

    /// The number of ports in `net.ipv4.ip_local_port_range`, both ends included. Ports in
    /// `net.ipv4.ip_local_reserved_ports` count too.
    ///
    /// # Errors
    /// [`ProcfsError`], [`ProcfsError::Unexpected`] if the text is not a range.
    pub(crate) fn ephemeral_ports(&self) -> Result<u64, ProcfsError> {
        Ok(self.local_port_range()?.count() as u64)
    }

    /// The ports of `net.ipv4.ip_local_port_range`, and when a connect takes one that is in TIME_WAIT. A setting that cannot be read
    /// counts as off.
    ///
    /// # Errors
    /// As [`Procfs::ephemeral_ports`].
    pub(crate) fn ephemeral_range(&self) -> Result<EphemeralPorts, ProcfsError> {
        let (first, last) = self.local_port_range()?.into_inner();
        let net = self.sys_net()?;
        let setting = |name| number(net.join("ipv4").join(name)).unwrap_or(0);
        let reuse = match setting("tcp_tw_reuse") {
            _ if setting("tcp_timestamps") == 0 => TimeWaitReuse::Never,
            1 => TimeWaitReuse::Always,
            2 => TimeWaitReuse::Loopback,
            _ => TimeWaitReuse::Never,
        };
        Ok(EphemeralPorts { first, last, reuse })
    }

    /// The ports that the kernel can choose for `connect`, and for `bind` to port 0.
    ///
    /// # Errors
    /// [`ProcfsError`], [`ProcfsError::Unexpected`] if the text is not a range or not a list.
    pub(crate) fn automatic_ports(&self) -> Result<AutomaticPorts, ProcfsError> {
        let range = self.local_port_range()?;
        let path = self.sys_net()?.join("ipv4/ip_local_reserved_ports");
        let text = read_to_string(&path)?;
        let reserved = reserved(&text).ok_or_else(|| ProcfsError::Unexpected {
            path,
            field: "list",
            value: text.trim().to_owned(),
        })?;
        Ok(AutomaticPorts { range, reserved })
    }

    fn local_port_range(&self) -> Result<RangeInclusive<u16>, ProcfsError> {
        let path = self.sys_net()?.join("ipv4/ip_local_port_range");
        let text = read_to_string(&path)?;
        ports(&text).ok_or_else(|| ProcfsError::Unexpected {
            path,
            field: "range",
            value: text.trim().to_owned(),
        })
    }
}

/// The ports that a socket can get without asking for one.
#[derive(Clone, Debug)]
pub(crate) struct AutomaticPorts {
    /// `net.ipv4.ip_local_port_range`
    range: RangeInclusive<u16>,
    /// `net.ipv4.ip_local_reserved_ports`: the kernel chooses none of them.
    reserved: Vec<RangeInclusive<u16>>,
}

impl AutomaticPorts {
    #[cfg(test)]
    pub(crate) fn new(range: RangeInclusive<u16>, reserved: Vec<RangeInclusive<u16>>) -> Self {
        Self { range, reserved }
    }

    /// Whether the kernel can choose this port.
    pub(crate) fn contains(&self, port: u16) -> bool {
        self.range.contains(&port) && !self.reserved.iter().any(|range| range.contains(&port))
    }

    /// `net.ipv4.ip_local_port_range`
    pub(crate) fn range(&self) -> &RangeInclusive<u16> {
        &self.range
    }

    /// `net.ipv4.ip_local_reserved_ports`
    pub(crate) fn reserved(&self) -> PortList {
        PortList(self.reserved.iter().cloned().flatten().collect())
    }
}

/// A set of ports, displayed as the kernel writes it: `8080,9000-9010`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortList(BTreeSet<u16>);

impl PortList {
    /// A list of the ports of `self` and of `ports`.
    pub(crate) fn with(&self, ports: &[u16]) -> Self {
        Self(self.0.iter().chain(ports).copied().collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for PortList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ports = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = ports.next() {
            let mut last = first;
            while let Some(next) = ports.next_if(|&port| port == last + 1) {
                last = next;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

/// A range that is written as its first and its last port.
fn ports(range: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = range.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    (first <= last && ends.next().is_none()).then_some(first..=last)
}

/// A list such as `8080,9000-9010`, which can be empty.
fn reserved(list: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    let list = list.trim();
    if list.is_empty() { Some(Vec::new()) } else { list.split(',').map(range).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_range_are_in_it() {
        for (text, range, count) in [
            ("32768\t60999\n", 32_768..=60_999, 28_232),
            ("40000 40000", 40_000..=40_000, 1),
            ("0\t65535", 0..=65_535, 65_536),
        ] {
            assert_eq!(ports(text), Some(range.clone()), "{text}");
            assert_eq!(range.count(), count);
        }
    }

    #[test]
    fn text_other_than_a_range_is_refused() {
        for wrong in ["", "32768", "60999 32768", "1 2 3", "1 65536", "-1 5", "a b"] {
            assert_eq!(ports(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_reserved_port_is_not_automatic() {
        let range = 32_768..=60_999;
        let reserved = reserved("33000,40000-40002\n").unwrap();
        let automatic = AutomaticPorts { range, reserved };
        for port in [32_768, 32_999, 40_003, 60_999] {
            assert!(automatic.contains(port), "{port}");
        }
        for port in [80, 33_000, 40_000, 40_001, 40_002, 61_000] {
            assert!(!automatic.contains(port), "{port}");
        }
    }

    #[test]
    fn a_list_of_reserved_ports_can_be_empty_and_must_be_one() {
        assert_eq!(reserved("\n"), Some(Vec::new()));
        assert_eq!(reserved("8080"), Some(vec![8080..=8080]));
        for wrong in ["a", "1-", "1,,2", "70000"] {
            assert_eq!(reserved(wrong), None, "{wrong}");
        }
    }
    #[test]
    fn a_list_of_ports_is_written_with_ranges_and_read_again() {
        let automatic =
            AutomaticPorts::new(0..=65_535, reserved("65534-65535,80,9000-9010").unwrap());
        let list = automatic.reserved().with(&[9011, 80, 79, 1, 65_533]);
        assert_eq!(list.to_string(), "1,79-80,9000-9011,65533-65535");
        let ranges = reserved(&list.to_string()).unwrap();
        assert_eq!(AutomaticPorts::new(0..=65_535, ranges).reserved(), list);
        assert!(AutomaticPorts::new(0..=65_535, Vec::new()).reserved().is_empty());
    }
}
