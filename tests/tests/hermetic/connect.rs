//! `tcpstat top --connect` to an exporter that is locked, or listens on a Unix socket.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Result, ensure};
use tcpstat_tests::binary::{output, path_from, tcpstat};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tcpstat_tests::skip::require_program;
use tcpstat_tests::terminal::Terminal;
use tcpstat_tests::web_config::{self, TLS, USER};

use crate::web::anywhere;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        top_shows_an_exporter_with_tls_certificates_and_a_password,
        top_shows_an_exporter_behind_a_unix_socket,
        a_file_of_top_that_cannot_be_used_is_an_error_in_one_line,
        a_connection_that_fails_names_the_flag_that_helps,
        flags_of_top_that_make_no_sense_are_refused
    ]
}

/// Waits until `tcpstat top` with `args` shows the numbers of `address`.
fn shows(args: &str, address: &str) -> Result<()> {
    let script = format!("exec {} top {args}", path_from("TCPSTAT_BIN")?.display());
    let terminal = Terminal::open(&script, (120, 24))?;
    let is_live = |screen: &str| {
        screen.contains(address) && screen.contains("established  ") && !screen.contains("retrying")
    };
    terminal.await_screen("the numbers", is_live).map(drop)
}

fn top_shows_an_exporter_with_tls_certificates_and_a_password() -> Result<()> {
    let authority = web_config::authority()?;
    authority.issue("client", "DNS:top")?;
    let clients = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let file = web_config::write(&authority, &format!("{TLS}{clients}{USER}"))?;
    let socket = authority.path("tcpstat.sock");
    let exporter = anywhere("debian-6.1")?
        .args([format!("--web.config.file={}", file.display())])
        .args([format!("--web.listen-address=unix:{}", socket.display())])
        .start_locked()?;
    fs::write(authority.path("password"), "secret\n")?;
    let directory = authority.directory().display();
    let keys = format!(
        "--connect.ca-file {directory}/ca.crt --connect.cert-file {directory}/client.crt \
         --connect.key-file {directory}/client.key --connect.user alice \
         --connect.password-file {directory}/password"
    );
    for address in [format!("https://{}", exporter.address()), format!("unix:{}", socket.display())]
    {
        shows(&format!("--connect {address} {keys}"), &address)?;
    }
    Ok(())
}

fn top_shows_an_exporter_behind_a_unix_socket() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let address = format!("unix:{}", folder.path().join("tcpstat.sock").display());
    let listen = format!("--web.listen-address={address}");
    let _exporter = anywhere("debian-6.1")?.args([listen]).start()?;
    shows(&format!("--connect {address}"), &address)
}

/// What `tcpstat top` with `args` writes to its terminal before it fails.
fn failure(args: &str, variables: &[(&str, &str)]) -> Result<String> {
    require_program("script")?;
    let top = format!("{} top {args}", path_from("TCPSTAT_BIN")?.display());
    let mut command = Command::new("script");
    command.args(["-qec", &top, "/dev/null"]).env("TERM", "xterm");
    let run = output(command.envs(variables.iter().copied()))?;
    assert_eq!(run.status, Some(1), "{run:?}");
    assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    Ok(run.stdout)
}

fn a_file_of_top_that_cannot_be_used_is_an_error_in_one_line() -> Result<()> {
    let authority = web_config::authority()?;
    authority.self_signed("stranger")?;
    let file = web_config::write(&authority, &format!("{TLS}{USER}"))?;
    let config = format!("--web.config.file={}", file.display());
    let exporter = anywhere("debian-6.1")?.args([config]).start_locked()?;
    let address = format!("https://{}", exporter.address());
    fs::write(authority.path("empty"), "")?;
    fs::write(authority.path("wrong"), "wrong")?;
    let at = |file: &str| authority.path(file).display().to_string();
    let ca = format!("--connect.ca-file {}", at("ca.crt"));
    let user =
        |file: &str| format!("{ca} --connect.user alice --connect.password-file {}", at(file));
    let pair = |certificate: &str, key: &str| {
        let [certificate, key] = [at(certificate), at(key)];
        format!("{ca} --connect.cert-file {certificate} --connect.key-file {key}")
    };
    for (args, words) in [
        (format!("--connect.ca-file {}", at("none")), "No such file"),
        (format!("--connect.ca-file {}", at("server.key")), "no certificate in PEM"),
        (
            format!("--connect.ca-file {}", at("stranger.crt")),
            "UnknownIssuer: name the authority of the exporter's certificate with --connect.ca-file",
        ),
        (user("empty"), "the first line, the password, is empty"),
        (user("wrong"), "401: user name and password are required"),
        (ca.clone(), "401: user name and password are required"),
        (pair("server.crt", "stranger.key"), "not the key of the certificate"),
        (pair("server.crt", "ca.crt"), "no private key in PEM"),
    ] {
        let line = failure(&format!("--connect {address} {args}"), &[])?;
        let begins = format!("tcpstat: --connect {address}: ");
        ensure!(line.starts_with(&begins) && line.contains(words), "{words}: {line}");
        ensure!(!line.contains("wrong:"), "{line}");
    }
    let plain = failure(&format!("--connect http://{} {ca}", exporter.address()), &[])?;
    ensure!(plain.contains("--connect.ca-file: they are for https:// addresses"), "{plain}");
    let none = failure(&format!("--connect unix:{}", at("none")), &[])?;
    ensure!(none.contains("No such file"), "{none}");
    ensure!(none.contains("start tcpstat serve with this --web.listen-address"), "{none}");
    Ok(())
}

