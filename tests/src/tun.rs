//! A TUN device: IP packets that the kernel routes to it are read from a file, and packets written to the file are
//! received by the kernel.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::libc::{self, c_char, c_int, c_short};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const DEVICE: &str = "/dev/net/tun";

/// More than the device's MTU of 1500.
const LONGEST_PACKET: usize = 2048;

nix::ioctl_readwrite_bad!(
    /// `TUNSETIFF` is encoded as taking an `int`, yet takes a `struct ifreq`.
    tun_set_iff,
    nix::request_code_write!(b'T', 202, size_of::<c_int>()),
    libc::ifreq
);

/// The user end of a TUN device. The kernel removes the device when this is dropped.
#[derive(Debug)]
pub struct Tun {
    file: File,
}

impl Tun {
    /// Creates the device in the network namespace of the calling thread; it is still down.
    ///
    /// # Errors
    /// Fails without `CAP_NET_ADMIN` or `/dev/net/tun`, and when the name is taken or too long.
    pub fn create(name: &str) -> Result<Self> {
        ensure!(name.len() < libc::IFNAMSIZ, "{name}: longer than an interface name may be");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(DEVICE)
            .context(DEVICE)?;
        let flags = libc::IFF_TUN | libc::IFF_NO_PI;
        let mut request = libc::ifreq {
            ifr_name: [0; libc::IFNAMSIZ],
            ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: c_short::try_from(flags)? },
        };
        for (target, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *target = c_char::try_from(byte)?;
        }
        // SAFETY: the descriptor is open, and `request` is a whole `struct ifreq` with a
        // terminated name that outlives the call.
        #[expect(unsafe_code, reason = "an ioctl")]
        unsafe { tun_set_iff(file.as_raw_fd(), &raw mut request) }
            .with_context(|| format!("TUNSETIFF {name}"))?;
        Ok(Self { file })
    }

    /// The next packet from the kernel; `None` if there is none within `timeout`.
    ///
    /// # Errors
    /// Fails when the device is down.
    pub fn receive(&self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        let mut packet = vec![0; LONGEST_PACKET];
        let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::try_from(timeout)?)? == 0 {
            return Ok(None);
        }
        match (&self.file).read(&mut packet) {
            Ok(length) => {
                packet.truncate(length);
                Ok(Some(packet))
            }
            // Another thread has read it.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("read from the TUN device"),
        }
    }

    /// Whether the kernel has removed the device, as it does at the end of the namespace that the device is in.
    ///
    /// # Errors
    /// Fails if the kernel refuses the question.
    pub fn is_removed(&self) -> Result<bool> {
        let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::empty())];
        poll(&mut ready, PollTimeout::ZERO)?;
        Ok(ready[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)))
    }

    /// Sends a packet to the kernel, as if from a network.
    ///
    /// # Errors
    /// Fails when the device is down.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        (&self.file).write_all(packet).context("write to the TUN device")
    }
}
