//! The HTTP server: it accepts connections, limits what each may use, and closes those that take too long.
//!
//! No client can starve another: connections, answers and streams are limited, a new connection is always
//! accepted, and the client with the most connections, or one that does not read, makes room.

mod activity;
mod answer;
mod client;
mod connection;
mod connections;
mod descriptors;
mod eviction;
mod handshake;
mod log_limit;
mod monitored_stream;
mod slots;
mod stream;
mod table;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    pin, select,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::warn;

pub(super) use client::Client;
pub(super) use connection::{Connection, StreamLimit};
pub(crate) use descriptors::raise_descriptor_limit;
pub(super) use log_limit::LogLimit;
pub(super) use stream::Stream;

use self::{
    connections::{Bounds, Connections},
    handshake::Handshakes,
    monitored_stream::{MonitoredStream, PlaintextStream},
};

use super::{access::Access, listener::Listener};

/// Maximum number of connections, if there are enough descriptors.
const MAX_CONNECTIONS: usize = 256;
/// Maximum number of streams, if there are enough descriptors.
const MAX_STREAMS: usize = 64;
/// Maximum number of streams of one client.
const MAX_STREAMS_OF_CLIENT: usize = 8;
/// Maximum size of the head of a request; a longer one gets status 431.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Time between two checks for connections that take too long.
const TIMEOUT_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after accept(2) fails because resources are exhausted.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Server {
    router: Router,
    access: Arc<Access>,
    connections: Arc<Connections>,
}

impl Server {
    /// A server of `router`, for the requests that `access` lets pass, with at most `answers` answers at a time (as
    /// many as connections without it), in a process that may have `descriptors` open.
    pub(crate) fn new(
        router: Router,
        access: Access,
        answers: Option<usize>,
        descriptors: u64,
    ) -> Self {
        let connections = descriptors::connections(descriptors).min(MAX_CONNECTIONS);
        // A connection has one answer at a time.
        let answers = answers.unwrap_or(connections);
        // A quarter of the connections may be streams.
        let streams = MAX_STREAMS.min(connections / 4).max(1);
        let streams_of_client = MAX_STREAMS_OF_CLIENT.min(streams);
        let bounds = Bounds { connections, answers, streams, streams_of_client };
        Self { router, access: Arc::new(access), connections: Connections::new(bounds) }
    }

    /// Serves on `listeners` until `stopped` is true, then ends each connection: at once, or after its current
    /// answer.
    pub(crate) async fn serve(self, listeners: Vec<Listener>, mut stopped: watch::Receiver<bool>) {
        let handshakes = Arc::new(Handshakes::default());
        for listener in listeners {
            let service = Served {
                router: self.router.clone(),
                access: self.access.clone(),
                handshakes: handshakes.clone(),
            };
            tokio::spawn(accept(listener, service, self.connections.clone(), stopped.clone()));
        }
        let ended = async {
            stop(&mut stopped).await;
            self.connections.all_closed().await;
        };
        select! {
            () = ended => {}
            () = enforce_timeouts(&self.connections) => {}
        }
    }
}

/// Returns when `stopped` is true.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender was dropped, which is a stop too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn enforce_timeouts(connections: &Connections) {
    let mut ticks = interval(TIMEOUT_CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        connections.close_overdue(Instant::now());
    }
}

/// What each connection needs.
#[derive(Clone)]
struct Served {
    router: Router,
    access: Arc<Access>,
    handshakes: Arc<Handshakes>,
}

async fn accept(
    listener: Listener,
    service: Served,
    connections: Arc<Connections>,
    mut stopped: watch::Receiver<bool>,
) {
    let failures = LogLimit::default();
    loop {
        let accepted = select! {
            () = stop(&mut stopped) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(stream) => {
                let serve = |stream, connection| {
                    serve_connection(stream, connection, service.clone(), stopped.clone())
                };
                connections.add(stream, serve).await;
            }
            Err(cause) => {
                if let Some(times) = failures.count() {
                    warn!(times, "a connection could not be accepted: {cause}");
                }
                if is_exhausted(&cause) {
                    connections.make_room();
                    sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

/// Whether accept(2) failed because this process or the kernel has exhausted a resource: the next call fails
/// too.
fn is_exhausted(cause: &io::Error) -> bool {
    let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    cause.raw_os_error().is_some_and(|errno| exhausted.contains(&errno))
}

async fn serve_connection(
    stream: Stream,
    connection: Arc<Connection>,
    service: Served,
    mut stopped: watch::Receiver<bool>,
) {
    let stream = MonitoredStream::new(stream, connection.clone());
    let Some(tls) = service.access.settings().tls.clone() else {
        // hyper allocates its buffers only after the first byte arrives.
        select! {
            () = stop(&mut stopped) => return,
            readable = stream.readable() => if readable.is_err() { return },
        }
        return serve_http(stream, connection, service, stopped).await;
    };
    let handshake = service.handshakes.perform(stream, &connection, tls);
    let stream = select! {
        () = stop(&mut stopped) => return,
        stream = handshake => stream,
    };
    if let Some(stream) = stream {
        let stream = PlaintextStream::new(stream, connection.clone());
        serve_http(stream, connection, service, stopped).await;
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    connection: Arc<Connection>,
    service: Served,
    mut stopped: watch::Receiver<bool>,
) {
    let service = answer::service(service.router, service.access, connection.clone());
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper's timeout also runs between two requests; the activity's does not.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        // A client may shut down its side after its last request.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    pin!(http);
    // The peer causes the errors, which end the connection.
    select! {
        _ = http.as_mut() => {}
        () = stop(&mut stopped) => {
            if connection.activity.is_answering() {
                http.as_mut().graceful_shutdown();
                let _ = http.await;
            }
        }
    }
}
