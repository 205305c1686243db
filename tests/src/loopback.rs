//! TCP traffic over the loopback interface of the calling thread's network namespace.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::deadline::DEADLINE;
use crate::skip::Skip;
use crate::tcp::{Family, State};

/// Connections to one listening port, well below the 28,232 ephemeral ports of the kernel.
const PAIRS_PER_LISTENER: usize = 5_000;

/// Descriptors a test needs beside its sockets.
const OTHER_DESCRIPTORS: u64 = 1_000;

/// Established connections between sockets of this process. Dropping it resets them: no
/// `TIME_WAIT` stays behind.
#[derive(Debug)]
pub struct Pairs {
    listeners: Vec<TcpListener>,
    pairs: Vec<(TcpStream, TcpStream)>,
}

impl Pairs {
    /// Makes `n` connections, which are 2 `n` sockets in ESTABLISHED, to [`Pairs::listeners`]
    /// listeners. Raises the process's limit of open files when it needs to.
    ///
    /// # Errors
    /// Fails when the limit is too low and cannot be raised (above the hard limit that takes
    /// `CAP_SYS_RESOURCE`), and when ports run out.
    pub fn connect(n: usize, family: Family) -> Result<Self> {
        allow_descriptors(2 * n as u64 + OTHER_DESCRIPTORS)?;
        let mut all = Self { listeners: Vec::new(), pairs: Vec::with_capacity(n) };
        while all.pairs.len() < n {
            let listener = listen(family)?;
            for _ in all.pairs.len()..n.min(all.pairs.len() + PAIRS_PER_LISTENER) {
                all.pairs.push(connect(&listener)?);
            }
            all.listeners.push(listener);
        }
        Ok(all)
    }

    /// The number of listeners, one for every 5,000 connections begun.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// The connections, as (client, accepted).
    #[must_use]
    pub fn streams(&self) -> &[(TcpStream, TcpStream)] {
        &self.pairs
    }

    /// Closes the client of each, and returns the other ends, which are in CLOSE_WAIT then. The clients, without
    /// a descriptor, stay in `FIN_WAIT2` for up to a minute. The listeners are closed too.
    ///
    /// # Errors
    /// Fails when the end of a connection is not seen within [`DEADLINE`].
    pub fn close_clients(mut self) -> Result<Vec<TcpStream>> {
        self.listeners.clear();
        let close_one = |(client, accepted): (TcpStream, TcpStream)| {
            drop(client);
            await_end(&accepted)?;
            Ok(accepted)
        };
        self.pairs.drain(..).map(close_one).collect()
    }

    /// Shuts down the sending side of each client: the other end is in CLOSE_WAIT then.
    ///
    /// # Errors
    /// Fails when the end of a connection is not seen within [`DEADLINE`].
    pub fn half_close_clients(&self) -> Result<()> {
        self.pairs.iter().try_for_each(|(client, accepted)| {
            client.shutdown(Shutdown::Write)?;
            await_end(accepted)
        })
    }

    /// Closes them in order, the client first: leaves one `TIME_WAIT` each, and returns when every
    /// accepted side has seen the end. The listeners are closed too.
    ///
    /// # Errors
    /// Fails when the end of a connection is not seen within [`DEADLINE`].
    pub fn close(mut self) -> Result<()> {
        self.listeners.clear();
        for pair in self.pairs.drain(..) {
            close(pair, Closing::Orderly)?;
        }
        Ok(())
    }
}

impl Drop for Pairs {
    fn drop(&mut self) {
        for (client, _) in &self.pairs {
            // It fails only if there is nothing to reset.
            let _ = reset_on_close(client);
        }
    }
}

/// Threads that each make, accept and close connections one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Churn {
    /// Threads, each with a listener of its own.
    pub threads: usize,
    /// Connections of each thread; each one that is closed in order keeps its port for a second
    /// at least (`net.ipv4.tcp_tw_reuse`).
    pub connections: usize,
    /// Address family.
    pub family: Family,
    /// Whether every second connection, from the second on, ends by a reset of the client.
    pub resets: bool,
}

/// What a [`Churn`] has done. It depends on the settings only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Churned {
    /// Listeners opened and closed.
    pub listeners: u64,
    /// Connections closed in order: the client's FIN first, the accepted side's in answer.
    pub orderly: u64,
    /// Connections ended by a reset of the client.
    pub reset: u64,
}

impl Churned {
    /// How often `inet_sock_set_state` fires for each (oldstate, newstate). The last events may follow shortly after
    /// the churn: see [`crate::proc_view::await_quiet`].
    #[must_use]
    pub fn transitions(&self) -> BTreeMap<(State, State), u64> {
        use State::{
            Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
        };
        let connections = self.orderly + self.reset;
        BTreeMap::from([
            ((Close, Listen), self.listeners),
            ((Listen, Close), self.listeners),
            ((Close, SynSent), connections),
            ((SynSent, Established), connections),
            ((Listen, SynRecv), connections),
            ((SynRecv, Established), connections),
            ((Established, FinWait1), self.orderly),
            ((FinWait1, FinWait2), self.orderly),
            // A timewait mini-socket replaces the full socket.
            ((FinWait2, Close), self.orderly),
            ((Established, CloseWait), self.orderly),
            ((CloseWait, LastAck), self.orderly),
            ((LastAck, Close), self.orderly),
            // Both ends.
            ((Established, Close), 2 * self.reset),
        ])
    }
}

