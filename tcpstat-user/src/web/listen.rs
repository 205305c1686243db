//! Addresses to listen on, written as exporters take them.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    str::FromStr,
    time::Duration,
};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tokio::net::{TcpListener, lookup_host};
use tracing::info;

use super::taken::listening;

/// Connections that may wait to be accepted; `net.core.somaxconn` may allow less.
const BACKLOG: i32 = 4096;
/// A peer that is silent is asked after so long whether it is still there, and then as often.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
/// Questions without an answer after which it is not.
const PROBES: u32 = 3;
/// How long what was sent may stay unacknowledged, or the peer's window shut (`tcp_probe_timer`).
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// What the kernel takes to be sent later; what is on its way is not in it.
const UNSENT_BYTES: u32 = 64 * 1024;

/// `HOST:PORT`, or `:PORT` for every address of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// All addresses, IPv6 and IPv4 where the host has both.
    Every(u16),
    /// One address or host name, with a port.
    One(String),
}

/// Why an address does not serve.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Not of the form that it must have.
    #[error(
        "`{0}` is neither HOST:PORT nor :PORT (with an IPv6 address: [::1]:10048, [fe80::1%eth0]:10048)"
    )]
    Form(String),
    /// The interface of a link-local address is not there.
    #[error("--web.listen-address {address}: this host has no interface {interface}")]
    NoInterface {
        /// The address.
        address: ListenAddress,
        /// The name, or what is no number.
        interface: String,
    },
    /// Another socket listens there.
    #[error(
        "--web.listen-address {address}: {cause}: {}stop the process that listens there, or choose another port",
        if holders.is_empty() { String::new() } else { format!("{holders} is taken: ") }
    )]
    Taken {
        /// The address.
        address: ListenAddress,
        /// The addresses with this port that sockets listen on; empty where they are not known.
        holders: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The system says no.
    #[error("--web.listen-address {address}: {cause}{}", remedy(cause.kind()))]
    Refused {
        /// The address.
        address: ListenAddress,
        /// What it said.
        cause: io::Error,
    },
}

/// What to do about it, where that is known.
fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrNotAvailable => ": no interface of this host has that address",
        io::ErrorKind::PermissionDenied => ": a port below 1024 needs CAP_NET_BIND_SERVICE",
        io::ErrorKind::InvalidInput => {
            ": a link-local address needs its interface, as in [fe80::1%eth0]:10048; write an IPv4 address as such"
        }
        _ => "",
    }
}

impl ListenAddress {
    /// The port; 0 for any that is free.
    fn port(&self) -> u16 {
        match self {
            Self::Every(port) => *port,
            Self::One(address) => {
                address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
            }
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let malformed = || ListenError::Form(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let port: u16 = port.parse().map_err(|_| malformed())?;
        if host.is_empty() {
            return Ok(Self::Every(port));
        }
        if host.contains(':') && bracketed(host).is_none() {
            return Err(malformed());
        }
        Ok(Self::One(text.to_owned()))
    }
}

/// An IPv6 address in brackets, and the name or number of its interface where it has one.
fn bracketed(host: &str) -> Option<(Ipv6Addr, Option<&str>)> {
    let inner = host.strip_prefix('[')?.strip_suffix(']')?;
    let (address, interface) = match inner.split_once('%') {
        Some((_, "")) => return None,
        Some((address, interface)) => (address, Some(interface)),
        None => (inner, None),
    };
    Some((address.parse().ok()?, interface))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(port) => write!(f, ":{port}"),
            Self::One(address) => f.write_str(address),
        }
    }
}

/// Listens on `address`: on all addresses that it means, or on none. On a host without IPv6, every address
/// means every IPv4 address.
///
/// # Errors
/// [`ListenError`].
pub async fn bind(address: &ListenAddress) -> Result<Vec<TcpListener>, ListenError> {
    let refused = |cause: io::Error| {
        let (port, address) = (address.port(), address.clone());
        if cause.kind() != io::ErrorKind::AddrInUse {
            return ListenError::Refused { address, cause };
        }
        let holders: Vec<_> = listening(port).iter().map(ToString::to_string).collect();
        ListenError::Taken { address, holders: holders.join(" and "), cause }
    };
    match address {
        ListenAddress::Every(port) => Ok(vec![every(*port).map_err(refused)?]),
        ListenAddress::One(text) => each(&resolved(address, text).await?).map_err(refused),
    }
}

