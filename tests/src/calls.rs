//! System calls on one listener and one connection, which a process makes one by one.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::deadline::DEADLINE;

/// A system call, or a wait for what a call of the other end causes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Call {
    /// Listens at this address.
    Listen(SocketAddr),
    /// Accepts a connection.
    Accept,
    /// Connects from this address to that one.
    Connect(SocketAddr, SocketAddr),
    /// The same, and the connection is refused.
    ConnectRefused(SocketAddr, SocketAddr),
    /// Begins to connect to this address, and does not wait for the answer.
    BeginConnect(SocketAddr),
    /// Waits until the other end has sent its FIN.
    AwaitEnd,
    /// Waits until the other end has reset the connection.
    AwaitReset,
    /// Shuts down the sending side.
    Shutdown,
    /// Closes the connection.
    Close,
    /// Closes the connection by a reset.
    Reset,
    /// Closes the listener.
    CloseListener,
}

/// The sockets of the process.
#[derive(Debug, Default)]
pub struct Sockets {
    listener: Option<Socket>,
    connection: Option<Socket>,
}

impl Sockets {
    /// Makes the call.
    ///
    /// # Errors
    /// Fails if the call does, if a wait takes longer than [`DEADLINE`], and without the socket.
    pub fn make(&mut self, call: Call) -> Result<()> {
        match call {
            Call::Listen(address) => {
                let listener = bound(address)?;
                listener.listen(16)?;
                self.listener = Some(listener);
            }
            Call::Accept => {
                let listener = self.listener.as_ref().context("no listener")?;
                self.connection = Some(listener.accept()?.0);
            }
            Call::Connect(from, to) => {
                let socket = bound(from)?;
                socket.connect(&to.into())?;
                self.connection = Some(socket);
            }
            Call::ConnectRefused(from, to) => match bound(from)?.connect(&to.into()) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                other => bail!("connect: {other:?}"),
            },
            Call::BeginConnect(to) => self.connection = Some(begin_connect(to)?),
            Call::AwaitEnd => match self.read()? {
                Ok(0) => {}
                other => bail!("read {other:?} at the end"),
            },
            Call::AwaitReset => match self.read()? {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => bail!("read {other:?} instead of a reset"),
            },
            Call::Shutdown => self.connection()?.shutdown(Shutdown::Write)?,
            Call::Close => drop(self.connection.take().context("no connection")?),
            Call::Reset => {
                let connection = self.connection.take().context("no connection")?;
                connection.set_linger(Some(Duration::ZERO))?;
            }
            Call::CloseListener => drop(self.listener.take().context("no listener")?),
        }
        Ok(())
    }

    fn connection(&self) -> Result<&Socket> {
        self.connection.as_ref().context("no connection")
    }

    fn read(&self) -> Result<std::io::Result<usize>> {
        let mut connection = self.connection()?;
        connection.set_read_timeout(Some(DEADLINE))?;
        Ok(connection.read(&mut [0]))
    }
}

fn begin_connect(to: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
        other => bail!("connect: {other:?} instead of EINPROGRESS"),
    }
    socket.set_nonblocking(false)?;
    Ok(socket)
}

fn bound(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A connection in TIME_WAIT does not keep its port from the next script.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into()).with_context(|| format!("bind {address}"))?;
    Ok(socket)
}
