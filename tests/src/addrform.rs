//! The only way in which a socket changes its family without a transition.

use std::net::TcpStream;

use anyhow::{Context, Result};
use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// The option's value is the new family, which must be `AF_INET`.
    AddrForm,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_ADDRFORM,
    i32
);

/// Turns a connected AF_INET6 socket that uses IPv4 into an AF_INET one (ipv6(7)). No state changes,
/// so no tracepoint shows it.
///
/// # Errors
/// Fails if the kernel refuses it.
pub fn become_ipv4(stream: &TcpStream) -> Result<()> {
    setsockopt(stream, AddrForm, &libc::AF_INET).context("IPV6_ADDRFORM")
}
