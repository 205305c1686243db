//! Unusual socket calls that every user of a host can make: every gauge is right at rest, without a snapshot
//! and without a correction. docs/how-it-stays-right.md lists what else was tried.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::connect_unspec;
use socket2::{Domain, Protocol, Socket, Type};
use tcpstat_tests::agreement::await_agreement_between_snapshots;
use tcpstat_tests::corrections::{unexplained_corrections, without_corrections};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::Family;

/// What a user does.
type Use = fn() -> Result<()>;

/// Each is done [`TIMES`] times.
const USES: [(&str, Use); 8] = [
    ("disconnect_and_connect_again", disconnect_and_connect_again),
    ("shut_a_listener_down", shut_a_listener_down),
    ("close_while_connecting", close_while_connecting),
    ("close_a_listener_with_connections_queued", close_a_listener_with_connections_queued),
    ("connect_to_itself", connect_to_itself),
    ("close_from_both_ends_with_data_unread", close_from_both_ends),
    ("share_a_port_and_close", share_a_port_and_close),
    ("reuse_a_port_in_time_wait", reuse_a_port_in_time_wait),
];
const TIMES: u16 = 30;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for tracer in ["btf", "tracepoint"] {
        tests.push(kernel_test(
            format!("every_gauge_is_right_after_unusual_socket_calls_with_{tracer}"),
            move |_: &Namespace| without_corrections(tracer, || every_gauge_is_right(tracer)),
        ));
    }
    tests
}

/// The corrections that no missed event explains.
fn every_gauge_is_right(tracer: &str) -> Result<f64> {
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    let _pairs = Pairs::connect(3, Family::Ipv4)?;
    for (name, act) in USES {
        for _ in 0..TIMES {
            act().context(name)?;
        }
        await_agreement_between_snapshots(&mut exporter).context(name)?;
    }
    unexplained_corrections(&mut exporter)
}

fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// `connect(AF_UNSPEC)` returns a socket to CLOSE, from where it may connect again.
fn disconnect_and_connect_again() -> Result<()> {
    let (listener, address) = listen()?;
    let client = TcpStream::connect(address)?;
    let (_first, _) = listener.accept()?;
    connect_unspec(&client)?;
    Socket::from(client).connect(&address.into())?;
    listener.accept()?;
    Ok(())
}

fn shut_a_listener_down() -> Result<()> {
    let (listener, _) = listen()?;
    let listener = Socket::from(listener);
    listener.shutdown(std::net::Shutdown::Both)?;
    listener.listen(5)?;
    connect_unspec(&listener)?;
    Ok(())
}

/// The accept queue is full, so that further connects stay in SYN_SENT.
fn close_while_connecting() -> Result<()> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(0)?;
    let address = listener.local_addr()?;
    let mut connecting = Vec::new();
    for _ in 0..4 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // It stays in progress.
        let _ = socket.connect(&address);
        connecting.push(socket);
    }
    Ok(())
}

fn close_a_listener_with_connections_queued() -> Result<()> {
    let (listener, address) = listen()?;
    let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    drop(listener);
    drop(clients);
    Ok(())
}

/// A simultaneous open: SYN_SENT → SYN_RECV.
fn connect_to_itself() -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.connect(&socket.local_addr()?)?;
    socket.set_linger(Some(Duration::ZERO))?;
    Ok(())
}

fn close_from_both_ends() -> Result<()> {
    let (listener, address) = listen()?;
    let mut client = TcpStream::connect(address)?;
    let (accepted, _) = listener.accept()?;
    client.write_all(b"unread")?;
    client.shutdown(std::net::Shutdown::Write)?;
    accepted.shutdown(std::net::Shutdown::Write)?;
    Ok(())
}

fn share_a_port_and_close() -> Result<()> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut listeners = Vec::new();
    for _ in 0..3 {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        listener.set_reuse_port(true)?;
        listener.bind(&address.into())?;
        listener.listen(5)?;
        address = listener.local_addr()?.as_socket().context("an address")?;
        listeners.push(listener);
    }
    let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    drop(listeners);
    drop(clients);
    Ok(())
}

/// The client's end stays in TIME_WAIT; its port is reused for a connection to another listener.
fn reuse_a_port_in_time_wait() -> Result<()> {
    let (first, first_address) = listen()?;
    let (second, second_address) = listen()?;
    let mut local: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    for (listener, address) in [(first, first_address), (second, second_address)] {
        let client = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        client.set_reuse_address(true)?;
        client.bind(&local.into())?;
        client.connect(&address.into())?;
        local = client.local_addr()?.as_socket().context("an address")?;
        let (accepted, _) = listener.accept()?;
        drop(client);
        drop(accepted);
    }
    Ok(())
}
