//! The file of a Unix socket: made with a mode, and removed when nothing listens on it any more.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::{
    fcntl::AT_FDCWD,
    sys::stat::{FchmodatFlags, Mode, fchmodat},
};
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;
use tracing::{info, warn};

/// The kernel's `sun_path` without the zero at the end.
pub(super) const MAX_PATH_BYTES: usize = 107;

/// Owner and group may connect.
const MODE: Mode = Mode::from_bits_truncate(0o660);

#[derive(Debug, Error)]
pub(crate) enum UnixSocketError {
    #[error("another process serves this socket: stop it, or choose another path")]
    Served,
    #[error("the file exists and is not a socket: remove it, or choose another path")]
    NotASocket,
    #[error("a socket exists, and whether a process serves it is not known: {0}")]
    Unknown(io::Error),
    #[error("{}{}", .0, remedy(.0))]
    Refused(#[from] io::Error),
}

/// Empty if none is known.
fn remedy(cause: &io::Error) -> &'static str {
    if cause.raw_os_error() == Some(libc::EAFNOSUPPORT) {
        return ": the systemd unit needs RestrictAddressFamilies=AF_UNIX in a drop-in";
    }
    match cause.kind() {
        io::ErrorKind::NotFound => {
            ": make its directory first (RuntimeDirectory= of a systemd unit)"
        }
        io::ErrorKind::PermissionDenied => {
            ": tcpstat must be allowed to write in its directory (RuntimeDirectory= of a systemd unit)"
        }
        _ => "",
    }
}

/// Removes the file when it is dropped, unless the path leads to another file by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode, and time of birth where the file system knows it: an inode's number can be given again.
type Identity = (u64, u64, Option<SystemTime>);

/// Listens on a new file at `path`. A socket that is there and that no process serves is removed first.
pub(super) fn bind(path: &Path, backlog: i32) -> Result<(Socket, SocketFile), UnixSocketError> {
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address).map_err(|cause| match cause.kind() {
        io::ErrorKind::AddrInUse => UnixSocketError::Served,
        _ => cause.into(),
    })?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    // Before anybody can connect. The umask has taken bits away from the mode.
    fchmodat(AT_FDCWD, path, MODE, FchmodatFlags::NoFollowSymlink).map_err(io::Error::from)?;
    socket.listen(backlog)?;
    Ok((socket, file))
}

/// Removes what a process that was killed has left.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), UnixSocketError> {
    let found = match fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(UnixSocketError::NotASocket);
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full backlog is an answer too.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {}
        Ok(()) => return Err(UnixSocketError::Served),
        Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
            return Err(UnixSocketError::Served);
        }
        Err(cause) => return Err(UnixSocketError::Unknown(cause)),
    }
    if identity(path)? != identity_of(&found) {
        return Err(UnixSocketError::Served);
    }
    fs::remove_file(path)?;
    info!("{}: removed a socket that no process served", path.display());
    Ok(())
}

fn identity(path: &Path) -> io::Result<Identity> {
    Ok(identity_of(&fs::symlink_metadata(path)?))
}

fn identity_of(found: &Metadata) -> Identity {
    (found.dev(), found.ino(), found.created().ok())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let own = identity(&self.path).is_ok_and(|identity| identity == self.identity);
        if own && let Err(cause) = fs::remove_file(&self.path) {
            warn!("the socket {} stays: {cause}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_socket_has_its_mode_and_is_removed_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let bound = bind(&path, 1).unwrap();
        assert_eq!(mode(&path), 0o660);
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_served_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (socket, file) = bind(&path, 1).unwrap();
        let error = bind(&path, 1).unwrap_err();
        assert!(matches!(error, UnixSocketError::Served), "{error:?}");
        assert!(path.exists());
        // As after a kill: nobody listens, and the file stays.
        drop(socket);
        let (_socket, second) = bind(&path, 1).unwrap();
        // The first file is gone; what is there now stays.
        drop(file);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_full_backlog_means_that_the_socket_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (_socket, _file) = bind(&path, 0).unwrap();
        let address = SockAddr::unix(&path).unwrap();
        let mut waiting = Vec::new();
        loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            match client.connect(&address) {
                Ok(()) => waiting.push(client),
                Err(cause) => break assert_eq!(cause.kind(), io::ErrorKind::WouldBlock),
            }
        }
        let error = bind(&path, 1).unwrap_err();
        assert!(matches!(error, UnixSocketError::Served), "{error:?}");
    }

    #[test]
    fn another_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        let error = bind(&path, 1).unwrap_err();
        assert!(matches!(error, UnixSocketError::NotASocket), "{error:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        let error = bind(&folder.path().join("none/socket"), 1).unwrap_err().to_string();
        assert!(error.contains("make its directory first"), "{error}");
    }
}
