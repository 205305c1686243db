//! Hosts on a network: namespaces joined by a bridge.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use nix::unistd::gettid;

use crate::netns::{Elsewhere, Namespace, elsewhere};

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
        self.hosts =
            self.hosts.checked_add(1).filter(|&n| n < 254).context("the network is full")?;
        let address = Ipv4Addr::new(10, 88, 0, self.hosts);
        let port = format!("port{}", self.hosts);
        let bridge_side = format!("peer name {port} netns {}", gettid());
        let inside = elsewhere(move |namespace| {
            namespace.ip(&[
                &format!("link add eth0 type veth {bridge_side}"),
                &format!("address add {address}/24 dev eth0"),
                "link set eth0 up",
            ])
        })?;
        self.namespace
            .ip(&[&format!("link set {port} master {BRIDGE}"), &format!("link set {port} up")])?;
        Ok(Host { inside, address })
    }
}
