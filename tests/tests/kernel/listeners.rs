//! Listening sockets: their accept queues, half-open connections, and drops.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::kernel_tests;
use tcpstat_tests::listeners::{
    Endpoint, Listener, await_agreement, await_scrape, by_ss, drops, half_open, listen_drops,
    other, scraped,
};
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::wire::Wire;

use crate::surroundings::rename_member;

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        half_open_connections_are_those_of_their_listener,
        listeners_that_share_a_port_are_added_up_with_the_fullest,
        the_fullest_listeners_have_series_and_the_others_are_added_up,
        listeners_that_are_older_than_the_exporter_are_in_its_first_scrape,
        without_a_tracer_and_with_a_maximum_of_0_there_are_no_series_of_listeners,
        without_a_member_that_they_need_only_listeners_are_missing
    ];
    for address in [LOOPBACKS[0], LOOPBACKS[1], ANY] {
        let name =
            format!("a_stuck_listener_at_{address}_fills_its_queue_and_its_drops_never_fall");
        tests.push(kernel_test(name, move |namespace| stuck_acceptor(namespace, address)));
    }
    tests
}

fn start() -> Result<Exporter> {
    Exporter::start(&FREQUENT_SNAPSHOTS)
}

fn socket(address: IpAddr) -> Result<Socket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    Ok(Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?)
}

