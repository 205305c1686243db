//! A socket that reports reads and writes to its connection.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::connection::Connection;
use crate::kernel;

/// Time between two checks whether the peer acknowledges data while a write waits. The socket is writable again
/// only when much of its queue is sent, which takes seconds on a slow link.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Maximum number of bytes that are read and discarded before a connection is closed.
const MAX_DISCARDED_BYTES: usize = 64 * 1024;

/// Reports to `connection` when bytes arrive, and when a write waits for the peer.
#[derive(Debug)]
pub(super) struct MonitoredStream {
    stream: TcpStream,
    connection: Arc<Connection>,
    /// While a write waits: the next check, and the bytes that were not acknowledged at the last one.
    check: Option<(Pin<Box<Sleep>>, usize)>,
    /// Whether everything is written, and the connection may be closed without a reset.
    shut_down: bool,
    /// Bytes discarded since everything was written.
    discarded: usize,
}

impl MonitoredStream {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, check: None, shut_down: false, discarded: 0 }
    }

    /// Waits for bytes or for the end of the stream.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    fn report_write(&mut self, cx: &mut Context<'_>, wrote: &Poll<io::Result<usize>>) {
        let activity = &self.connection.activity;
        if wrote.is_ready() {
            self.check = None;
            return activity.wrote();
        }
        activity.write_blocked();
        let unacknowledged = || kernel::unacknowledged_bytes(&self.stream).unwrap_or(0);
        let (timer, last) =
            self.check.get_or_insert_with(|| (Box::pin(sleep(CHECK_INTERVAL)), unacknowledged()));
        while timer.as_mut().poll(cx).is_ready() {
            let now = unacknowledged();
            if now < *last {
                activity.acknowledged();
            }
            *last = now;
            timer.as_mut().reset(Instant::now() + CHECK_INTERVAL);
        }
    }
}

impl MonitoredStream {
    /// Discards up to [`MAX_DISCARDED_BYTES`] from the peer: what is there, and if it may still be sending the body
    /// of its request, what comes until it ends its side. The kernel resets a connection that is closed with
    /// unread bytes, and the peer may lose the end of the answer (RFC 9112, section 9.6).
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut discarded = [MaybeUninit::uninit(); 4096];
        while self.discarded < MAX_DISCARDED_BYTES {
            let mut buffer = ReadBuf::uninit(&mut discarded);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.discarded += buffer.filled().len();
                }
                Poll::Pending if self.connection.activity.closes_before_request_ends() => {
                    return Poll::Pending;
                }
                // The end, an error, or a peer that has no more to send.
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for MonitoredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.connection.activity.received();
        }
        read
    }
}

impl AsyncWrite for MonitoredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.report_write(cx, &wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.report_write(cx, &wrote);
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
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        ready!(self.poll_discard(cx));
        self.shut_down = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for MonitoredStream {
    fn drop(&mut self) {
        if self.connection.activity.reset_on_drop() && !self.shut_down {
            // If this fails, the socket is closed normally.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}
