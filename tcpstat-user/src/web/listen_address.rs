//! Addresses to listen on: their form, and the errors for those that do not work.

use std::{
    fmt, io,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use thiserror::Error;

use super::unix_socket::{MAX_PATH_BYTES, UnixSocketError};
use crate::{
    text::{self, plain},
    unix_path,
};

/// `HOST:PORT`, `:PORT` for all addresses of the host, or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// All addresses, of IPv6 and IPv4 if the host has both.
    Every(u16),
    /// One address or host name, with a port.
    One(String),
    /// The file of a Unix socket.
    Unix(PathBuf),
}

#[derive(Debug, Error)]
pub(crate) enum ListenError {
    #[error(
        "`{0}` is neither HOST:PORT nor :PORT (with an IPv6 address: [::1]:10048, [fe80::1%eth0]:10048) nor \
         unix:/PATH"
    )]
    Form(String),
    #[error("{0} bytes: the path of a Unix socket has at most {MAX_PATH_BYTES}")]
    LongPath(usize),
    #[error("vsock is not supported: write HOST:PORT, :PORT, or unix:/PATH")]
    Vsock,
    #[error("--web.listen-address {address}: {cause}")]
    Unix { address: ListenAddress, cause: UnixSocketError },
    #[error("--web.listen-address {address}: this host has no interface {interface}")]
    NoInterface { address: ListenAddress, interface: String },
    #[error(
        "--web.listen-address {address}: {cause}: {}stop the process that listens there, or choose another port",
        if holders.is_empty() { String::new() } else { format!("a socket listens on {holders}: ") }
    )]
    InUse {
        address: ListenAddress,
        /// The addresses with this port that sockets listen on; empty if they are not known.
        holders: String,
        cause: io::Error,
    },
    #[error(
        "--web.listen-address {address}: the address of this host name is not found: {cause}: use a name that this host resolves \
         (`getent hosts NAME`), an IP address, or :PORT for all addresses"
    )]
    Unresolved { address: ListenAddress, cause: io::Error },
    #[error("--web.listen-address {address}: {cause}{}", remedy(cause.kind()))]
    Refused { address: ListenAddress, cause: io::Error },
}

/// Empty if none is known.
fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrNotAvailable => {
            ": no interface of this host has that address: use one of `ip address`, or :PORT for all addresses"
        }
        io::ErrorKind::PermissionDenied => ": a port below 1024 needs CAP_NET_BIND_SERVICE",
        io::ErrorKind::InvalidInput => {
            ": a link-local address needs its interface, as in [fe80::1%eth0]:10048; write an IPv4 address as such"
        }
        _ => "",
    }
}

impl ListenAddress {
    /// 0 means any free port, or none.
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Unix(_) => 0,
            Self::Every(port) => *port,
            Self::One(address) => {
                address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
            }
        }
    }
}

impl ListenAddress {
    /// Whether the system is asked about it: it has the name of a host, or an interface.
    pub(crate) fn has_name(&self) -> bool {
        let is_name =
            |address: &str| address.contains('%') || address.parse::<SocketAddr>().is_err();
        matches!(self, Self::One(address) if is_name(address))
    }
}

impl FromStr for ListenAddress {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let malformed = || ListenError::Form(text.to_owned());
        if text.starts_with("vsock:") {
            return Err(ListenError::Vsock);
        }
        if let Some(path) = unix_path::of(text) {
            let length = path.as_os_str().len();
            return match path.is_absolute() {
                false => Err(malformed()),
                true if length > MAX_PATH_BYTES => Err(ListenError::LongPath(length)),
                true => Ok(Self::Unix(path.to_owned())),
            };
        }
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

/// An IPv6 address in brackets, and the name or number of its interface if it has one.
pub(super) fn bracketed(host: &str) -> Option<(Ipv6Addr, Option<&str>)> {
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
            Self::Unix(path) => {
                write!(f, "unix:{}", plain(&path.to_string_lossy(), text::VALUE))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_and_a_port_alone_are_accepted() {
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
    fn the_path_of_a_unix_socket_is_absolute_and_fits_into_an_address() {
        let unix = |path: &str| ListenAddress::Unix(path.into());
        for text in ["unix:/run/tcpstat.sock", "unix:///run/tcpstat.sock", "/run/tcpstat.sock"] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address, unix("/run/tcpstat.sock"));
            assert_eq!(address.to_string(), "unix:/run/tcpstat.sock");
        }
        assert_eq!("/run/a:80".parse::<ListenAddress>().unwrap(), unix("/run/a:80"));
        let longest = format!("/{}", "x".repeat(MAX_PATH_BYTES - 1));
        assert_eq!(longest.parse::<ListenAddress>().unwrap(), unix(&longest));
        let error = format!("{longest}x").parse::<ListenAddress>().unwrap_err().to_string();
        assert!(error.contains("at most 107"), "{error}");
        for text in ["unix:", "unix://", "unix:tcpstat.sock", "unix:@tcpstat", "unix://run/a"] {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains("unix:/PATH"), "{text}: {error}");
        }
        assert!(matches!("vsock://:9100".parse::<ListenAddress>(), Err(ListenError::Vsock)));
    }

    #[test]
    fn the_system_is_asked_about_names_and_interfaces_only() {
        let has_name = |text: &str| text.parse::<ListenAddress>().unwrap().has_name();
        assert!([":1", "127.0.0.1:1", "[::1]:1"].iter().all(|text| !has_name(text)));
        assert!(
            ["localhost:1", "[fe80::1%lo]:1", "[fe80::1%1]:1"].iter().all(|text| has_name(text))
        );
    }

    #[test]
    fn an_invalid_address_is_refused_with_the_valid_form() {
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
