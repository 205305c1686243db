//! A network on which this process plays every host except the kernel.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::netns::Namespace;
use crate::segment::Segment;
use crate::silent_peer::Remote;
use crate::tcp::Family;
use crate::tun::Tun;

/// First of the ports remotes get, outside the kernel's own ephemeral ports.
const FIRST_PORT: u16 = 20_000;

/// A TUN device. Packets from the kernel that are not TCP are ignored.
#[derive(Debug)]
pub struct Wire {
    link: Arc<Link>,
    next_port: AtomicU16,
}

impl Wire {
    /// The kernel's IPv4 address on the wire.
    pub const KERNEL_IPV4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
    /// The kernel's IPv6 address on the wire.
    pub const KERNEL_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
    /// The remotes' IPv4 address.
    pub const REMOTE_IPV4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
    /// The remotes' IPv6 address.
    pub const REMOTE_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

    /// Creates the device in the namespace; each namespace can have one at a time.
    ///
    /// # Errors
    /// Fails if the kernel creates no TUN device.
    pub fn open(namespace: &Namespace) -> Result<Self> {
        let tun = Tun::create("tun0")?;
        namespace.ip(&[
            "link set tun0 addrgenmode none",
            &format!("address add {}/24 dev tun0", Self::KERNEL_IPV4),
            &format!("address add {}/64 dev tun0 nodad", Self::KERNEL_IPV6),
            "link set tun0 up",
        ])?;
        await_local_route(namespace)?;
        let link = Link { tun, inbox: Mutex::default() };
        Ok(Self { link: Arc::new(link), next_port: AtomicU16::new(FIRST_PORT) })
    }

    /// A new remote with a port of its own.
    #[must_use]
    pub fn remote(&self, family: Family) -> Remote {
        let ip: IpAddr = match family {
            Family::Ipv4 => Self::REMOTE_IPV4.into(),
            Family::Ipv6 => Self::REMOTE_IPV6.into(),
        };
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        Remote::new(Arc::clone(&self.link), (ip, port).into())
    }
}

/// The device, and the received segments that no remote has taken yet.
#[derive(Debug)]
pub(crate) struct Link {
    tun: Tun,
    inbox: Mutex<Vec<Segment>>,
}

impl Link {
    /// How long a wait lasts before it checks the segments that other threads have received.
    const SLICE: Duration = Duration::from_millis(20);

    pub(crate) fn send(&self, segment: &Segment) -> Result<()> {
        self.tun.send(&segment.to_packet()?)
    }

    /// The oldest segment that satisfies `wanted`; none if there is none within `timeout`.
    pub(crate) fn receive(
        &self,
        wanted: impl Fn(&Segment) -> bool,
        timeout: Duration,
    ) -> Result<Option<Segment>> {
        let end = Instant::now() + timeout;
        loop {
            while let Some(packet) = self.tun.receive(Duration::ZERO)? {
                self.inbox().extend(Segment::from_packet(&packet));
            }
            let mut inbox = self.inbox();
            if let Some(position) = inbox.iter().position(&wanted) {
                return Ok(Some(inbox.remove(position)));
            }
            drop(inbox);
            let remaining = end.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Ok(None);
            }
            if let Some(packet) = self.tun.receive(remaining.min(Self::SLICE))? {
                self.inbox().extend(Segment::from_packet(&packet));
            }
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Vec<Segment>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kernel adds the route to its own IPv6 address in a work queue. Before that, it can send packets from the
/// address and drops packets to it.
fn await_local_route(namespace: &Namespace) -> Result<()> {
    let destination = format!("{:032x} 80 ", Wire::KERNEL_IPV6.to_bits());
    let path = namespace.procfs_net("ipv6_route");
    wait_until("local IPv6 route", DEADLINE, || {
        let routes = fs::read_to_string(&path).context("the IPv6 routes")?;
        if routes.lines().any(|route| route.starts_with(&destination)) {
            return Ok(Progress::Done(()));
        }
        Ok(Progress::NotYet(routes))
    })
}
