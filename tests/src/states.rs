//! One kernel socket in any TCP state, held there by a silent peer.
//!
//! Each function returns when `/proc` shows the socket in its state. It stays there while the
//! guard lives and the kernel's timers allow: those of an unanswered SYN, FIN or SYN-ACK, of
//! `TIME_WAIT` and of the orphaned `FIN_WAIT2` last about a minute or longer.

use std::io::ErrorKind;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use socket2::Socket;

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::held::{Addressing, Held};
use crate::tcp::State;
use crate::wire::Wire;

/// Makes one socket and holds it.
pub type Hold = fn(&Wire, Addressing) -> Result<Held>;

/// Every function below by its name, but [`simultaneous_open`].
pub const ALL: [(&str, Hold); 13] = [
    ("established", established),
    ("accepted", accepted),
    ("syn_sent", syn_sent),
    ("syn_recv", syn_recv),
    ("fin_wait1", fin_wait1),
    ("fin_wait2", fin_wait2),
    ("fin_wait2_orphan", fin_wait2_orphan),
    ("time_wait", time_wait),
    ("close_wait", close_wait),
    ("last_ack", last_ack),
    ("listen", listen),
    ("closing", closing),
    ("time_wait_after_closing", time_wait_after_closing),
];

/// A listening socket.
///
/// # Errors
/// Fails if `/proc` does not show the state within [`DEADLINE`].
pub fn listen(_: &Wire, addressing: Addressing) -> Result<Held> {
    let socket = addressing.socket()?;
    socket.bind(&addressing.any_address().into())?;
    socket.listen(16)?;
    let local_port = local_port(&socket)?;
    Held { addressing, local_port, socket: Some(socket), listener: None, remote: None }
        .settled(State::Listen)
}

/// A connecting socket with an unanswered SYN.
///
/// # Errors
/// See [`listen`].
pub fn syn_sent(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut remote = wire.remote(addressing.wire_family());
    let socket = addressing.socket()?;
    socket.set_nonblocking(true)?;
    match socket.connect(&addressing.as_connected_to(remote.address()).into()) {
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
        other => bail!("connect: {other:?} instead of EINPROGRESS"),
    }
    remote.swallow_syn()?;
    socket.set_nonblocking(false)?;
    let local_port = local_port(&socket)?;
    Held { addressing, local_port, socket: Some(socket), listener: None, remote: Some(remote) }
        .settled(State::SynSent)
}

/// A half-open request: the kernel has answered a SYN, and receives no ACK. Its listener is a second socket.
///
/// # Errors
/// See [`listen`].
pub fn syn_recv(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = listen(wire, addressing)?;
    let mut remote = wire.remote(addressing.wire_family());
    remote.syn_only(held.local_port)?;
    held.remote = Some(remote);
    held.listener = held.socket.take();
    held.settled(State::SynRecv)
}

/// A full socket in SYN_RECV: its SYN has crossed that of the other side.
///
/// # Errors
/// See [`listen`].
pub fn simultaneous_open(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = syn_sent(wire, addressing)?;
    held.remote()?.cross_syn()?;
    held.settled(State::SynRecv)
}

/// A connected socket.
///
/// # Errors
/// See [`listen`].
pub fn established(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = syn_sent(wire, addressing)?;
    held.remote()?.accept_from_kernel()?;
    held.settled(State::Established)
}

/// An accepted socket; its listener is closed.
///
/// # Errors
/// See [`listen`].
pub fn accepted(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = syn_recv(wire, addressing)?;
    held.remote()?.ack()?;
    let listener = held.listener.take().context("the listener")?;
    listener.set_nonblocking(true)?;
    let socket = wait_until("connection to accept", DEADLINE, || match listener.accept() {
        Ok((socket, _)) => Ok(Progress::Done(socket)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Ok(Progress::NotYet(error.to_string()))
        }
        Err(error) => Err(error.into()),
    })?;
    held.socket = Some(socket);
    held.settled(State::Established)
}

/// A socket shut down for writing whose FIN is not acknowledged; its descriptor is open.
///
/// # Errors
/// See [`listen`].
pub fn fin_wait1(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = established(wire, addressing)?;
    held.shutdown()?;
    held.settled(State::FinWait1)
}

/// A socket shut down for writing whose FIN is acknowledged; its descriptor is open, so it is a
/// full socket and no timer runs.
///
/// # Errors
/// See [`listen`].
pub fn fin_wait2(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = fin_wait1(wire, addressing)?;
    held.remote()?.ack()?;
    held.settled(State::FinWait2)
}

/// A closed socket whose FIN is acknowledged: a timewait mini-socket with substate `FIN_WAIT2`,
/// for the `net.ipv4.tcp_fin_timeout` of the namespace (where that is at most a minute).
///
/// # Errors
/// See [`listen`].
pub fn fin_wait2_orphan(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = fin_wait2(wire, addressing)?;
    held.close();
    held.await_row("FIN_WAIT2 mini-socket", |row| {
        row.is_some_and(|row| row.state == State::FinWait2 && !row.full)
    })?;
    Ok(held)
}

/// A closed socket that has acknowledged the other side's FIN after its own was acknowledged: a
/// timewait mini-socket, for one minute.
///
/// # Errors
/// See [`listen`].
pub fn time_wait(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = fin_wait2(wire, addressing)?;
    held.close();
    held.remote()?.fin()?;
    held.settled(State::TimeWait)
}

/// A closed socket whose FIN crossed the other side's: reaches `TIME_WAIT` out of `CLOSING`.
///
/// # Errors
/// See [`listen`].
pub fn time_wait_after_closing(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = closing(wire, addressing)?;
    held.close();
    held.remote()?.ack()?;
    held.settled(State::TimeWait)
}

/// A socket that has received a FIN and is not closed.
///
/// # Errors
/// See [`listen`].
pub fn close_wait(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = established(wire, addressing)?;
    held.remote()?.fin()?;
    held.settled(State::CloseWait)
}

/// A socket that has received a FIN and whose own FIN is not acknowledged; its descriptor is open.
///
/// # Errors
/// See [`listen`].
pub fn last_ack(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = close_wait(wire, addressing)?;
    held.shutdown()?;
    held.settled(State::LastAck)
}

/// A socket whose FIN crossed the other side's; its descriptor is open.
///
/// # Errors
/// See [`listen`].
pub fn closing(wire: &Wire, addressing: Addressing) -> Result<Held> {
    let mut held = fin_wait1(wire, addressing)?;
    held.remote()?.fin_without_ack()?;
    held.settled(State::Closing)
}

fn local_port(socket: &Socket) -> Result<u16> {
    let address = socket.local_addr()?.as_socket().context("an IP address")?;
    Ok(address.port())
}
