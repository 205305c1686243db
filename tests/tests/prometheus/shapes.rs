//! The alerts are evaluated over series of simulated hosts (`xtask/src/alerts`). Here each socket of the small ones is made with
//! real calls, and the real exporter must say the same of it: names, labels, gauges at rest, and counters.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::{Result, bail, ensure};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tcpstat_tests::cgroups::Cgroup;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::{Namespace, within};
use tcpstat_tests::network::{Host, Network};
use tcpstat_tests::resident::Resident;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::wire::Wire;

use crate::simulated::{CONTAINER, Real, Scopes, simulated};

/// The port of the simulated listener.
const PORT: u16 = 8443;

/// It is a scope where the corpus has that.
const SCOPE: &str = "--ports=8443";

/// Where nobody listens.
const CLOSED: u16 = 9;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_simulated_leak_is_a_real_one,
        a_simulated_leak_without_a_tracer_is_a_real_one,
        simulated_leaks_in_a_unit_and_in_a_container_are_real_ones,
        simulated_half_closed_streams_are_real_ones,
        a_simulated_pool_that_loses_its_backend_is_a_real_one,
        simulated_ports_run_out_as_real_ones_do,
        simulated_connects_fail_as_real_ones_do,
        a_simulated_accept_queue_fills_as_a_real_one_does,
        a_simulated_syn_flood_is_a_real_one
    ]
}

fn listener(backlog: i32) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// A listener at another host, and its address.
fn backend(host: &Host) -> Result<(TcpListener, SocketAddr)> {
    let address = SocketAddr::from((host.address, PORT));
    Ok((host.inside.run(move || Ok(TcpListener::bind(address)?))?, address))
}

/// Connections from another host that the listener accepts: both ends.
fn accepted(
    listener: &TcpListener,
    number: u64,
    host: &Host,
    address: Ipv4Addr,
) -> Result<Vec<(TcpStream, TcpStream)>> {
    let one = |_| {
        let client = connect_from(host, address)?;
        Ok((client, listener.accept()?.0))
    };
    (0..number).map(one).collect()
}

fn connect_from(host: &Host, to: Ipv4Addr) -> Result<TcpStream> {
    host.inside.run(move || Ok(TcpStream::connect((to, PORT))?))
}

/// Begins to connect, and does not wait.
fn begin_connect(to: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => Ok(socket),
        other => bail!("connect: {other:?} instead of EINPROGRESS"),
    }
}

fn await_end(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    ensure!(stream.read(&mut [0])? == 0, "data instead of an end");
    Ok(())
}

fn leak(namespace: &Namespace, real: &mut Real) -> Result<Scrape> {
    let host = Network::create(namespace)?.host()?;
    let listener = listener(128)?;
    let pairs = accepted(&listener, real.sockets("close_wait")?, &host, Network::ADDRESS)?;
    let _leaked: Vec<_> = pairs.into_iter().map(|(_, accepted)| accepted).collect();
    real.rest()
}

fn a_simulated_leak_is_a_real_one(namespace: &Namespace) -> Result<()> {
    leak(namespace, &mut Real::start("leak", &[SCOPE])?).map(drop)
}

/// What the corpus has only with a tracer must be absent without one: rules depend on that.
fn a_simulated_leak_without_a_tracer_is_a_real_one(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("leak-without-tracer", &[SCOPE, "--tracer=off"])?;
    let names = |scrape: Scrape| -> BTreeSet<String> {
        scrape.samples.into_iter().map(|sample| sample.name).collect()
    };
    let without = names(real.expected()?);
    let scraped = names(leak(namespace, &mut real)?);
    let of_tracer = names(simulated("leak", 0)?).into_iter().filter(|name| !without.contains(name));
    let present: Vec<_> = of_tracer.filter(|name| scraped.contains(name)).collect();
    ensure!(present.is_empty(), "without a tracer there is {present:?}");
    Ok(())
}

/// Both leak, and a third host has the other ends.
fn simulated_leaks_in_a_unit_and_in_a_container_are_real_ones(namespace: &Namespace) -> Result<()> {
    let unit = Cgroup::new("shop.service")?;
    let container = Resident::in_new_namespace()?;
    let real = Real::start("leak-in-scopes", &["--netns=all", "--cgroups=*shop.service"])?;
    let scopes = Scopes { cgroup: unit.path(), inum: container.inum()? };
    let mut real = real.with_scopes(scopes)?;
    let mut network = Network::create(namespace)?;
    let host = network.host()?;
    let address = network.join(container.pid())?;
    let inside = within(&File::open(container.namespace_file())?, || listener(128))?;
    let number =
        real.number("tcpstat_netns_connections", &[("netns", CONTAINER), ("state", "close_wait")])?;
    let mut leaked = accepted(&inside, number, &host, address)?;
    drop(inside);
    let listener = unit.inside(|| listener(128))?;
    let number = real.sockets("close_wait")?;
    leaked.extend(accepted(&listener, number, &host, Network::ADDRESS)?);
    let _leaked: Vec<_> = leaked.into_iter().map(|(_, accepted)| accepted).collect();
    real.rest().map(drop)
}

