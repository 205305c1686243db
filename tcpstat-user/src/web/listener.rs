//! A listening socket of any kind, and the connections that it accepts.

use std::{io, os::unix::net::UnixListener as StdUnixListener};

use tokio::net::{TcpListener, UnixListener};

use super::{server::Stream, unix_socket::SocketFile};
use crate::text::{self, plain};

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix {
        /// Removes the file, if this process has made it. Before the listener is closed, because its inode can be given
        /// again then.
        _file: Option<SocketFile>,
        listener: UnixListener,
    },
}

impl Listener {
    pub(super) fn unix(socket: StdUnixListener, file: Option<SocketFile>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Unix { listener: UnixListener::from_std(socket)?, _file: file })
    }

    /// Waits for a connection. Cancelling the wait loses none.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => Ok(Stream::Tcp(listener.accept().await?.0)),
            Self::Unix { listener, .. } => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }

    /// What it listens on, for the log.
    ///
    /// # Errors
    /// If the kernel does not tell the address.
    pub(crate) fn shown(&self, scheme: &str) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(format!("{scheme}://{}", listener.local_addr()?)),
            Self::Unix { listener, .. } => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().map(|path| path.to_string_lossy());
                let path = path.as_deref().unwrap_or("(no path)");
                Ok(format!("unix:{} ({scheme})", plain(path, text::VALUE)))
            }
        }
    }
}
