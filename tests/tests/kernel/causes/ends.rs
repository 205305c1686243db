//! Ways to end a socket. Those that take time return before it has ended.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::TcpKeepalive;
use tcpstat_tests::binary::output;
use tcpstat_tests::held::Held;
use tcpstat_tests::tcp::State;

/// The other end resets the connection, or refuses it.
pub(super) fn reset(held: &mut Held) -> Result<()> {
    held.remote()?.rst()
}

/// The other end resets the connection when it gets a second SYN.
pub(super) fn reset_later(held: &mut Held) -> Result<()> {
    held.remote()?.await_syn_again()?;
    held.remote()?.rst()
}

/// TCP_USER_TIMEOUT ends the socket, because the other end does not acknowledge what it sent.
pub(super) fn user_timeout(held: &mut Held) -> Result<()> {
    held.socket()?.set_tcp_user_timeout(Some(Duration::from_millis(1)))?;
    unanswered(held)
}

/// The other end does not answer. The socket sends something, unless it has a SYN or FIN that is not acknowledged.
pub(super) fn unanswered(held: &mut Held) -> Result<()> {
    if [State::Established, State::CloseWait].contains(&state(held)?) {
        held.socket()?.send(b"unanswered")?;
    }
    Ok(())
}

/// The other end does not answer a keepalive probe.
pub(super) fn keepalive(held: &mut Held) -> Result<()> {
    let second = Duration::from_secs(1);
    let probes = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(1);
    Ok(held.socket()?.set_tcp_keepalive(&probes)?)
}

/// Another process closes the socket.
pub(super) fn destroy(held: &mut Held) -> Result<()> {
    let row = held.row()?.context("no row")?;
    let filter = format!("sport = :{} and dport = :{}", row.local_port, row.remote_port);
    let run = output(Command::new("ss").args(["-K", "-a", "-t", "-n", "-H", &filter]))?;
    ensure!(run.status == Some(0) && !run.stdout.is_empty(), "ss -K {filter}: {run:?}");
    Ok(())
}

/// The owner resets the connection.
pub(super) fn linger(held: &mut Held) -> Result<()> {
    held.socket()?.set_linger(Some(Duration::ZERO))?;
    close(held)
}

/// The owner closes the socket.
#[expect(clippy::unnecessary_wraps, reason = "as the others")]
pub(super) fn close(held: &mut Held) -> Result<()> {
    held.close();
    Ok(())
}

/// The owner closes the socket without reading what it has received.
pub(super) fn close_unread(held: &mut Held) -> Result<()> {
    held.remote()?.send(b"unread")?;
    held.await_row("unread data", |row| row.is_some_and(|row| row.receive_queue > 0))?;
    close(held)
}

/// Both ends have closed the connection, and the last segment arrives.
pub(super) fn last_segment(held: &mut Held) -> Result<()> {
    if state(held)? == State::FinWait2 { held.remote()?.fin() } else { held.remote()?.ack() }
}

fn state(held: &Held) -> Result<State> {
    Ok(held.row()?.context("no row")?.state)
}
