//! Connections with known addresses, whose ends a test gives to holders.

use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

use anyhow::{Result, ensure};
use tcpstat_tests::deadline::DEADLINE;

/// A connection over the loopback interface.
pub(crate) struct Link {
    pub(crate) client: TcpStream,
    pub(crate) accepted: TcpStream,
}

/// A listener on that port of that address, and so many connections to it.
pub(crate) fn connect(to: (Ipv4Addr, u16), number: usize) -> Result<(TcpListener, Vec<Link>)> {
    let listener = TcpListener::bind(to)?;
    let mut links = Vec::new();
    for _ in 0..number {
        let client = TcpStream::connect(to)?;
        links.push(Link { client, accepted: listener.accept()?.0 });
    }
    Ok((listener, links))
}

/// As [`connect`], without the listener.
pub(crate) fn links(port: u16, number: usize) -> Result<Vec<Link>> {
    Ok(connect((Ipv4Addr::LOCALHOST, port), number)?.1)
}

/// Brings the accepted end of each to CLOSE_WAIT, and its client to FIN_WAIT2.
pub(crate) fn half_close(links: &[Link]) -> Result<()> {
    for link in links {
        link.client.shutdown(Shutdown::Write)?;
        link.accepted.set_read_timeout(Some(DEADLINE))?;
        let read = (&link.accepted).read(&mut [0])?;
        ensure!(read == 0, "{read} bytes at the end of a connection");
    }
    Ok(())
}

/// The accepted ends; the clients stay with the caller.
pub(crate) fn accepted(links: Vec<Link>) -> (Vec<TcpStream>, Vec<TcpStream>) {
    links.into_iter().map(|link| (link.accepted, link.client)).unzip()
}
