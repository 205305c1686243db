//! The sockets that listen on a port, for the error that names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    procfs::Procfs,
    snapshot::{BrokenRow, Identity, Kind, Row, RowSink},
    states::{Family, State},
};

/// The addresses with `port` that sockets of this network namespace listen on; empty if they cannot be read.
/// Reads the rows of all sockets.
pub(super) fn listening_on(port: u16) -> Vec<SocketAddr> {
    let mut listeners = Listeners { port, found: Vec::new() };
    // After an error, the listeners found so far are still useful.
    let _ = Procfs::new(Procfs::DEFAULT_ROOT).each_socket(&mut listeners);
    listeners.found
}

struct Listeners {
    port: u16,
    found: Vec<SocketAddr>,
}

impl RowSink for Listeners {
    fn listed(&mut self) {}

    fn row(&mut self, row: &Row) {
        let Identity::Tuple { tuple, .. } = &row.identity else { return };
        if row.kind != Kind::Full(State::Listen) || tuple.sport != self.port {
            return;
        }
        let ip: IpAddr = match tuple.family {
            Family::Ipv4 => {
                let [a, b, c, d, ..] = tuple.saddr;
                Ipv4Addr::new(a, b, c, d).into()
            }
            Family::Ipv6 => Ipv6Addr::from(tuple.saddr).into(),
        };
        self.found.push((ip, self.port).into());
    }

    fn broken(&mut self, _: BrokenRow<'_>) {}
}
