//! Addresses to listen on, written as exporters take them.

use std::{fmt, io, net::SocketAddr, str::FromStr};

use thiserror::Error;
use tokio::net::TcpListener;

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
    #[error("`{0}` is neither HOST:PORT nor :PORT (with an IPv6 address: [::1]:10048)")]
    Form(String),
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
        io::ErrorKind::AddrInUse => ": end what listens there, or choose another",
        io::ErrorKind::AddrNotAvailable => ": no interface of this host has that address",
        io::ErrorKind::PermissionDenied => ": a port below 1024 takes CAP_NET_BIND_SERVICE",
        _ => "",
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
        if host.contains(':') && text.parse::<SocketAddr>().is_err() {
            return Err(malformed());
        }
        Ok(Self::One(text.to_owned()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(port) => write!(f, ":{port}"),
            Self::One(address) => f.write_str(address),
        }
    }
}

/// Binds `address`. On a host without IPv6 every address means every IPv4 address.
///
/// # Errors
/// [`ListenError::Refused`].
pub async fn bind(address: &ListenAddress) -> Result<TcpListener, ListenError> {
    let bound = match address {
        ListenAddress::Every(port) => match TcpListener::bind(("::", *port)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind(("0.0.0.0", *port)).await,
        },
        ListenAddress::One(address) => TcpListener::bind(address).await,
    };
    bound.map_err(|cause| ListenError::Refused { address: address.clone(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_exporters_write_them() {
        assert_eq!(":10048".parse::<ListenAddress>().unwrap(), ListenAddress::Every(10048));
        for address in ["127.0.0.1:10048", "[::1]:0", "localhost:9100"] {
            assert_eq!(
                address.parse::<ListenAddress>().unwrap(),
                ListenAddress::One(address.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_form_it_must_have() {
        for address in ["", "10048", "127.0.0.1", "::1:10048", "127.0.0.1:port", ":70000"] {
            let error = address.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{address}: {error}");
        }
    }
}
