//! Listening sockets that are passed to a program as systemd does it (sd_listen_fds(3)).

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::binary::{BINARY_VARIABLE, LOG_FORMAT, path_from};

/// Moves its standard input and output to the first descriptors that systemd passes, and becomes the program.
const SCRIPT: &str =
    "exec 3<&0 4>&1 </dev/null >/dev/null; export LISTEN_PID=${LISTEN_PID-$$}; exec \"$@\"";

/// `tcpstat serve` with two sockets, and the variables of systemd. More arguments and variables can follow.
///
/// # Errors
/// Fails if there is no binary.
pub fn tcpstat_with(tcp: TcpListener, unix: UnixListener) -> Result<Command> {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(path_from(BINARY_VARIABLE)?);
    command.args(["serve", "--web.systemd-socket"]);
    command.env(LOG_FORMAT.0, LOG_FORMAT.1);
    command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "metrics:local");
    command.stdin(Stdio::from(OwnedFd::from(tcp))).stdout(Stdio::from(OwnedFd::from(unix)));
    Ok(command)
}