fn simulated_half_closed_streams_are_real_ones(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("half-closed", &[SCOPE])?;
    let host = Network::create(namespace)?.host()?;
    let listener = listener(128)?;
    let pairs = accepted(&listener, real.sockets("close_wait")?, &host, Network::ADDRESS)?;
    for (client, _) in &pairs {
        client.shutdown(Shutdown::Write)?;
    }
    real.rest()?;
    for (client, accepted) in pairs {
        drop(accepted);
        drop(client);
    }
    real.rest().map(drop)
}

fn a_simulated_pool_that_loses_its_backend_is_a_real_one(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("pool", &[])?;
    let host = Network::create(namespace)?.host()?;
    let (backend, address) = backend(&host)?;
    let one = |_| Ok((TcpStream::connect(address)?, backend.accept()?.0));
    let pairs = (0..real.sockets("established")?).map(one).collect::<Result<Vec<_>>>()?;
    real.rest()?;
    let pool: Vec<_> = pairs.into_iter().map(|(client, _)| client).collect();
    real.rest()?;
    drop(pool);
    real.rest().map(drop)
}

fn simulated_ports_run_out_as_real_ones_do(namespace: &Namespace) -> Result<()> {
    let ports = simulated("ports", 0)?.count("tcpstat_ephemeral_ports", &[])?;
    let range = format!("40000 {}", 40_000 + ports - 1);
    namespace.set_sysctl("net.ipv4.ip_local_port_range", range)?;
    let mut real = Real::start("ports", &[])?;
    let host = Network::create(namespace)?.host()?;
    let (backend, address) = backend(&host)?;
    for _ in 0..real.sockets("time_wait")? {
        let client = TcpStream::connect(address)?;
        let (mut accepted, _) = backend.accept()?;
        drop(client);
        await_end(&mut accepted)?;
    }
    let labels = [("family", "ipv4"), ("from", "syn_sent"), ("cause", "no_port")];
    for _ in 0..real.number("tcpstat_closed_total", &labels)? {
        match TcpStream::connect(address) {
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {}
            other => bail!("connect without a free port: {other:?}"),
        }
    }
    real.rest().map(drop)
}

fn simulated_connects_fail_as_real_ones_do(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("failing", &[])?;
    let wire = Wire::open(namespace)?;
    let failed = |family, cause| {
        let labels = [("family", family), ("from", "syn_sent"), ("cause", cause)];
        real.number("tcpstat_closed_total", &labels)
    };
    let ipv4: IpAddr = Ipv4Addr::LOCALHOST.into();
    for (family, ip) in [("ipv4", ipv4), ("ipv6", Ipv6Addr::LOCALHOST.into())] {
        for _ in 0..failed(family, "refused")? {
            match TcpStream::connect((ip, CLOSED)) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                other => bail!("connect to a closed port: {other:?}"),
            }
        }
    }
    let silent = |_| {
        let remote = wire.remote(Family::Ipv4);
        Ok((begin_connect(remote.address())?, remote))
    };
    let given_up = (0..failed("ipv4", "none")?).map(silent).collect::<Result<Vec<_>>>()?;
    for (connecting, mut remote) in given_up {
        remote.swallow_syn()?;
        remote.await_syn_again()?;
        drop(connecting);
    }
    real.rest().map(drop)
}

fn a_simulated_accept_queue_fills_as_a_real_one_does(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("accept-queue", &[])?;
    let host = Network::create(namespace)?.host()?;
    let port = PORT.to_string();
    let labels = [("address", "0.0.0.0"), ("port", port.as_str())];
    let limit = real.number("tcpstat_listener_accept_queue_limit", &labels)?;
    let _listener = listener(limit.try_into()?)?;
    let length = real.number("tcpstat_listener_accept_queue_length", &labels)?;
    let _waiting =
        (0..length).map(|_| connect_from(&host, Network::ADDRESS)).collect::<Result<Vec<_>>>()?;
    wait_until("full accept queue", DEADLINE, || {
        let scrape = real.exporter.scrape()?;
        let now = scrape.count("tcpstat_listener_accept_queue_length", &labels).unwrap_or_default();
        Ok(if now == length { Progress::Done(()) } else { Progress::NotYet(now.to_string()) })
    })?;
    for _ in 0..real.number("tcpstat_listener_drops_total", &labels)? {
        // Closed at once: it sends no second SYN.
        host.inside.run(|| begin_connect((Network::ADDRESS, PORT).into()).map(drop))?;
    }
    real.rest().map(drop)
}

fn a_simulated_syn_flood_is_a_real_one(namespace: &Namespace) -> Result<()> {
    let mut real = Real::start("syn-flood", &[])?;
    let wire = Wire::open(namespace)?;
    let _listener = listener(128)?;
    for _ in 0..real.sockets("syn_recv")? {
        wire.remote(Family::Ipv4).syn_only(PORT)?;
    }
    real.rest().map(drop)
}
