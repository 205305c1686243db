//! The server: it accepts connections, bounds what each may take, and drops those that take too long.
//!
//! No client can starve another: connections, answers and streams are bounded, a new connection is always
//! accepted, and whoever has the most or does not read makes room.

mod activity;
mod answer;
mod choice;
mod client;
mod connections;
mod descriptors;
mod places;
mod rarely;
mod watched;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    pin, select,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::warn;

pub(super) use connections::{Connection, NoStream};
pub use descriptors::{DescriptorError, raise_descriptor_limit};

use self::{
    connections::{Bounds, Connections},
    rarely::Rarely,
    watched::Watched,
};

/// Connections at a time, where descriptors suffice.
const CONNECTIONS: usize = 256;
/// Streams at a time, where descriptors suffice.
const STREAMS: usize = 64;
/// Of these, streams of one client.
const STREAMS_OF_CLIENT: usize = 8;
/// The head of a request at most, in bytes; what is longer is answered with 431.
const HEAD_BYTES: usize = 16 * 1024;
/// Between two looks for connections that take too long.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// After a connection could not be accepted because something has run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// What is served, and to how many at once.
#[derive(Debug)]
pub struct Server {
    router: Router,
    connections: Arc<Connections>,
}

impl Server {
    /// A server of `router` that makes at most `answers` answers at a time, in a process that may have
    /// `descriptors` open.
    #[must_use]
    pub fn new(router: Router, answers: usize, descriptors: u64) -> Self {
        let connections = descriptors::connections(descriptors).min(CONNECTIONS);
        // A quarter of the connections may be streams.
        let streams = STREAMS.min(connections / 4).max(1);
        let streams_of_client = STREAMS_OF_CLIENT.min(streams);
        let bounds = Bounds { connections, answers, streams, streams_of_client };
        Self { router, connections: Connections::new(bounds) }
    }

    /// Serves on `listeners` until `stopped` says so, and then ends every connection: at once where nothing
    /// is asked on it, else after the answer.
    pub async fn serve(self, listeners: Vec<TcpListener>, mut stopped: watch::Receiver<bool>) {
        for listener in listeners {
            let (router, connections) = (self.router.clone(), self.connections.clone());
            tokio::spawn(accept(listener, router, connections, stopped.clone()));
        }
        let ended = async {
            stop(&mut stopped).await;
            self.connections.none_left().await;
        };
        select! {
            () = ended => {}
            () = sweep(&self.connections) => {}
        }
    }
}

/// Returns when `stopped` says so.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn sweep(connections: &Connections) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        connections.sweep(Instant::now());
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    connections: Arc<Connections>,
    mut stopped: watch::Receiver<bool>,
) {
    let failures = Rarely::default();
    loop {
        let accepted = select! {
            () = stop(&mut stopped) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let serve = |stream, connection| {
                    serve_connection(stream, connection, router.clone(), stopped.clone())
                };
                connections.add(stream, serve).await;
            }
            Err(cause) => {
                if let Some(times) = failures.tell() {
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

/// Whether accept(2) fails for what this process or the kernel lacks, and will fail again at once.
fn is_exhausted(cause: &io::Error) -> bool {
    let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    cause.raw_os_error().is_some_and(|errno| exhausted.contains(&errno))
}

async fn serve_connection(
    stream: TcpStream,
    connection: Arc<Connection>,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let stream = Watched::new(stream, connection.clone());
    // A connection on which nothing comes takes no buffers.
    select! {
        () = stop(&mut stopped) => return,
        readable = stream.readable() => if readable.is_err() { return },
    }
    let service = answer::service(router, connection.clone());
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        // It would run between two requests too; the sweep has one that does not.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        // Whoever has asked all that he will ask may say so at once.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    pin!(http);
    // An error is the peer's, and ends the connection.
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
