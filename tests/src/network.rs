//! Hosts on a network: namespaces joined by a bridge.

use std::fs::File;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use nix::unistd::gettid;

use crate::netns::{Elsewhere, Namespace, elsewhere, ip, within};

const BRIDGE: &str = "br0";

/// A bridge in the namespace of the calling thread, which is on the network too.
#[derive(Debug)]
pub struct Network<'a> {
    namespace: &'a Namespace,
    hosts: u8,
}

/// A namespace with an address on the network. [`Elsewhere::run`] runs work in it.
#[derive(Debug)]
pub struct Host {
    /// The namespace.
    pub inside: Elsewhere,
    /// Its address.
    pub address: Ipv4Addr,
}

impl<'a> Network<'a> {
    /// The address of the namespace that has the bridge.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 254);

    /// Creates the network; each namespace can have one.
    ///
    /// # Errors
    /// Fails if the kernel has no bridges.
    pub fn create(namespace: &'a Namespace) -> Result<Self> {
        namespace.ip(&[
            &format!("link add {BRIDGE} type bridge"),
            &format!("address add {}/24 dev {BRIDGE}", Self::ADDRESS),
            &format!("link set {BRIDGE} up"),
        ])?;
        Ok(Self { namespace, hosts: 0 })
    }

    /// Another host, at most 253.
    ///
    /// # Errors
    /// Fails if there are that many, and if the kernel has no veth devices.
    pub fn host(&mut self) -> Result<Host> {
        let (port, address) = self.next()?;
        let bridge_side = format!("peer name {port} netns {}", gettid());
        let inside = elsewhere(move |namespace| {
            namespace.ip(&[
                &format!("link add eth0 type veth {bridge_side}"),
                &format!("address add {address}/24 dev eth0"),
                "link set eth0 up",
            ])
        })?;
        self.attach(&port)?;
        Ok(Host { inside, address })
    }

    /// Joins the namespace of a process, and returns its address.
    ///
    /// # Errors
    /// As [`Network::host`], and if the process has ended.
    pub fn join(&mut self, pid: u32) -> Result<Ipv4Addr> {
        let (port, address) = self.next()?;
        self.namespace.ip(&[&format!("link add {port} type veth peer name eth0 netns {pid}")])?;
        self.attach(&port)?;
        let file = format!("/proc/{pid}/ns/net");
        let namespace = File::open(&file).context(file)?;
        let up = format!("address add {address}/24 dev eth0");
        within(&namespace, || ip(&[&up, "link set eth0 up"]))?;
        Ok(address)
    }

    /// Cuts the way to a host, or heals it. Packets on a way that is cut are lost without a trace.
    ///
    /// # Errors
    /// Fails if the host has no port on the bridge.
    pub fn set_way(&self, host: &Host, is_open: bool) -> Result<()> {
        let [.., number] = host.address.octets();
        let state = if is_open { "up" } else { "down" };
        self.namespace.ip(&[&format!("link set {} {state}", port(number))])
    }

    /// The bridge's port for the next host, and its address.
    fn next(&mut self) -> Result<(String, Ipv4Addr)> {
        self.hosts =
            self.hosts.checked_add(1).filter(|&n| n < 254).context("the network is full")?;
        Ok((port(self.hosts), Ipv4Addr::new(10, 88, 0, self.hosts)))
    }

    fn attach(&self, port: &str) -> Result<()> {
        self.namespace
            .ip(&[&format!("link set {port} master {BRIDGE}"), &format!("link set {port} up")])
    }
}

fn port(number: u8) -> String {
    format!("port{number}")
}
