//! The destination that takes the most ephemeral ports.
//!
//! Two connections with the same addresses and the same remote port differ in their local port only. So each destination
//! has the whole range of ephemeral ports, and a connect fails when its own destination has used all of them.
//!
//! This part is pure: it takes the rows of a snapshot, and reads nothing.

use std::net::IpAddr;

use crate::{
    frequent::Frequent,
    snapshot::{Kind, Row, ip_address},
    states::State,
};

/// Destinations that are counted at once.
const MOST: usize = 1024;

/// `net.ipv4.ip_local_port_range`, and when a connect takes a port in it from a socket in TIME_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EphemeralPorts {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) reuse: TimeWaitReuse,
}

impl EphemeralPorts {
    pub(crate) fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// `net.ipv4.tcp_tw_reuse`: to which addresses a connect takes a port in TIME_WAIT after a second, if both ends send
/// timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeWaitReuse {
    Never,
    Loopback,
    Always,
}

/// Where connections lead, and the local address that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Local address; IPv4 if it is v4-mapped.
    pub local: IpAddr,
    /// Remote address, as `local`.
    pub remote: IpAddr,
    /// Remote port.
    pub port: u16,
}

/// The destination with the most sockets in ephemeral ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FullestDestination {
    /// Its sockets. Beyond 1024 destinations at most one in 1025 of all such sockets is missing.
    pub sockets: u64,
    /// Which one it is; `None` if there is none, or if it is not to be shown.
    pub destination: Option<Destination>,
}

/// Counts sockets in ephemeral ports by destination.
#[derive(Debug)]
pub(crate) struct Destinations {
    ports: EphemeralPorts,
    counts: Frequent<Destination>,
}

impl Destinations {
    pub(crate) fn new(ports: EphemeralPorts) -> Self {
        Self { ports, counts: Frequent::new(MOST) }
    }

    /// Counts a row if its socket keeps a connect from the port.
    pub(crate) fn row(&mut self, row: &Row) {
        if !self.ports.contains(row.sport) || is_of_listener(row.kind) {
            return;
        }
        let tuple = row.identity.tuple();
        let address = |bytes| ip_address(row.family, bytes).to_canonical();
        let (local, remote) = (address(tuple.saddr), address(tuple.daddr));
        if row.kind == Kind::TimeWait && self.gives_way(local, remote) {
            return;
        }
        self.counts.add(Destination { local, remote, port: tuple.dport });
    }

    /// Whether a connect takes the port of a socket in TIME_WAIT between these addresses (`tcp_twsk_unique`).
    fn gives_way(&self, local: IpAddr, remote: IpAddr) -> bool {
        match self.ports.reuse {
            TimeWaitReuse::Never => false,
            TimeWaitReuse::Loopback => local.is_loopback() || remote.is_loopback(),
            TimeWaitReuse::Always => true,
        }
    }

    pub(crate) fn fullest(&self) -> FullestDestination {
        self.counts.first().map_or_else(FullestDestination::default, |(destination, sockets)| {
            FullestDestination { sockets, destination: Some(destination) }
        })
    }
}

