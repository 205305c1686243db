//! Clients of a Unix socket: each user is one client, with the bounds of an address.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tcpstat_tests::binary::output;
use tcpstat_tests::exporter::{Exporter, Options};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::memory::resident_bytes;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::unprivileged::{NO_CAPABILITIES, as_nobody};

use crate::attacks::{RESIDENT_BYTES, sockets};

/// More than the exporter keeps.
const CONNECTIONS: usize = 600;

const MAX_CONNECTIONS: usize = 256;

const STREAM: &[u8] = b"GET /api/v1/stream HTTP/1.1\r\nHost: tcpstat\r\n\r\n";
const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\n\r\n";

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        connections_and_unread_answers_over_a_unix_socket_are_bounded,
        streams_over_a_unix_socket_are_bounded_for_each_user
    ]
}

/// An exporter that listens on `path` too, for every user.
fn exporter(path: &Path) -> Result<Exporter> {
    let listen = format!("--web.listen-address=unix:{}", path.display());
    let exporter = Options::default().args([listen]).start()?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(exporter)
}

/// The status of `path` for a user who is not the one of this test.
fn status_for_nobody(socket: &Path, path: &str) -> Result<String> {
    let mut curl = as_nobody(NO_CAPABILITIES);
    curl.args([
        "curl",
        "--silent",
        "--max-time",
        "60",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    ]);
    curl.arg("--unix-socket").arg(socket).arg(format!("http://localhost{path}"));
    Ok(output(&mut curl)?.stdout)
}

fn folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn connections_and_unread_answers_over_a_unix_socket_are_bounded(_: &Namespace) -> Result<()> {
    let folder = folder()?;
    let path = folder.path().join("socket");
    let mut exporter = exporter(&path)?;
    let before = sockets(exporter.pid())?;
    let mut held = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = UnixStream::connect(&path)?;
        stream.set_write_timeout(Some(Duration::from_millis(20)))?;
        // Half of them ask, and read nothing; a closed connection is an error.
        if number % 2 == 0 {
            let _ = stream.write_all(&METRICS.repeat(20));
        }
        held.push(stream);
    }
    assert_eq!(status_for_nobody(&path, "/metrics")?, "200");
    exporter.scrape()?;
    let now = sockets(exporter.pid())?;
    ensure!(now <= before + MAX_CONNECTIONS, "{now} sockets, {before} before");
    let resident = resident_bytes(exporter.pid())?;
    ensure!(resident < RESIDENT_BYTES, "{resident} bytes are resident");
    Ok(())
}

fn streams_over_a_unix_socket_are_bounded_for_each_user(_: &Namespace) -> Result<()> {
    let folder = folder()?;
    let path = folder.path().join("socket");
    let _exporter = exporter(&path)?;
    let open = || -> Result<(UnixStream, String)> {
        let mut stream = UnixStream::connect(&path)?;
        stream.write_all(STREAM)?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok((stream, String::from_utf8_lossy(&status).into_owned()))
    };
    let held = (0..8).map(|_| open()).collect::<Result<Vec<_>>>()?;
    for (_, status) in &held {
        assert_eq!(status, "HTTP/1.1 200");
    }
    assert_eq!(open()?.1, "HTTP/1.1 503");
    // Another user has as many.
    let mut curl = as_nobody(NO_CAPABILITIES);
    curl.args(["curl", "--silent", "--max-time", "3", "--include", "--unix-socket"]).arg(&path);
    let run = output(curl.arg("http://localhost/api/v1/stream"))?;
    ensure!(run.stdout.starts_with("HTTP/1.1 200"), "{run:?}");
    Ok(())
}
