//! The sockets that listen on a port, for the error that names them.

use std::net::SocketAddr;

use crate::{
    procfs::Procfs,
    snapshot::{BrokenRow, Identity, Kind, Row, RowSink, ip_address},
    states::State,
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
        self.found.push((ip_address(tuple.family, tuple.saddr), self.port).into());
    }

    fn broken(&mut self, _: BrokenRow<'_>) {}
}