/// Listeners have no destination, and requests have the listener's port.
fn is_of_listener(kind: Kind) -> bool {
    matches!(kind, Kind::Full(State::Listen) | Kind::Request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        snapshot::{Identity, Tuple},
        states::Family,
    };

    const PORTS: EphemeralPorts =
        EphemeralPorts { first: 40_000, last: 40_999, reuse: TimeWaitReuse::Loopback };

    const ESTABLISHED: Kind = Kind::Full(State::Established);

    fn row(sport: u16, kind: Kind, remote: IpAddr, dport: u16) -> Row {
        let local: IpAddr = if remote.is_loopback() { remote } else { [10, 0, 0, 1].into() };
        let (family, saddr, daddr) = match (local, remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let padded = |address: [u8; 4]| {
                    let mut bytes = [0; 16];
                    bytes[..4].copy_from_slice(&address);
                    bytes
                };
                (Family::Ipv4, padded(local.octets()), padded(remote.octets()))
            }
            (IpAddr::V4(local), IpAddr::V6(remote)) => {
                (Family::Ipv6, local.to_ipv6_mapped().octets(), remote.octets())
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                (Family::Ipv6, local.octets(), remote.octets())
            }
            (IpAddr::V6(_), IpAddr::V4(_)) => unreachable!("both are the same loopback address"),
        };
        let tuple = Tuple { family, saddr, sport, daddr, dport };
        let identity = Identity::Address { skaddr: u64::from(sport), tuple };
        Row { family, identity, kind, receive_queue: 0, send_queue: 0, sport, cgroup: 0 }
    }

    fn fullest(ports: EphemeralPorts, rows: impl IntoIterator<Item = Row>) -> FullestDestination {
        let mut destinations = Destinations::new(ports);
        rows.into_iter().for_each(|row| destinations.row(&row));
        destinations.fullest()
    }

    fn sockets(ports: EphemeralPorts, rows: impl IntoIterator<Item = Row>) -> u64 {
        fullest(ports, rows).sockets
    }

    const PEER: [u8; 4] = [10, 0, 0, 2];

    #[test]
    fn without_sockets_the_fullest_destination_has_none() {
        assert_eq!(fullest(PORTS, []), FullestDestination::default());
    }

    #[test]
    fn each_remote_address_and_port_is_a_destination_of_its_own() {
        let of = |ports: std::ops::Range<u16>, peer: [u8; 4], dport| {
            ports.map(move |sport| row(sport, ESTABLISHED, peer.into(), dport))
        };
        let rows = of(40_000..40_005, PEER, 443).chain(of(40_000..40_004, PEER, 80)).chain(of(
            40_000..40_003,
            [10, 0, 0, 3],
            443,
        ));
        let found = fullest(PORTS, rows);
        let (local, remote) = ([10, 0, 0, 1].into(), PEER.into());
        assert_eq!(found.sockets, 5);
        assert_eq!(found.destination, Some(Destination { local, remote, port: 443 }));
    }

    #[test]
    fn an_ipv6_socket_with_mapped_addresses_uses_the_ports_of_ipv4() {
        let mapped = std::net::Ipv4Addr::from(PEER).to_ipv6_mapped().into();
        let rows =
            [row(40_000, ESTABLISHED, PEER.into(), 443), row(40_001, ESTABLISHED, mapped, 443)];
        assert_eq!(sockets(PORTS, rows), 2);
    }

    #[test]
    fn only_ephemeral_ports_count_and_no_listener() {
        let listen = Kind::Full(State::Listen);
        for (sport, kind, counts) in [
            (39_999, ESTABLISHED, 0),
            (40_000, ESTABLISHED, 1),
            (40_999, Kind::Full(State::SynSent), 1),
            (40_999, Kind::FinWait2Mini, 1),
            (41_000, ESTABLISHED, 0),
            (40_000, listen, 0),
            (40_000, Kind::Request, 0),
        ] {
            assert_eq!(sockets(PORTS, [row(sport, kind, PEER.into(), 443)]), counts, "{sport}");
        }
    }

    #[test]
    fn a_socket_in_time_wait_counts_unless_a_connect_takes_its_port() {
        let [peer, loopback]: [IpAddr; 2] = [PEER.into(), [127, 0, 0, 1].into()];
        let ipv6: IpAddr = std::net::Ipv6Addr::LOCALHOST.into();
        for (reuse, counts) in [
            (TimeWaitReuse::Never, [1, 1, 1]),
            (TimeWaitReuse::Loopback, [1, 0, 0]),
            (TimeWaitReuse::Always, [0, 0, 0]),
        ] {
            let ports = EphemeralPorts { reuse, ..PORTS };
            let counted = [peer, loopback, ipv6]
                .map(|remote| sockets(ports, [row(40_000, Kind::TimeWait, remote, 443)]));
            assert_eq!(counted, counts, "{reuse:?}");
        }
    }

    #[test]
    fn among_more_destinations_than_fit_the_fullest_is_found() {
        let mut destinations = Destinations::new(PORTS);
        for number in 0..100_000_u32 {
            let [_, b, c, d] = number.to_be_bytes();
            let remote = if number % 8 == 0 { PEER } else { [11, b, c, d] };
            destinations.row(&row(40_000, ESTABLISHED, remote.into(), 443));
        }
        let found = destinations.fullest();
        assert_eq!(found.destination.map(|destination| destination.remote), Some(PEER.into()));
        let exact = 100_000 / 8;
        assert!(found.sockets <= exact && found.sockets >= exact - 100_000 / 1025, "{found:?}");
    }
}