fn a_connection_that_fails_names_the_flag_that_helps() -> Result<()> {
    let authority = web_config::authority()?;
    authority.self_signed("stranger")?;
    authority.issue("named", "DNS:web-1")?;
    let start = |text: &str| -> Result<_> {
        let file = web_config::write(&authority, text)?;
        anywhere("debian-6.1")?
            .args([format!("--web.config.file={}", file.display())])
            .start_locked()
    };
    let open = anywhere("debian-6.1")?.start()?;
    let locked = start(&format!("{TLS}{USER}"))?;
    let clients = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let mutual = start(&format!("{TLS}{clients}"))?;
    let named = start("tls_server_config:\n  cert_file: named.crt\n  key_file: named.key\n")?;
    let directory = authority.directory().display();
    let ca = format!("--connect.ca-file {directory}/ca.crt");
    let stranger = format!(
        "{ca} --connect.cert-file {directory}/stranger.crt --connect.key-file {directory}/stranger.key"
    );
    let https = |address: SocketAddr| format!("https://{address}");
    for (address, args, words) in [
        (https(locked.address()), "", "--connect.ca-file"),
        (https(locked.address()), &*ca, "--connect.user and --connect.password-file"),
        (https(mutual.address()), &*ca, "--connect.cert-file and --connect.key-file"),
        (https(mutual.address()), &*stranger, "certificate of --connect.cert-file"),
        (https(named.address()), &*ca, "a name of the certificate in --connect"),
        (https(open.address()), &*ca, "write http:// in --connect"),
        (format!("http://{}", locked.address()), "", "use https:// in the address"),
        ("http://127.0.0.1:1".to_owned(), "", "nothing listens there"),
    ] {
        let line = failure(&format!("--connect {address} {args}"), &[])?;
        ensure!(line.contains(words), "{address} {args}: {words}: {line}");
    }
    mutual.wait_log("a TLS handshake failed")?;
    ensure!(mutual.log().contains("client=127.0.0.1"), "{}", mutual.log());
    Ok(())
}

fn flags_of_top_that_make_no_sense_are_refused() -> Result<()> {
    for (args, words) in [
        (&["--connect=ftp://web-1"][..], "https://web-1:10048"),
        (&["--connect=http://alice@web-1"], "--connect.password-file"),
        (&["--connect.ca-file=ca.crt"], "--connect.ca-file: needs --connect too"),
        (&["--connect=http://a", "--connect.user=alice"], "needs --connect.password-file too"),
        (
            &["--connect=http://a", "--connect.user=a:b", "--connect.password-file=p"],
            "a user name has no colon",
        ),
        (&["--connect=http://a", "--connect.cert-file=a.crt"], "needs --connect.key-file too"),
        (&["--connect=http://a", "--netns=all"], "--netns: no effect with --connect"),
        (&["--connect=http://a", "--ports=80"], "--ports: no effect with --connect"),
        (&["--connect=http://a", "--cgroups=*"], "--cgroups: no effect with --connect"),
        (&["--connect=http://a", "--tracer=off"], "--tracer: no effect with --connect"),
        (&["--connect=http://a", "--snapshot=iter"], "--snapshot: no effect with --connect"),
        (&["--connect=http://a", "--path.procfs=/x"], "--path.procfs: no effect with --connect"),
    ] {
        let run = tcpstat([&["top"], args].concat())?;
        assert_eq!(run.status, Some(2), "{args:?}: {run:?}");
        ensure!(run.stderr.contains(words), "{args:?}: {run:?}");
    }
    let mut command = Command::new(path_from("TCPSTAT_BIN")?);
    command.args(["top", "--netns=all"]).env("TCPSTAT_CONNECT", "http://a");
    let run = output(&mut command)?;
    ensure!(run.stderr.contains("--netns: no effect with TCPSTAT_CONNECT"), "{run:?}");
    // The variables of an exporter are no mistake.
    let line = failure("--connect http://127.0.0.1:1", &[("TCPSTAT_NETNS", "all")])?;
    ensure!(line.contains("nothing listens there"), "{line}");
    Ok(())
}
