//! A kernel socket and the peer at the other end of its connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::proc_view::{Row, rows};
use crate::segment::Flags;
use crate::silent_peer::Remote;
use crate::tcp::{Family, State};

/// How the kernel's socket is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// An `AF_INET` socket.
    Ipv4,
    /// An `AF_INET6` socket that uses IPv6.
    Ipv6,
    /// An `AF_INET6` socket that uses IPv4, with a v4-mapped address.
    Ipv4Mapped,
}

impl Addressing {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Ipv4Mapped];

    /// The family of the socket, as in `/proc` and in the metrics.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::Ipv4 => Family::Ipv4,
            Self::Ipv6 | Self::Ipv4Mapped => Family::Ipv6,
        }
    }

    /// The family of its packets.
    pub(crate) fn wire_family(self) -> Family {
        match self {
            Self::Ipv4 | Self::Ipv4Mapped => Family::Ipv4,
            Self::Ipv6 => Family::Ipv6,
        }
    }

    pub(crate) fn socket(self) -> Result<Socket> {
        let domain = match self.family() {
            Family::Ipv4 => Domain::IPV4,
            Family::Ipv6 => Domain::IPV6,
        };
        Ok(Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?)
    }

    pub(crate) fn any_address(self) -> SocketAddr {
        let ip: IpAddr = match self.family() {
            Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        (ip, 0).into()
    }

    pub(crate) fn as_connected_to(self, address: SocketAddr) -> SocketAddr {
        match (self, address.ip()) {
            (Self::Ipv4Mapped, IpAddr::V4(ip)) => (ip.to_ipv6_mapped(), address.port()).into(),
            _ => address,
        }
    }
}

/// Holds a kernel socket in its state until dropped, which resets the connection: no orphan keeps
/// the namespace alive.
#[derive(Debug)]
pub struct Held {
    pub(crate) addressing: Addressing,
    pub(crate) local_port: u16,
    pub(crate) socket: Option<Socket>,
    /// The listener of a half-open request.
    pub(crate) listener: Option<Socket>,
    pub(crate) remote: Option<Remote>,
}

impl Held {
    /// How it is addressed.
    #[must_use]
    pub fn addressing(&self) -> Addressing {
        self.addressing
    }

    /// The socket's descriptor.
    ///
    /// # Errors
    /// Fails for a half-open request and for a closed socket: they have none.
    pub fn socket(&self) -> Result<&Socket> {
        self.socket.as_ref().context("no descriptor in this state")
    }

    /// The other end.
    ///
    /// # Errors
    /// Fails for a listener: it has none.
    pub fn remote(&mut self) -> Result<&mut Remote> {
        self.remote.as_mut().context("no remote in this state")
    }

    /// Closes the descriptor; the kernel sends a FIN if it has sent none. Does not wait for the remote.
    pub fn close(&mut self) {
        self.socket = None;
    }

    /// Its row in `/proc`, if there is one.
    ///
    /// # Errors
    /// As [`rows`].
    pub fn row(&self) -> Result<Option<Row>> {
        let remote_port = self.remote.as_ref().map_or(0, |remote| remote.address().port());
        Ok(rows()?.into_iter().find(|row| {
            (row.family, row.local_port, row.remote_port)
                == (self.addressing.family(), self.local_port, remote_port)
        }))
    }

    /// Waits until `/proc` shows the socket in `state`.
    ///
    /// # Errors
    /// Fails with its row if it does not within [`DEADLINE`].
    pub fn await_state(&self, state: State) -> Result<()> {
        self.await_row(&format!("{state} socket"), |row| row.is_some_and(|row| row.state == state))
    }

    /// Waits until its row in `/proc`, or the absence of one, satisfies `wanted`.
    ///
    /// # Errors
    /// Fails with its row if it does not within [`DEADLINE`].
    pub fn await_row(&self, what: &str, wanted: impl Fn(Option<&Row>) -> bool) -> Result<()> {
        wait_until(what, DEADLINE, || {
            let row = self.row()?;
            if wanted(row.as_ref()) {
                return Ok(Progress::Done(()));
            }
            Ok(Progress::NotYet(format!("{row:?}")))
        })
    }

    /// Resets the connection from the other side, closes the descriptors, and waits until `/proc` has no row of
    /// the socket.
    ///
    /// # Errors
    /// Fails when the row is still there after [`DEADLINE`].
    pub fn end(mut self) -> Result<()> {
        self.reset()?;
        self.await_row("end of the socket", |row| row.is_none())
    }

    fn reset(&mut self) -> Result<()> {
        if let Some(remote) = &mut self.remote {
            remote.rst()?;
        }
        self.socket = None;
        self.listener = None;
        Ok(())
    }

    /// Makes the kernel send a FIN, and waits until the remote receives it.
    pub(crate) fn shutdown(&mut self) -> Result<()> {
        self.socket()?.shutdown(Shutdown::Write)?;
        self.remote()?.wait_for(Flags::FIN)?;
        Ok(())
    }

    pub(crate) fn settled(self, state: State) -> Result<Self> {
        self.await_state(state)?;
        Ok(self)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // If the device is gone, the kernel's timers end the connection.
        let _ = self.reset();
    }
}
