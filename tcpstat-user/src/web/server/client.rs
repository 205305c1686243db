//! What counts as one client.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::web) enum Client {
    /// An IPv4 address, or the /64 of an IPv6 address: a host usually has all addresses of its /64.
    Address(IpAddr),
    /// The user of the process that connected to a Unix socket.
    User(u32),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Ipv6Addr::from_bits(network).into()
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address @ IpAddr::V4(_)) => write!(f, "{address}"),
            Self::Address(network @ IpAddr::V6(_)) => write!(f, "{network}/64"),
            Self::User(id) => write!(f, "user {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Client {
        Client::from(address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn an_ipv6_network_of_64_bits_and_an_ipv4_address_are_one_client_each() {
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_ne!(client("127.0.0.1"), client("127.0.0.2"));
    }

    #[test]
    fn a_client_is_shown_as_what_counts() {
        assert_eq!(client("::ffff:10.0.0.7").to_string(), "10.0.0.7");
        assert_eq!(client("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(Client::User(1000).to_string(), "user 1000");
    }

    #[test]
    fn an_ipv4_client_of_a_dual_stack_socket_is_its_ipv4_address() {
        assert_eq!(client("::ffff:127.0.0.1"), client("127.0.0.1"));
        assert_ne!(client("::ffff:127.0.0.1"), client("::ffff:127.0.0.2"));
    }
}