impl Churn {
    /// Runs it; returns when every descriptor is closed.
    ///
    /// # Errors
    /// Fails if a connection fails, or if its end is not seen within [`DEADLINE`].
    pub fn run(self) -> Result<Churned> {
        self.run_while(|| true)
    }

    /// As [`Churn::run`], until `end` at the latest.
    ///
    /// # Errors
    /// As [`Churn::run`].
    pub fn run_until(self, end: Instant) -> Result<Churned> {
        self.run_while(move || Instant::now() < end)
    }

    fn run_while(self, continues: impl Fn() -> bool + Copy + Send + 'static) -> Result<Churned> {
        // Threads inherit the network namespace.
        let threads: Vec<_> =
            (0..self.threads).map(|_| thread::spawn(move || self.run_thread(continues))).collect();
        let mut total = Churned { listeners: 0, orderly: 0, reset: 0 };
        for thread in threads {
            let done = thread.join().unwrap_or_else(|_| bail!("a thread panicked"))?;
            total.listeners += done.listeners;
            total.orderly += done.orderly;
            total.reset += done.reset;
        }
        Ok(total)
    }

    fn run_thread(self, continues: impl Fn() -> bool) -> Result<Churned> {
        let listener = listen(self.family)?;
        let mut done = Churned { listeners: 1, orderly: 0, reset: 0 };
        for number in (0..self.connections).take_while(|_| continues()) {
            let pair = connect(&listener)?;
            if self.resets && number % 2 == 1 {
                close(pair, Closing::Reset)?;
                done.reset += 1;
            } else {
                close(pair, Closing::Orderly)?;
                done.orderly += 1;
            }
        }
        Ok(done)
    }
}

/// An MPTCP connection: its subflows are TCP sockets, one ESTABLISHED at each end and one LISTEN. The MPTCP
/// sockets above them are not TCP.
#[derive(Debug)]
pub struct Mptcp {
    _listener: Socket,
    _client: Socket,
    _accepted: Socket,
}

/// Connects two MPTCP sockets.
///
/// # Errors
/// A [`Skip`] if the kernel has no MPTCP; fails if it has MPTCP but the connection fails.
pub fn mptcp_pair(family: Family) -> Result<Mptcp> {
    let address = SocketAddr::from((localhost(family), 0));
    let socket = || Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::MPTCP));
    let missing =
        |error| Skip::because(format!("there is no MPTCP: socket(IPPROTO_MPTCP): {error}"));
    let listener = socket().map_err(missing)?;
    listener.bind(&address.into())?;
    listener.listen(1)?;
    let client = socket()?;
    client.connect(&listener.local_addr()?).context("connect over MPTCP")?;
    let (accepted, _) = listener.accept().context("accept over MPTCP")?;
    Ok(Mptcp { _listener: listener, _client: client, _accepted: accepted })
}

/// Waits until the peer has closed its sending side.
fn await_end(mut accepted: &TcpStream) -> Result<()> {
    accepted.set_read_timeout(Some(DEADLINE))?;
    match accepted.read(&mut [0]) {
        Ok(0) => Ok(()),
        other => bail!("the accepted side read {other:?} at the end of a connection"),
    }
}

#[derive(Clone, Copy)]
enum Closing {
    Orderly,
    Reset,
}

fn listen(family: Family) -> Result<TcpListener> {
    let ip = localhost(family);
    TcpListener::bind((ip, 0)).with_context(|| format!("listen on {ip}"))
}

fn localhost(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
        Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
    }
}

/// One connection, as (client, accepted); its listener is closed.
///
/// # Errors
/// Fails when it cannot be made.
pub fn connected_pair(family: Family) -> Result<(TcpStream, TcpStream)> {
    connect(&listen(family)?)
}

fn connect(listener: &TcpListener) -> Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(listener.local_addr()?).context("connect over loopback")?;
    let (accepted, _) = listener.accept().context("accept over loopback")?;
    Ok((client, accepted))
}

/// Closes the client, and the accepted side after it has seen that end, so that both sides always go through the
/// same states.
fn close((client, mut accepted): (TcpStream, TcpStream), closing: Closing) -> Result<()> {
    if matches!(closing, Closing::Reset) {
        reset_on_close(&client)?;
    }
    drop(client);
    accepted.set_read_timeout(Some(DEADLINE))?;
    match (closing, accepted.read(&mut [0])) {
        (Closing::Orderly, Ok(0)) => Ok(()),
        (Closing::Reset, Err(error)) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        (_, other) => bail!("the accepted side read {other:?} at the end of a connection"),
    }
}

fn reset_on_close(stream: &TcpStream) -> Result<()> {
    Ok(SockRef::from(stream).set_linger(Some(Duration::ZERO))?)
}

/// Raises the process's limit of open files to `wanted` if it is below.
fn allow_descriptors(wanted: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok(());
    }
    match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)) {
        Err(Errno::EPERM) => bail!("{wanted} descriptors wanted, the hard limit is {hard}"),
        set => set.context("setrlimit(RLIMIT_NOFILE)"),
    }
}
