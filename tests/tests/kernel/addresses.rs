//! `--web.listen-address`: the exporter listens on every address that it means, or fails.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::mounts::PrivateMounts;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::scraper::Scraper;
use tempfile::NamedTempFile;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        a_port_alone_listens_on_every_address_of_both_families,
        a_port_that_is_taken_on_one_address_is_an_error_that_names_the_address,
        a_host_name_listens_on_all_its_addresses,
        a_link_local_address_is_served_with_its_interface,
        an_unknown_interface_or_address_is_an_error
    ]
}

const PORT: u16 = 10_048;

/// An exporter with this value of the flag.
fn listening(address: &str) -> Result<Exporter> {
    Options::default()
        .listen(SocketAddr::from(([127, 0, 0, 77], PORT + 1)))
        .args([format!("--web.listen-address={address}")])
        .start()
}

fn answers(address: impl Into<SocketAddr>) -> Result<()> {
    let address = address.into();
    let response = Scraper::connect(address)?.get("/-/healthy")?;
    ensure!(response.status == 200, "{address}: {}", response.status);
    Ok(())
}

fn a_port_alone_listens_on_every_address_of_both_families(namespace: &Namespace) -> Result<()> {
    for only in [0, 1] {
        namespace.set_sysctl("net.ipv6.bindv6only", only)?;
        let exporter = listening(&format!(":{PORT}"))?;
        for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
            answers((ip.parse::<IpAddr>()?, PORT)).with_context(|| format!("bindv6only {only}"))?;
        }
        drop(exporter);
    }
    Ok(())
}

fn occupy(address: &str, only_v6: bool) -> Result<TcpListener> {
    let address: SocketAddr = address.parse()?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1)?;
    Ok(socket.into())
}

fn a_port_that_is_taken_on_one_address_is_an_error_that_names_the_address(
    _: &Namespace,
) -> Result<()> {
    for (address, only_v6) in [
        ("[::1]:10048", true),
        ("[::]:10048", true),
        ("127.0.0.1:10048", false),
        ("0.0.0.0:10048", false),
    ] {
        let _occupant = occupy(address, only_v6)?;
        let run = tcpstat(["serve", "--web.listen-address=:10048"])?;
        assert_eq!(run.status, Some(1), "{address}: {run:?}");
        let line = run.stderr.lines().last().context("no error")?;
        ensure!(line.contains("--web.listen-address :10048"), "{address}: {line}");
        ensure!(line.contains(&format!("a socket listens on {address}")), "{address}: {line}");
    }
    Ok(())
}

fn a_host_name_listens_on_all_its_addresses(_: &Namespace) -> Result<()> {
    let hosts = NamedTempFile::new()?;
    fs::write(hosts.path(), "127.0.0.2 tcpstat-host\n::1 tcpstat-host\n")?;
    PrivateMounts::enter()?.replace(Path::new("/etc/hosts"), hosts.path())?;
    let addresses: [SocketAddr; 2] = ["127.0.0.2:10048".parse()?, "[::1]:10048".parse()?];
    let exporter = listening(&format!("tcpstat-host:{PORT}"))?;
    for address in &addresses {
        answers(*address)?;
    }
    drop(exporter);
    for address in &addresses {
        let _occupant = occupy(&address.to_string(), true)?;
        let run = tcpstat(["serve", "--web.listen-address=tcpstat-host:10048"])?;
        assert_eq!(run.status, Some(1), "{address}: {run:?}");
    }
    Ok(())
}

fn a_link_local_address_is_served_with_its_interface(_: &Namespace) -> Result<()> {
    let run = std::process::Command::new("ip")
        .args(["addr", "add", "fe80::1/64", "dev", "lo"])
        .status()?;
    ensure!(run.success(), "ip addr add: {run}");
    for interface in ["lo", "1"] {
        let exporter = listening(&format!("[fe80::1%{interface}]:{PORT}"))?;
        let ip: Ipv6Addr = "fe80::1".parse()?;
        answers(SocketAddrV6::new(ip, PORT, 0, 1))?;
        drop(exporter);
    }
    Ok(())
}

fn an_unknown_interface_or_address_is_an_error(_: &Namespace) -> Result<()> {
    for (address, named) in [
        ("[fe80::1%eth77]:10048", "eth77"),
        ("192.0.2.1:10048", "no interface of this host has that address"),
        ("[2001:db8::1]:10048", "no interface of this host has that address"),
    ] {
        let run = tcpstat(["serve", &format!("--web.listen-address={address}")])?;
        assert_eq!(run.status, Some(1), "{address}: {run:?}");
        ensure!(run.stderr.contains(address) && run.stderr.contains(named), "{}", run.stderr);
    }
    Ok(())
}