/// A socket that listens at this address and port and never accepts; port 0 is any free one.
fn listen(address: IpAddr, port: u16, backlog: i32) -> Result<Socket> {
    let socket = socket(address)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(address, port).into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

fn port_of(socket: &Socket) -> Result<u16> {
    Ok(socket.local_addr()?.as_socket().context("no socket address")?.port())
}

fn endpoint(address: IpAddr, port: u16) -> Endpoint {
    (address.to_string(), port.to_string())
}

/// Connections that wait in the accept queue.
fn connect(number: u32, to: (IpAddr, u16)) -> Result<Vec<Socket>> {
    (0..number)
        .map(|_| {
            let client = socket(to.0)?;
            client.connect(&SocketAddr::from(to).into())?;
            Ok(client)
        })
        .collect()
}

/// Connects whose SYN the listener drops.
fn try_to_connect(number: u32, to: (IpAddr, u16)) -> Result<Vec<Socket>> {
    (0..number)
        .map(|_| {
            let client = socket(to.0)?;
            client.set_nonblocking(true)?;
            match client.connect(&SocketAddr::from(to).into()) {
                Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => Ok(client),
                other => anyhow::bail!("connect: {other:?} instead of EINPROGRESS"),
            }
        })
        .collect()
}

/// The queue of a listener that never accepts fills; then it is closed, and another one opened in its place.
fn stuck_acceptor(namespace: &Namespace, address: IpAddr) -> Result<()> {
    let mut exporter = start()?;
    let to = (if address == ANY { LOOPBACKS[0] } else { address }, 7_000);
    let endpoint = endpoint(address, 7_000);
    let stuck = listen(address, 7_000, 4)?;
    let waiting = connect(4, to)?;
    let scrape = await_agreement(&mut exporter, namespace)?;
    let almost_full = Listener { length: 4, limit: 4, fullest: 0.8 };
    assert_eq!(scraped(&scrape)?[&endpoint], almost_full);
    assert_eq!(drops(&scrape)?[&endpoint], 0);

    let last = connect(1, to)?;
    let dropped = try_to_connect(3, to)?;
    await_drops(&mut exporter, &endpoint, 3)?;
    // They would send their SYN again.
    drop(dropped);
    let scrape = await_agreement(&mut exporter, namespace)?;
    assert_eq!(scraped(&scrape)?[&endpoint], Listener { length: 5, limit: 4, fullest: 1.0 });
    let before = drops(&scrape)?[&endpoint];

    drop((stuck, waiting, last));
    await_scrape(&mut exporter, |scrape| {
        let is_there = scraped(scrape)?.contains_key(&endpoint);
        Ok(is_there.then(|| format!("{endpoint:?} has series")))
    })?;
    let again = listen(address, 7_000, 0)?;
    let scrape = await_agreement(&mut exporter, namespace)?;
    assert_eq!(drops(&scrape)?[&endpoint], before);

    let waiting = connect(1, to)?;
    let dropped = try_to_connect(1, to)?;
    await_drops(&mut exporter, &endpoint, before + 1)?;
    drop(dropped);
    let scrape = await_agreement(&mut exporter, namespace)?;
    assert_eq!(scraped(&scrape)?[&endpoint], Listener { length: 1, limit: 0, fullest: 1.0 });
    drop((again, waiting));
    Ok(())
}

fn await_drops(exporter: &mut Exporter, endpoint: &Endpoint, at_least: u64) -> Result<()> {
    await_scrape(exporter, |scrape| {
        let dropped = drops(scrape)?.get(endpoint).copied().unwrap_or(0);
        Ok((dropped < at_least).then(|| format!("{dropped} drops, {at_least} expected")))
    })?;
    Ok(())
}

fn half_open_connections_are_those_of_their_listener(namespace: &Namespace) -> Result<()> {
    let mut exporter = start()?;
    let wire = Wire::open(namespace)?;
    let listeners = [listen(ANY, 0, 16)?, listen(Ipv4Addr::UNSPECIFIED.into(), 0, 16)?];
    let ports = [port_of(&listeners[0])?, port_of(&listeners[1])?];
    let mut remotes = Vec::new();
    for (port, families) in [
        (ports[0], &[Family::Ipv4, Family::Ipv6, Family::Ipv6][..]),
        (ports[1], &[Family::Ipv4, Family::Ipv4]),
    ] {
        for &family in families {
            let mut remote = wire.remote(family);
            remote.syn_only(port)?;
            remotes.push(remote);
        }
    }
    let expected = [
        (endpoint(ANY, ports[0]), 3),
        (endpoint(Ipv4Addr::UNSPECIFIED.into(), ports[1]), 2),
        (endpoint(LOOPBACKS[0], exporter.address().port()), 0),
        (other(), 0),
    ];
    await_scrape(&mut exporter, |scrape| {
        let seen = half_open(scrape)?;
        Ok((seen != expected.clone().into()).then(|| format!("{seen:?}, not {expected:?}")))
    })?;
    // One is complete now, and one is refused.
    remotes[0].ack()?;
    remotes[3].rst()?;
    await_scrape(&mut exporter, |scrape| {
        let (half_open, listeners) = (half_open(scrape)?, scraped(scrape)?);
        let seen = (
            half_open[&expected[0].0],
            half_open[&expected[1].0],
            listeners[&expected[0].0].length,
        );
        Ok((seen != (2, 1, 1)).then(|| format!("{seen:?}")))
    })?;
    drop(listeners);
    Ok(())
}

/// The kernel chooses the socket for each connection, so only `ss` says how many each has.
fn listeners_that_share_a_port_are_added_up_with_the_fullest(namespace: &Namespace) -> Result<()> {
    let mut exporter = start()?;
    let group = |address: IpAddr| -> Result<Vec<Socket>> {
        [20, 30, 40]
            .into_iter()
            .map(|backlog| {
                let member = socket(address)?;
                member.set_reuse_port(true)?;
                member.bind(&SocketAddr::new(address, 7_000).into())?;
                member.listen(backlog)?;
                Ok(member)
            })
            .collect()
    };
    let groups = [group(LOOPBACKS[0])?, group(LOOPBACKS[1])?];
    let waiting = [connect(20, (LOOPBACKS[0], 7_000))?, connect(7, (LOOPBACKS[1], 7_000))?];
    let scrape = await_agreement(&mut exporter, namespace)?;
    let listeners = scraped(&scrape)?;
    for (address, length) in [(LOOPBACKS[0], 20), (LOOPBACKS[1], 7)] {
        let listener = listeners[&endpoint(address, 7_000)];
        assert_eq!((listener.length, listener.limit), (length, 90));
        // At least a third of them is in one queue, and none has all its room.
        ensure!((f64::from(7) / 41.0 / 3.0..1.0).contains(&listener.fullest), "{listener:?}");
    }
    drop((groups, waiting));
    Ok(())
}

fn the_fullest_listeners_have_series_and_the_others_are_added_up(
    namespace: &Namespace,
) -> Result<()> {
    let flags = [&FREQUENT_SNAPSHOTS[..], &["--listeners-max=3"]].concat();
    let mut exporter = Exporter::start(&flags)?;
    // The later it comes the fuller it is, until the last one, which drops.
    let mut sockets = Vec::new();
    for number in 0..8 {
        let (address, port) = (LOOPBACKS[number % 2], 7_000 + u16::try_from(number)?);
        sockets.push(listen(address, port, 7)?);
        sockets.extend(connect(u32::try_from(number)? + 1, (address, port))?);
    }
    let dropped = try_to_connect(2, (LOOPBACKS[1], 7_007))?;
    await_drops(&mut exporter, &endpoint(LOOPBACKS[1], 7_007), 2)?;
    drop(dropped);
    let fullest = [(LOOPBACKS[1], 7_005), (LOOPBACKS[0], 7_006), (LOOPBACKS[1], 7_007)];
    let fullest = fullest.map(|(address, port)| endpoint(address, port));
    let scrape = await_scrape(&mut exporter, |scrape| {
        let by_ss = by_ss()?;
        let mut expected = fullest.clone().map(|shown| (shown.clone(), by_ss[&shown])).to_vec();
        let others = by_ss.iter().filter(|(endpoint, _)| !fullest.contains(endpoint));
        let sum = others.fold(Listener::default(), |sum, (_, listener)| Listener {
            length: sum.length + listener.length,
            limit: sum.limit + listener.limit,
            fullest: sum.fullest.max(listener.fullest),
        });
        expected.push((other(), sum));
        let dropped: u64 = drops(scrape)?.values().sum();
        let seen = (scraped(scrape)?, dropped);
        let expected = (expected.into_iter().collect(), listen_drops(namespace)?);
        Ok((seen != expected).then(|| format!("{seen:?}, not {expected:?}")))
    })?;
    // 1 + 2 + 3 + 4 + 5 connections, and the exporter's own listener.
    let rest = scraped(&scrape)?[&other()];
    assert_eq!((rest.length, rest.fullest), (15, 0.625));
    assert_eq!(scraped(&scrape)?[&fullest[2]].fullest, 1.0);
    Ok(())
}

/// Each form of address: that of one family, that of all addresses of a family, and that of both families.
fn listeners_that_are_older_than_the_exporter_are_in_its_first_scrape(_: &Namespace) -> Result<()> {
    let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    let v6_only = socket(ANY)?;
    v6_only.set_only_v6(true)?;
    v6_only.bind(&SocketAddr::new(ANY, 7_001).into())?;
    v6_only.listen(1)?;
    let sockets = [
        listen(LOOPBACKS[0], 7_000, 1)?,
        listen(LOOPBACKS[1], 7_000, 1)?,
        listen(Ipv4Addr::UNSPECIFIED.into(), 7_001, 1)?,
        v6_only,
        listen(ANY, 7_002, 1)?,
        listen(mapped, 7_003, 1)?,
    ];
    let mut exporter = start()?;
    let seen = scraped(&exporter.scrape()?)?;
    let mut expected = by_ss()?;
    assert_eq!(expected.len(), sockets.len() + 1, "{expected:?}");
    expected.insert(other(), Listener::default());
    assert_eq!(seen, expected);
    for (address, port) in
        [("0.0.0.0", 7_001), ("::", 7_001), ("::", 7_002), ("::ffff:127.0.0.1", 7_003)]
    {
        let endpoint = (address.to_owned(), port.to_string());
        ensure!(seen.contains_key(&endpoint), "{endpoint:?} not in {seen:?}");
    }
    Ok(())
}

fn without_a_tracer_and_with_a_maximum_of_0_there_are_no_series_of_listeners(
    _: &Namespace,
) -> Result<()> {
    for flag in ["--tracer=off", "--listeners-max=0"] {
        assert_no_series(&mut Exporter::start(&[flag])?).context(flag)?;
    }
    Ok(())
}

fn assert_no_series(exporter: &mut Exporter) -> Result<()> {
    let scrape = exporter.scrape()?;
    let names = scrape.samples.iter().map(|sample| &sample.name);
    let of_listeners: Vec<_> = names.filter(|name| name.starts_with("tcpstat_listener")).collect();
    ensure!(of_listeners.is_empty(), "{of_listeners:?}");
    Ok(())
}

/// One line says so, and everything else is as usual.
fn without_a_member_that_they_need_only_listeners_are_missing(_: &Namespace) -> Result<()> {
    let _file = rename_member(&PrivateMounts::enter()?, "sk_max_ack_backlog")?;
    let mut exporter = start()?;
    assert_no_series(&mut exporter)?;
    let scrape = exporter.scrape()?;
    assert_eq!(scrape.value("tcpstat_tracer_up", &[])?, 1.0);
    ensure!(!scrape.family("tcpstat_closed_total").is_empty());

    let cause =
        "kernel BTF has no `inet_conn.icsk_inet.sk.sk_max_ack_backlog` in `struct tcp_sock`";
    let log = exporter.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    ensure!(warnings.len() == 1 && warnings[0].contains(cause), "{log}");
    let run = tcpstat(["check"])?;
    let line = run.stdout.lines().find(|line| line.starts_with("listeners "));
    ensure!(run.status == Some(0) && line.is_some_and(|line| line.contains(cause)), "{run:?}");
    Ok(())
}
