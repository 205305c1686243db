//! Listening sockets, and the options that accepted connections inherit.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, lookup_host};
use tracing::info;

use super::{
    listen_address::{ListenAddress, ListenError, bracketed},
    listener::Listener,
    port_holders::listening_on,
    unix_socket,
};

/// Maximum number of connections that wait to be accepted; `net.core.somaxconn` may be lower.
const BACKLOG: i32 = 4096;
/// A silent peer is probed after this time, and then at the same interval.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
/// Probes without an answer after which the connection ends.
const PROBES: u32 = 3;
/// How long sent data may stay unacknowledged, or the peer's window closed (`tcp_probe_timer`).
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of bytes that the kernel queues without having sent them.
pub(super) const UNSENT_BYTES: u32 = 64 * 1024;

/// Listens on all socket addresses that `address` stands for, or on none. On a host without IPv6,
/// [`ListenAddress::Every`] stands for all IPv4 addresses.
pub(crate) async fn bind(address: &ListenAddress) -> Result<Vec<Listener>, ListenError> {
    let refused = |cause: io::Error| {
        let (port, address) = (address.port(), address.clone());
        if cause.kind() != io::ErrorKind::AddrInUse {
            return ListenError::Refused { address, cause };
        }
        let holders: Vec<_> = listening_on(port).iter().map(ToString::to_string).collect();
        ListenError::InUse { address, holders: holders.join(" and "), cause }
    };
    let tcp = match address {
        ListenAddress::Every(port) => vec![every(*port).map_err(refused)?],
        ListenAddress::One(text) => each(&resolved(address, text).await?).map_err(refused)?,
        ListenAddress::Unix(path) => {
            let (socket, file) = unix_socket::bind(path, BACKLOG)
                .map_err(|cause| ListenError::Unix { address: address.clone(), cause })?;
            return Ok(vec![Listener::unix(socket.into(), Some(file)).map_err(refused)?]);
        }
    };
    Ok(tcp.into_iter().map(Listener::Tcp).collect())
}

/// One socket for both families.
fn every(port: u16) -> io::Result<TcpListener> {
    let any = |any: IpAddr| SocketAddr::from((any, port));
    match listen(any(Ipv6Addr::UNSPECIFIED.into()), Some(Families::Both)) {
        Err(cause) if lacks_family(&cause) => {
            info!("the kernel has no IPv6: port {port} is served over IPv4 only");
            listen(any(Ipv4Addr::UNSPECIFIED.into()), None)
        }
        bound => bound,
    }
}

/// If a name has several addresses, those that the host lacks are left out.
fn each(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut lacking = None;
    for address in addresses {
        match listen(*address, address.is_ipv6().then_some(Families::Ipv6Only)) {
            Ok(listener) => listeners.push(listener),
            Err(cause) if addresses.len() > 1 && lacks_address(&cause) => lacking = Some(cause),
            Err(cause) => return Err(cause),
        }
    }
    match lacking {
        Some(cause) if listeners.is_empty() => Err(cause),
        _ => Ok(listeners),
    }
}

/// The socket addresses that `text` stands for, each once.
async fn resolved(address: &ListenAddress, text: &str) -> Result<Vec<SocketAddr>, ListenError> {
    let unresolved = |cause| ListenError::Unresolved { address: address.clone(), cause };
    let bracketed = text.rsplit_once(':').and_then(|(host, port)| Some((bracketed(host)?, port)));
    if let Some(((ip, interface), port)) = bracketed {
        let port = port.parse().map_err(|_| ListenError::Form(text.to_owned()))?;
        let scope = interface.map_or(Ok(0), |interface| scope(address, interface))?;
        return Ok(vec![SocketAddrV6::new(ip, port, 0, scope).into()]);
    }
    let mut all = Vec::new();
    for found in lookup_host(text).await.map_err(unresolved)? {
        if !all.contains(&found) {
            all.push(found);
        }
    }
    Ok(all)
}

/// The number of an interface, from its name or its number.
fn scope(address: &ListenAddress, interface: &str) -> Result<u32, ListenError> {
    let named = if_nametoindex(interface).ok();
    named.or_else(|| interface.parse().ok()).ok_or_else(|| ListenError::NoInterface {
        address: address.clone(),
        interface: interface.to_owned(),
    })
}

/// The families that an IPv6 socket serves, whatever `net.ipv6.bindv6only` is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Families {
    Both,
    Ipv6Only,
}

fn listen(address: SocketAddr, families: Option<Families>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(families) = families {
        socket.set_only_v6(families == Families::Ipv6Only)?;
    }
    // Without it, connections of the previous run in TIME_WAIT keep the address in use.
    socket.set_reuse_address(true)?;
    set_inherited_options(&SockRef::from(&socket))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Sets the options that accepted connections inherit (`sk_clone_lock`): a connection whose peer vanishes or
/// reads nothing ends, and the kernel queues few bytes for it.
pub(super) fn set_inherited_options(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(PROBE_INTERVAL).with_interval(PROBE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(PROBES))?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    socket.set_tcp_nodelay(true)
}

fn lacks_family(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Whether the host lacks the family, or an interface with the address.
fn lacks_address(cause: &io::Error) -> bool {
    lacks_family(cause) || cause.kind() == io::ErrorKind::AddrNotAvailable
}
