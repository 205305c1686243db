//! `populate SOCKETS`: holds that many TCP sockets in ESTABLISHED over the loopback interface of its
//! network namespace, prints `ready`, and closes them by reset when its standard input ends.
//!
//! Some systems limit a process to 20,000 files, so several processes of this program share the sockets. Each
//! connects to its own listener.

use std::env;
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, SockRef, Socket, Type};

/// Sockets of one process: two for each connection, below the 28,232 ephemeral ports and the limit
/// of files.
const SOCKETS_PER_PROCESS: usize = 19_000;

/// Marks the processes that hold the sockets; its value is their number.
const HOLDER: &str = "TCPSTAT_POPULATE_HOLDER";

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [sockets] = arguments.as_slice() else { bail!("usage: populate SOCKETS") };
    let sockets: usize = sockets.parse().with_context(|| format!("SOCKETS is {sockets:?}"))?;
    ensure!(sockets.is_multiple_of(2), "SOCKETS is {sockets}: a connection has two");
    match env::var(HOLDER) {
        Ok(number) => hold(number.parse().context(HOLDER)?, sockets),
        Err(_) => divide(sockets),
    }
}

/// Starts as many holders as needed, two at a time.
fn divide(sockets: usize) -> Result<()> {
    let mut holders: Vec<Child> = Vec::new();
    let mut left = sockets;
    while left > 0 {
        let share = left.min(SOCKETS_PER_PROCESS);
        let holder = Command::new(env::current_exe()?)
            .arg(share.to_string())
            .env(HOLDER, holders.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a holder")?;
        holders.push(holder);
        left -= share;
        if let Some(before) = holders.len().checked_sub(2) {
            await_ready(&mut holders[before])?;
        }
    }
    if let Some(last) = holders.last_mut() {
        await_ready(last)?;
    }
    tell_ready_and_wait()?;
    for holder in &mut holders {
        drop(holder.stdin.take());
    }
    for mut holder in holders {
        holder.wait()?;
    }
    Ok(())
}

fn await_ready(holder: &mut Child) -> Result<()> {
    let Some(stdout) = holder.stdout.take() else { return Ok(()) };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    ensure!(line == "ready\n", "a holder ended early: {line:?}");
    Ok(())
}

/// Holds the connections; `number` keeps the holders' addresses apart.
fn hold(number: u8, sockets: usize) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::new(127, 10, number, 1), 9));
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&address.into())?;
    listener.listen(16)?;
    let mut held = Vec::with_capacity(sockets);
    for _ in 0..sockets / 2 {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        client.bind(&SocketAddr::from((Ipv4Addr::new(127, 20, number, 1), 0)).into())?;
        client.connect(&address.into())?;
        let (accepted, _) = listener.accept()?;
        held.extend([client, accepted]);
    }
    drop(listener);
    tell_ready_and_wait()?;
    for socket in &held {
        // So that no TIME_WAIT is left.
        SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

fn tell_ready_and_wait() -> Result<()> {
    println!("ready");
    stdout().flush()?;
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
