//! The send queue of a TCP socket.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Bytes that are written to `socket` and that the peer has not acknowledged (`SIOCOUTQ`, tcp(7)).
///
/// # Errors
/// If `socket` is not a TCP socket, or listens.
pub(crate) fn unacknowledged_bytes(socket: &impl AsFd) -> Result<usize, Errno> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `socket` is borrowed, and SIOCOUTQ, which has the number of
    // TIOCOUTQ, writes one int.
    let done = unsafe {
        libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, std::ptr::from_mut(&mut bytes))
    };
    Errno::result(done)?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}
