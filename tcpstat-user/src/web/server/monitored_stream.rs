//! Streams that report reads and writes to their connection: the socket, and the plaintext of TLS above it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{connection::Connection, stream::Stream};

/// Reports to `connection` when bytes arrive, and when a write waits for the peer.
#[derive(Debug)]
pub(super) struct MonitoredStream {
    stream: Stream,
    connection: Arc<Connection>,
}

impl MonitoredStream {
    pub(super) fn new(stream: Stream, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }

    /// Waits for bytes or for the end of the stream.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    /// The first byte, which stays to be read; `None` at the end of the stream.
    pub(super) async fn first_byte(&self) -> io::Result<Option<u8>> {
        self.stream.first_byte().await
    }

    /// Sends `text` as far as it can be sent at once, after reading what has arrived: closing a socket with unread
    /// bytes resets it.
    pub(super) fn try_answer(&self, text: &[u8]) {
        let mut read = [0; 4096];
        let _ = self.stream.try_read(&mut read);
        let _ = self.stream.try_write(text);
    }

    fn report_write(&self, wrote: &Poll<io::Result<usize>>) {
        match wrote {
            Poll::Ready(_) => self.connection.activity.wrote(),
            Poll::Pending => self.connection.write_blocked(),
        }
    }
}

impl AsyncRead for MonitoredStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, connection } = self.get_mut();
        poll_reported_read(stream, connection, cx, buffer)
    }
}

impl AsyncWrite for MonitoredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.report_write(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.report_write(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls this after it has written everything it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.connection.activity.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for MonitoredStream {
    fn drop(&mut self) {
        if self.connection.activity.reset_on_drop() {
            self.stream.set_reset_on_close();
        }
    }
}

/// The plaintext of a TLS stream. Several requests can arrive in one read of the socket, so reading plaintext is
/// reported too.
#[derive(Debug)]
pub(super) struct PlaintextStream<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S> PlaintextStream<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PlaintextStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, connection } = self.get_mut();
        poll_reported_read(stream, connection, cx, buffer)
    }
}

/// The socket reports writes.
impl<S: AsyncWrite + Unpin> AsyncWrite for PlaintextStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Reads from `stream`, and reports to `connection` when bytes arrive.
fn poll_reported_read(
    stream: &mut (impl AsyncRead + Unpin),
    connection: &Connection,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let before = buffer.filled().len();
    let read = Pin::new(stream).poll_read(cx, buffer);
    if buffer.filled().len() > before {
        connection.activity.received();
    }
    read
}
