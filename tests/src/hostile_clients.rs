//! Hostile clients: many connections that use up the resources of a server.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::client_hello::client_hello;
use crate::deadline::{Progress, wait_until};
use crate::priority;

/// How long an attack may take to open its connections, and the server to notice their end: a loaded machine is slow.
pub const ATTACK_DEADLINE: Duration = Duration::from_mins(1);

/// What each connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It sends no request.
    Idle,
    /// It sends 360 KB of a request that does not end.
    HalfRequest,
    /// It sends many requests and reads no answer.
    SlowReader,
    /// It opens a stream of events and does not read it.
    StalledStream,
    /// It sends the first message of a TLS handshake byte by byte.
    SlowHandshake,
    /// It sends the first message of a TLS handshake, and does not read the answer.
    HalfHandshake,
    /// It sends the first message of a TLS handshake, waits for the answer, which takes the server most of the work,
    /// and does so again at once.
    RepeatedHandshake,
}

/// From the end of a connection to its next attempt.
const PAUSE: Duration = Duration::from_millis(500);

/// Between two bytes of a [`Kind::SlowHandshake`].
const BYTE_PAUSE: Duration = Duration::from_millis(200);

/// The part of an unfinished request that is sent.
const HALF_REQUEST_BYTES: usize = 360_000;

/// Requests at once by a [`Kind::SlowReader`].
const REQUESTS: usize = 200;

const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\n\r\n";
const STREAM: &[u8] = b"GET /api/v1/stream HTTP/1.1\r\nHost: tcpstat\r\n\r\n";

/// The smallest receive buffer of the kernel.
const SMALL_RECEIVE_BUFFER: u32 = 4096;

/// Hostile connections of one thread, each opened again when the server closes it. Dropping this closes them all.
#[derive(Debug)]
pub struct Attack {
    opened: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    /// Attacks `address` by `connections` from the first `addresses` of 127.8.0.0/24, and returns when as many were
    /// opened.
    ///
    /// # Errors
    /// Fails as [`Attack::start`], and if they are not open within [`ATTACK_DEADLINE`].
    pub fn start_from_loopback(
        kind: Kind,
        addresses: u8,
        connections: usize,
        address: SocketAddr,
    ) -> Result<Self> {
        let sources: Vec<IpAddr> = (1..=addresses).map(|n| [127, 8, 0, n].into()).collect();
        let from_each = connections / sources.len();
        let attack = Self::start(kind, sources, from_each, address)?;
        let enough = u64::try_from(connections)?;
        wait_until("attack", ATTACK_DEADLINE, || {
            let opened = attack.opened();
            Ok(if opened >= enough {
                Progress::Done(())
            } else {
                Progress::NotYet(opened.to_string())
            })
        })?;
        Ok(attack)
    }

    /// Attacks `address` by `from_each` connections from each of `sources`, in the network namespace of the calling
    /// thread.
    ///
    /// # Errors
    /// Fails if no thread or runtime can be started.
    pub fn start(
        kind: Kind,
        sources: Vec<IpAddr>,
        from_each: usize,
        address: SocketAddr,
    ) -> Result<Self> {
        // For the attackers; processes that were started before keep their limit.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("setrlimit(RLIMIT_NOFILE)")?;
        let opened = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let count = opened.clone();
        let thread = thread::Builder::new().name("attack".into()).spawn(move || {
            // Without it, the attack is only harder.
            let _ = priority::set(priority::LOW);
            runtime.block_on(async {
                for source in sources {
                    for _ in 0..from_each {
                        tokio::spawn(repeat(kind, source, address, count.clone()));
                    }
                }
                // An error means that the attack is dropped.
                let _ = stopped.await;
            });
            // The runtime drops every connection.
        })?;
        Ok(Self { opened, stop: Some(stop), thread: Some(thread) })
    }

    /// Connections opened so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the attack panicked");
        }
    }
}

/// Opens one connection of that kind and sends its request.
///
/// # Errors
/// Fails if no server listens there.
pub fn hold(kind: Kind, source: IpAddr, address: SocketAddr) -> Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_recv_buffer_size(SMALL_RECEIVE_BUFFER as usize)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&address.into())?;
    let request: &[u8] = match kind {
        Kind::Idle => b"",
        Kind::HalfRequest => b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\nX-Long: ",
        Kind::SlowReader => METRICS,
        Kind::StalledStream => STREAM,
        Kind::SlowHandshake | Kind::HalfHandshake | Kind::RepeatedHandshake => &hello()?[..1],
    };
    (&socket).write_all(request)?;
    Ok(socket)
}

async fn repeat(kind: Kind, source: IpAddr, address: SocketAddr, opened: Arc<AtomicU64>) {
    loop {
        // Another connection follows, however this one ends.
        let once = once(kind, source, address, &opened).await;
        if kind != Kind::RepeatedHandshake || once.is_err() {
            sleep(PAUSE).await;
        }
    }
}

/// Holds one connection until the server drops it.
async fn once(kind: Kind, source: IpAddr, address: SocketAddr, opened: &AtomicU64) -> Result<()> {
    let stream = connect(kind, source, address).await?;
    opened.fetch_add(1, Ordering::Relaxed);
    match kind {
        Kind::Idle => {}
        Kind::HalfRequest => {
            let mut half = b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\nX-Long: ".to_vec();
            half.resize(HALF_REQUEST_BYTES, b'x');
            write(&stream, &half).await?;
        }
        Kind::SlowReader => {
            write(&stream, &METRICS.repeat(REQUESTS)).await?;
        }
        Kind::SlowHandshake => {
            for byte in hello()? {
                write(&stream, &[*byte]).await?;
                sleep(BYTE_PAUSE).await;
            }
        }
        Kind::HalfHandshake | Kind::RepeatedHandshake => write(&stream, hello()?).await?,
        Kind::StalledStream => {
            write(&stream, STREAM).await?;
            let mut status = [0; 12];
            stream.readable().await?;
            let read = stream.try_read(&mut status)?;
            // Refused: another connection follows.
            if &status[..read] != b"HTTP/1.1 200" {
                return Ok(());
            }
        }
    }
    if matches!(kind, Kind::Idle | Kind::HalfRequest | Kind::RepeatedHandshake) {
        // An answer, or the end of the connection.
        stream.readable().await?;
    } else {
        stream.ready(Interest::ERROR).await?;
    }
    Ok(())
}

/// The first message of a TLS handshake, the same each time.
fn hello() -> Result<&'static [u8]> {
    static HELLO: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(hello) = HELLO.get() {
        return Ok(hello);
    }
    let hello = client_hello()?;
    Ok(HELLO.get_or_init(|| hello))
}

async fn connect(kind: Kind, source: IpAddr, address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if matches!(kind, Kind::SlowReader | Kind::StalledStream | Kind::HalfHandshake) {
        socket.set_recv_buffer_size(SMALL_RECEIVE_BUFFER)?;
    }
    socket.bind(SocketAddr::from((source, 0)))?;
    socket.connect(address).await.context("connect")
}

/// Writes all bytes, however long that takes, and reads nothing.
async fn write(stream: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
