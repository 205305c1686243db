//! Listening sockets that systemd passes (sd_listen_fds(3)).

use std::{env, ffi::OsString, io, net::TcpListener as StdTcpListener, process};

use listenfd::ListenFd;
use socket2::SockRef;
use thiserror::Error;
use tokio::net::TcpListener;

use super::{listen::set_inherited_options, listener::Listener};
use crate::text::{self, plain};

/// The first descriptor that systemd passes.
const FIRST: usize = 3;

/// Maximum number of sockets.
const MAX_SOCKETS: usize = 64;

/// The sockets of the environment, not yet checked.
pub(crate) struct PassedSockets {
    sockets: ListenFd,
    /// By the order of the sockets: `FileDescriptorName=` of the .socket unit.
    names: Vec<String>,
}

#[derive(Debug, Error)]
pub(crate) enum PassedError {
    #[error(
        "--web.systemd-socket: systemd has passed no socket ({variable} is not set): start tcpstat by a .socket unit, \
         or leave the flag out"
    )]
    None { variable: &'static str },
    #[error(
        "--web.systemd-socket: {variable} is {}, which is not a number from 1 to {max}",
        plain(.value, text::VALUE)
    )]
    Invalid { variable: &'static str, value: String, max: u32 },
    #[error(
        "--web.systemd-socket: the sockets are for process {pid} (LISTEN_PID), and this is process {own}: start \
         tcpstat without a program between it and systemd"
    )]
    OtherProcess { pid: u32, own: u32 },
    #[error(
        "--web.systemd-socket: descriptor {number} ({}) does not listen for streams of IP or Unix sockets: use \
         ListenStream= and Accept=no in the .socket unit",
        plain(.name, text::VALUE)
    )]
    NotListening { number: usize, name: String },
    #[error("--web.systemd-socket: descriptor {number}: {cause}")]
    Unusable { number: usize, cause: io::Error },
}

impl PassedSockets {
    /// Takes the sockets from the environment, which changes: before other threads read it.
    ///
    /// # Errors
    /// If the variables are not set, not for this process, or make no sense.
    pub(crate) fn take() -> Result<Self, PassedError> {
        let pid = number("LISTEN_PID", u32::MAX)?;
        let own = process::id();
        if pid != own {
            return Err(PassedError::OtherProcess { pid, own });
        }
        let max = u32::try_from(MAX_SOCKETS).unwrap_or(u32::MAX);
        number("LISTEN_FDS", max)?;
        let names = env::var_os("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.to_string_lossy().split(':').map(str::to_owned).collect();
        Ok(Self { sockets: ListenFd::from_env(), names })
    }

    /// The listeners, at least one.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub(crate) fn listeners(mut self) -> Result<Vec<Listener>, PassedError> {
        (0..self.sockets.len()).map(|index| self.listener(index)).collect()
    }

    fn listener(&mut self, index: usize) -> Result<Listener, PassedError> {
        let number = FIRST + index;
        let unusable = |cause| PassedError::Unusable { number, cause };
        if let Ok(Some(socket)) = self.sockets.take_tcp_listener(index) {
            self.check(index, &SockRef::from(&socket))?;
            return tcp(socket).map_err(unusable);
        }
        if let Ok(Some(socket)) = self.sockets.take_unix_listener(index) {
            self.check(index, &SockRef::from(&socket))?;
            return Listener::unix(socket, None).map_err(unusable);
        }
        Err(self.not_listening(index))
    }

    fn check(&self, index: usize, socket: &SockRef<'_>) -> Result<(), PassedError> {
        if socket.is_listener().unwrap_or(false) { Ok(()) } else { Err(self.not_listening(index)) }
    }

    fn not_listening(&self, index: usize) -> PassedError {
        let name = self.names.get(index).filter(|name| !name.is_empty());
        let name = name.cloned().unwrap_or_else(|| "no name".to_owned());
        PassedError::NotListening { number: FIRST + index, name }
    }
}

/// systemd sets only the options that the .socket unit names.
fn tcp(socket: StdTcpListener) -> io::Result<Listener> {
    set_inherited_options(&SockRef::from(&socket))?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Tcp(TcpListener::from_std(socket)?))
}

/// The value of `variable`, from 1 to `max`.
fn number(variable: &'static str, max: u32) -> Result<u32, PassedError> {
    let value: OsString = env::var_os(variable)
        .filter(|value| !value.is_empty())
        .ok_or(PassedError::None { variable })?;
    let value = value.to_string_lossy();
    let number = value.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| PassedError::Invalid { variable, value: value.into_owned(), max })
}