/// Both families by one socket.
fn every(port: u16) -> io::Result<TcpListener> {
    let any = |any: IpAddr| SocketAddr::from((any, port));
    match listen(any(Ipv6Addr::UNSPECIFIED.into()), Some(Only::BothFamilies)) {
        Err(cause) if lacks_family(&cause) => {
            info!("the kernel has no IPv6: port {port} is served over IPv4 only");
            listen(any(Ipv4Addr::UNSPECIFIED.into()), None)
        }
        bound => bound,
    }
}

/// Every address that a name stands for, but for those of a family that the host lacks.
fn each(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut lacking = None;
    for address in addresses {
        match listen(*address, address.is_ipv6().then_some(Only::Ipv6)) {
            Ok(listener) => listeners.push(listener),
            Err(cause) if addresses.len() > 1 && is_lacking(&cause) => lacking = Some(cause),
            Err(cause) => return Err(cause),
        }
    }
    match lacking {
        Some(cause) if listeners.is_empty() => Err(cause),
        _ => Ok(listeners),
    }
}

/// The socket addresses that `text` means, without doubles.
async fn resolved(address: &ListenAddress, text: &str) -> Result<Vec<SocketAddr>, ListenError> {
    let refused = |cause| ListenError::Refused { address: address.clone(), cause };
    let bracketed = text.rsplit_once(':').and_then(|(host, port)| Some((bracketed(host)?, port)));
    if let Some(((ip, interface), port)) = bracketed {
        let port = port.parse().map_err(|_| ListenError::Form(text.to_owned()))?;
        let scope = interface.map_or(Ok(0), |interface| scope(address, interface))?;
        return Ok(vec![SocketAddrV6::new(ip, port, 0, scope).into()]);
    }
    let mut all = Vec::new();
    for found in lookup_host(text).await.map_err(refused)? {
        if !all.contains(&found) {
            all.push(found);
        }
    }
    Ok(all)
}

/// The number of an interface that is given by name or by number.
fn scope(address: &ListenAddress, interface: &str) -> Result<u32, ListenError> {
    let named = if_nametoindex(interface).ok();
    named.or_else(|| interface.parse().ok()).ok_or_else(|| ListenError::NoInterface {
        address: address.clone(),
        interface: interface.to_owned(),
    })
}

/// What an IPv6 socket serves; never what a sysctl says (`net.ipv6.bindv6only`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    BothFamilies,
    Ipv6,
}

fn listen(address: SocketAddr, only: Option<Only>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(only) = only {
        socket.set_only_v6(only == Only::Ipv6)?;
    }
    // Connections of the last run that are in TIME_WAIT keep no address.
    socket.set_reuse_address(true)?;
    for_accepted(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What accepted connections inherit (`sk_clone_lock`): a peer that has vanished, or that takes nothing, is
/// given up, and little waits in the kernel to be sent.
fn for_accepted(socket: &Socket) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(PROBE_INTERVAL).with_interval(PROBE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(PROBES))?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    socket.set_tcp_nodelay(true)
}

/// Whether the kernel has no such family.
fn lacks_family(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Whether the host has no such address, for want of the family or of an interface that has it.
fn is_lacking(cause: &io::Error) -> bool {
    lacks_family(cause) || cause.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_exporters_write_them() {
        assert_eq!(":10048".parse::<ListenAddress>().unwrap(), ListenAddress::Every(10048));
        for address in
            ["127.0.0.1:10048", "[::1]:0", "localhost:9100", "[fe80::1%lo]:0", "[fe80::1%1]:0"]
        {
            assert_eq!(
                address.parse::<ListenAddress>().unwrap(),
                ListenAddress::One(address.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_form_it_must_have() {
        for address in [
            "",
            "10048",
            "127.0.0.1",
            "::1:10048",
            "127.0.0.1:port",
            ":70000",
            "[fe80::1%]:1",
            "[fe80::1",
            "[::1]x:1",
        ] {
            let error = address.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{address}: {error}");
        }
    }
}
