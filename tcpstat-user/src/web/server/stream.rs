//! An accepted connection of any kind.

use std::{
    io::{self, IoSlice},
    os::fd::AsRawFd as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::client::Client;
use crate::web::listen::UNSENT_BYTES;

#[derive(Debug)]
pub(in crate::web) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// The peer; `None` if it has gone.
    pub(super) fn client(&self) -> Option<Client> {
        match self {
            Self::Tcp(stream) => Some(stream.peer_addr().ok()?.ip().into()),
            Self::Unix(stream) => Some(Client::User(stream.peer_cred().ok()?.uid())),
        }
    }

    /// Bounds what the kernel queues for a peer that does not read. A TCP connection has its listener's bound.
    pub(super) fn limit_unsent(&self) {
        if let Self::Unix(stream) = self {
            // If this fails, the kernel's own bound remains. It doubles the number.
            let _ = SockRef::from(stream).set_send_buffer_size(UNSENT_BYTES as usize / 2);
        }
    }

    /// Waits for bytes or for the end of the stream.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// The first byte, which stays to be read; `None` at the end of the stream.
    pub(super) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let (length, byte) = match self {
            Self::Tcp(stream) => {
                let mut byte = [0];
                (stream.peek(&mut byte).await?, byte[0])
            }
            Self::Unix(stream) => stream.async_io(Interest::READABLE, || peeked(stream)).await?,
        };
        Ok((length > 0).then_some(byte))
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Makes closing it drop what is not sent. A Unix socket has nothing to drop: what is written is at the peer.
    pub(super) fn set_reset_on_close(&self) {
        if let Self::Tcp(stream) = self {
            // If this fails, the socket is closed normally.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// The number of bytes, 0 at the end of the stream, and the first one.
fn peeked(stream: &UnixStream) -> io::Result<(usize, u8)> {
    let mut byte = [0];
    Ok((recv(stream.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK)?, byte[0]))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
