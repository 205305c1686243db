//! Unix sockets, and sockets that systemd passes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::curl::{Answer, Curl};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tcpstat_tests::passed_sockets::tcpstat_with;
use tcpstat_tests::web_config::{self, TLS, USER};

use crate::web::anywhere;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        a_unix_socket_is_served_and_removed_at_the_end,
        a_socket_of_a_killed_exporter_is_replaced,
        a_path_that_cannot_be_served_is_an_error_in_one_line,
        a_unix_socket_has_the_locks_of_the_web_config,
        sockets_of_systemd_are_served_and_stay,
        a_wrong_environment_of_systemd_is_one_clear_error
    ]
}

/// An exporter that also listens on `path`.
fn exporter(path: &Path, more: &[&str]) -> Result<Exporter> {
    let listen = format!("--web.listen-address=unix:{}", path.display());
    anywhere("debian-6.1")?.args([listen]).args(more).start_locked()
}

fn curl(socket: &Path) -> Curl {
    Curl::default().args(["--unix-socket".into(), socket.as_os_str().to_owned()])
}

fn status(socket: &Path, url: &str) -> Result<u16> {
    Ok(curl(socket).get(url)?.status)
}

fn a_unix_socket_is_served_and_removed_at_the_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tcpstat.sock");
    let exporter = exporter(&path, &[])?;
    let found = fs::metadata(&path)?;
    ensure!(found.file_type().is_socket(), "{found:?}");
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    exporter.wait_log(&format!("listening on unix:{} (http)", path.display()))?;
    let answer = curl(&path).get("http://localhost/metrics")?;
    ensure!(answer.status == 200 && answer.text.contains("tcpstat_connections{"), "{answer:?}");
    assert_eq!(status(&path, "http://any.name/api/v1/status")?, 200);
    assert_eq!(exporter.stop()?.code(), Some(0));
    ensure!(!path.exists(), "the socket is still there");
    Ok(())
}

fn a_socket_of_a_killed_exporter_is_replaced() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tcpstat.sock");
    let mut killed = exporter(&path, &[])?;
    killed.signal(Signal::SIGKILL)?;
    killed.wait_end()?;
    ensure!(path.exists());
    let second = exporter(&path, &[])?;
    second.wait_log("removed a socket that no process served")?;
    assert_eq!(status(&path, "http://localhost/-/healthy")?, 200);
    Ok(())
}

fn a_path_that_cannot_be_served_is_an_error_in_one_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [file, served, packets, none] =
        ["file", "served", "packets", "none/socket"].map(|name| folder.path().join(name));
    fs::write(&file, "text")?;
    let _served = UnixListener::bind(&served)?;
    let _packets = UnixDatagram::bind(&packets)?;
    for (path, words) in [
        (&file, "is not a socket: remove it, or choose another path"),
        (&served, "another process serves this socket: stop it"),
        (&packets, "whether a process serves it is not known: Protocol wrong type"),
        (&none, "make its directory first"),
    ] {
        let address = format!("unix:{}", path.display());
        let run = tcpstat(["serve", "--tracer=off", "--web.listen-address", &address])?;
        assert_eq!(run.status, Some(1), "{run:?}");
        let begins = format!("tcpstat: --web.listen-address {address}: ");
        ensure!(run.stderr.starts_with(&begins) && run.stderr.contains(words), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    }
    assert_eq!(fs::read_to_string(&file)?, "text");
    ensure!(served.exists() && packets.exists());
    Ok(())
}

fn a_unix_socket_has_the_locks_of_the_web_config() -> Result<()> {
    let authority = web_config::authority()?;
    let file = web_config::write(&authority, &format!("{TLS}{USER}"))?;
    let path = authority.path("tcpstat.sock");
    let exporter = exporter(&path, &[&format!("--web.config.file={}", file.display())])?;
    exporter.wait_log(&format!("listening on unix:{} (https)", path.display()))?;
    let known = curl(&path).authority(&authority.path("ca.crt"));
    let ask = |curl: &Curl| -> Result<Answer> { curl.get("https://localhost/metrics") };
    assert_eq!(ask(&known)?.status, 401);
    assert_eq!(ask(&known.user("alice", "secret"))?.status, 200);
    let plain = curl(&path).get("http://localhost/metrics")?;
    ensure!(plain.status == 400 && plain.text.contains("use https://"), "{plain:?}");
    Ok(())
}

fn sockets_of_systemd_are_served_and_stay() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tcpstat.sock");
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let address = tcp.local_addr()?;
    let unix = UnixListener::bind(&path)?;
    let mut command = tcpstat_with(tcp, unix)?;
    command.args(["--tracer=off", "--web.listen-address=127.0.0.1:1"]);
    let mut child = command.stderr(Stdio::null()).spawn()?;
    // The sockets listen already, so the requests wait for the exporter.
    let served = [
        Curl::default().get(&format!("http://{address}/-/healthy")),
        curl(&path).get("http://localhost/-/healthy"),
    ];
    kill(Pid::from_raw(child.id().try_into()?), Signal::SIGTERM)?;
    let ended = child.wait()?;
    for answer in served {
        let answer = answer?;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(ended.code(), Some(0));
    // It belongs to systemd.
    ensure!(path.exists());
    Ok(())
}

fn a_wrong_environment_of_systemd_is_one_clear_error() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let run = tcpstat(["serve", "--web.systemd-socket"])?;
    assert_eq!(run.status, Some(1), "{run:?}");
    ensure!(run.stderr.contains("systemd has passed no socket (LISTEN_PID is not set)"), "{run:?}");
    let mut number = 0;
    let mut refused = |variables: &[(&str, &str)], words: &str| -> Result<()> {
        number += 1;
        let unix = UnixListener::bind(folder.path().join(number.to_string()))?;
        let mut command = tcpstat_with(TcpListener::bind("127.0.0.1:0")?, unix)?;
        let run = command.arg("--tracer=off").envs(variables.iter().copied()).output()?;
        let line = String::from_utf8(run.stderr)?;
        assert_eq!(run.status.code(), Some(1), "{line}");
        ensure!(line.starts_with("tcpstat: --web.systemd-socket: "), "{line}");
        ensure!(line.contains(words) && line.lines().count() == 1, "{words}: {line}");
        Ok(())
    };
    refused(&[("LISTEN_PID", "1")], "the sockets are for process 1 (LISTEN_PID)")?;
    refused(&[("LISTEN_PID", "x")], "LISTEN_PID is x, which is not a number")?;
    refused(&[("LISTEN_FDS", "0")], "LISTEN_FDS is 0, which is not a number from 1 to 64")?;
    refused(&[("LISTEN_FDS", "")], "(LISTEN_FDS is not set)")?;
    // The third one is not passed: whatever has this number is no listening socket.
    refused(
        &[("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "a:b:c")],
        "descriptor 5 (c) does not listen for streams",
    )
}
