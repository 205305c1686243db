//! `--web.config.file`: TLS, client certificates, passwords, headers, and the rate limit.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use tcpstat_tests::binary::{output, tcpstat};
use tcpstat_tests::certificates::Authority;
use tcpstat_tests::curl::{Answer, Curl};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tcpstat_tests::web_config::{TLS, USER, authority, write};

use crate::web::anywhere;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        https_is_served_and_a_client_that_speaks_http_gets_a_hint,
        versions_and_suites_are_those_of_the_file,
        client_certificates_are_requested_required_and_verified_as_the_file_says,
        a_client_certificate_needs_one_of_the_allowed_names,
        the_log_says_why_a_handshake_fails_and_what_to_do,
        every_path_needs_a_password,
        headers_of_the_file_are_in_every_answer,
        requests_beyond_the_rate_limit_get_429,
        a_file_that_cannot_be_used_stops_the_start_with_one_line,
        page_and_api_are_served_under_allowed_host_names_only,
        without_the_page_only_metrics_and_health_are_served
    ]
}

pub(crate) fn flag(path: &Path) -> OsString {
    let mut flag = OsString::from("--web.config.file=");
    flag.push(path);
    flag
}

/// An exporter whose web configuration is `text`.
pub(crate) fn exporter(authority: &Authority, text: &str) -> Result<Exporter> {
    let path = write(authority, text)?;
    anywhere("debian-6.1")?.args([flag(&path)]).start_locked()
}

/// curl that accepts the certificates of `authority`.
pub(crate) fn curl(authority: &Authority) -> Curl {
    Curl::default().authority(&authority.path("ca.crt"))
}

pub(crate) fn url(scheme: &str, exporter: &Exporter, path: &str) -> String {
    format!("{scheme}://{}{path}", exporter.address())
}

fn https_is_served_and_a_client_that_speaks_http_gets_a_hint() -> Result<()> {
    let authority = authority()?;
    let exporter = exporter(&authority, TLS)?;
    let log = exporter.log();
    ensure!(log.contains("listening on https://"), "{log}");
    for path in ["/metrics", "/", "/-/ready", "/api/v1/status"] {
        let answer = curl(&authority).get(&url("https", &exporter, path))?;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        // Clients that offer HTTP/2 too get HTTP/1.1.
        ensure!(answer.text.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
    // A client that does not know the authority ends the handshake.
    assert_eq!(Curl::default().get(&url("https", &exporter, "/metrics"))?.status, 0);
    let plain = Curl::default().get(&url("http", &exporter, "/metrics"))?;
    assert_eq!(plain.status, 400, "{plain:?}");
    ensure!(plain.text.contains("use https://"), "{plain:?}");
    Ok(())
}

/// Whether `openssl s_client` with `args` completes a handshake.
fn connects(authority: &Authority, exporter: &Exporter, args: &[&str]) -> Result<bool> {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-brief", "-verify_return_error", "-connect"]);
    client.arg(exporter.address().to_string()).arg("-CAfile").arg(authority.path("ca.crt"));
    Ok(output(client.args(args))?.status == Some(0))
}

fn versions_and_suites_are_those_of_the_file() -> Result<()> {
    let authority = authority()?;
    let suite = "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  curve_preferences: [CurveP384]\n";
    let (old, new, all) = ("  max_version: TLS12\n", "  min_version: TLS13\n", "");
    for (more, args, works) in [
        (all, &["-tls1_2"][..], true),
        (all, &["-tls1_3"], true),
        (all, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (all, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], false),
        (all, &["-groups", "P-256"], true),
        (old, &["-tls1_3"], false),
        (old, &["-tls1_2"], true),
        (new, &["-tls1_2"], false),
        (new, &["-tls1_3"], true),
        (suite, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], true),
        (suite, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], false),
        (suite, &["-tls1_3", "-groups", "P-384"], true),
        (suite, &["-tls1_3", "-groups", "P-256"], false),
    ] {
        let exporter = exporter(&authority, &format!("{TLS}{more}"))?;
        assert_eq!(connects(&authority, &exporter, args)?, works, "{more}{args:?}");
    }
    Ok(())
}

fn client_certificates_are_requested_required_and_verified_as_the_file_says() -> Result<()> {
    let authority = authority()?;
    authority.issue("client", "DNS:prometheus")?;
    authority.self_signed("stranger")?;
    let with = |name: &str| {
        let [certificate, key] = ["crt", "key"].map(|end| authority.path(&format!("{name}.{end}")));
        curl(&authority).certificate(&certificate, &key)
    };
    for (word, ca, none, issued, other) in [
        ("NoClientCert", false, true, true, true),
        ("RequestClientCert", false, true, true, true),
        ("RequireAnyClientCert", false, false, true, true),
        ("VerifyClientCertIfGiven", true, true, true, false),
        ("RequireAndVerifyClientCert", true, false, true, false),
    ] {
        let ca = if ca { "  client_ca_file: ca.crt\n" } else { "" };
        let exporter = exporter(&authority, &format!("{TLS}  client_auth_type: {word}\n{ca}"))?;
        let url = url("https", &exporter, "/metrics");
        let is_answered = |curl: Curl| anyhow::Ok(curl.get(&url)?.status == 200);
        assert_eq!(is_answered(curl(&authority))?, none, "{word} without a certificate");
        assert_eq!(is_answered(with("client"))?, issued, "{word} with a certificate");
        assert_eq!(is_answered(with("stranger"))?, other, "{word} with a stranger's");
    }
    Ok(())
}

fn a_client_certificate_needs_one_of_the_allowed_names() -> Result<()> {
    let authority = authority()?;
    let clients = [
        ("dns", "DNS:prometheus.example", true),
        ("address", "IP:192.0.2.1", true),
        ("email", "email:ops@example.org", true),
        ("uri", "URI:spiffe://example.org/prometheus,DNS:other.example", true),
        ("other", "DNS:grafana.example", false),
        ("part", "DNS:a.prometheus.example", false),
    ];
    let text = format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans:\n  \
         - prometheus.example\n  - 192.0.2.1\n  - ops@example.org\n  - spiffe://example.org/prometheus\n"
    );
    let exporter = exporter(&authority, &text)?;
    for (name, names, is_allowed) in clients {
        authority.issue(name, names)?;
        let [certificate, key] = ["crt", "key"].map(|end| authority.path(&format!("{name}.{end}")));
        let curl = curl(&authority).certificate(&certificate, &key);
        let answer = curl.get(&url("https", &exporter, "/metrics"))?;
        assert_eq!(answer.status == 200, is_allowed, "{name}: {answer:?}");
    }
    exporter.wait_log("none of the names in client_allowed_sans")
}

/// One exporter for each case: the log has a line of this kind at most every 30 seconds.
fn the_log_says_why_a_handshake_fails_and_what_to_do() -> Result<()> {
    let authority = authority()?;
    authority.self_signed("stranger")?;
    authority.issue_version_1("old")?;
    let path = |file: &str| authority.path(file);
    let with = |name: &str| {
        let [certificate, key] = ["crt", "key"].map(|kind| path(&format!("{name}.{kind}")));
        curl(&authority).certificate(&certificate, &key)
    };
    let clients = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    for (more, client, words) in [
        (clients, curl(&authority), "the client sends no certificate: give it one"),
        (clients, with("stranger"), "add its authority there"),
        (clients, with("old"), "is of X.509 version 1: issue one of version 3"),
        (clients, with("ca"), "is that of an authority: issue one with CA:FALSE"),
        ("", Curl::default().authority(&path("stranger.crt")), "the client refuses; often"),
        ("  min_version: TLS13\n", curl(&authority).args(["--tls-max", "1.2"]), "min_version, "),
    ] {
        let exporter = exporter(&authority, &format!("{TLS}{more}"))?;
        client.get(&url("https", &exporter, "/metrics"))?;
        exporter.wait_log("a TLS handshake failed")?;
        let log = exporter.log();
        ensure!(log.contains(words), "{words}: {log}");
    }
    Ok(())
}

fn every_path_needs_a_password() -> Result<()> {
    let authority = authority()?;
    let exporter = exporter(&authority, USER)?;
    let ask = |curl: Curl, path: &str| curl.get(&url("http", &exporter, path));
    for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/api/v1/status", "/runbook", "/none"] {
        let refused = ask(Curl::default(), path)?;
        assert_eq!(refused.status, 401, "{path}");
        ensure!(refused.text.contains("www-authenticate: Basic realm=\"tcpstat\""), "{refused:?}");
        for (user, password) in [("alice", "wrong"), ("bob", "secret"), ("alice", "")] {
            assert_eq!(ask(Curl::default().user(user, password), path)?.status, 401, "{path}");
        }
        let status = if path == "/none" { 404 } else { 200 };
        // The second answer comes from the kept result.
        for _ in 0..2 {
            assert_eq!(
                ask(Curl::default().user("alice", "secret"), path)?.status,
                status,
                "{path}"
            );
        }
    }
    assert_eq!(ask(Curl::default().args(["--request", "POST"]), "/metrics")?.status, 401);
    exporter.wait_log("wrong user name or password")?;
    let log = exporter.log();
    ensure!(log.contains("client=127.0.0.1"), "{log}");
    ensure!(!log.contains("secret") && !log.contains("bob"), "{log}");
    Ok(())
}

fn headers_of_the_file_are_in_every_answer() -> Result<()> {
    let authority = authority()?;
    let headers = "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    \
                   Content-Security-Policy: default-src 'none'\n";
    let exporter = exporter(&authority, &format!("{USER}{headers}"))?;
    let user = Curl::default().user("alice", "secret");
    for (curl, path, status) in [
        (&user, "/", 200),
        (&user, "/metrics", 200),
        (&user, "/none", 404),
        (&Curl::default(), "/", 401),
    ] {
        let answer = curl.get(&url("http", &exporter, path))?;
        assert_eq!(answer.status, status, "{path}");
        ensure!(answer.text.contains("x-frame-options: deny\r\n"), "{answer:?}");
        // In place of the page's own.
        let policy = "content-security-policy: default-src 'none'\r\n";
        ensure!(answer.text.contains(policy), "{answer:?}");
        assert_eq!(answer.text.matches("content-security-policy").count(), 1, "{answer:?}");
    }
    Ok(())
}

fn requests_beyond_the_rate_limit_get_429() -> Result<()> {
    let authority = authority()?;
    let exporter = exporter(&authority, "rate_limit:\n  interval: 1h\n  burst: 3\n")?;
    let ask = || Curl::default().get(&url("http", &exporter, "/-/healthy"));
    let answers: Vec<Answer> = (0..5).map(|_| ask()).collect::<Result<_>>()?;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    ensure!(answers[4].text.contains("retry-after: "), "{:?}", answers[4]);
    Ok(())
}

fn a_file_that_cannot_be_used_stops_the_start_with_one_line() -> Result<()> {
    let authority = authority()?;
    authority.issue("foreign", "DNS:localhost")?;
    authority.issue_version_1("old")?;
    fs::write(authority.path("empty.crt"), "")?;
    fs::write(authority.path("damaged.crt"), "-----BEGIN CERTIFICATE-----\n!\n")?;
    let server = "tls_server_config:\n  cert_file:";
    for (text, parts) in [
        ("tls_config: {}\n".to_owned(), &["line 1", "tls_config: no such key"][..]),
        (
            format!("{server} none.crt\n  key_file: server.key\n"),
            &["line 2", "none.crt", "No such file"],
        ),
        (
            format!("{server} empty.crt\n  key_file: server.key\n"),
            &["line 2", "no certificate in PEM"],
        ),
        (format!("{server} damaged.crt\n  key_file: server.key\n"), &["line 2", "damaged.crt"]),
        (
            format!("{server} server.crt\n  key_file: server.crt\n"),
            &["line 3", "no private key in PEM"],
        ),
        (format!("{server} server.crt\n  key_file: foreign.key\n"), &["line 3", "does not belong"]),
        (
            format!("{server} old.crt\n  key_file: old.key\n"),
            &["line 2", "old.crt", "version 1", "subjectAltName"],
        ),
        (format!("{TLS}  min_version: TLS10\n"), &["line 4", "TLS10", "rustls"]),
        (
            format!(
                "{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: empty.crt\n"
            ),
            &["line 5", "client_ca_file", "no certificate in PEM"],
        ),
        ("basic_auth_users:\n  alice: secret\n".to_owned(), &["line 2", "alice", "bcrypt"]),
    ] {
        let path = write(&authority, &text)?;
        let run =
            tcpstat(["serve".into(), flag(&path), "--web.listen-address=127.0.0.1:0".into()])?;
        assert_eq!(run.status, Some(1), "{text}: {run:?}");
        let line = run.stderr.trim_end();
        for part in parts {
            ensure!(line.contains(part), "{text}: {part}: {line}");
        }
        ensure!(line.contains("--web.config.file") && !line.contains('\n'), "{line}");
        ensure!(!line.contains("secret"), "{line}");
    }
    let missing = authority.path("missing.yml");
    let run = tcpstat(["serve".into(), flag(&missing)])?;
    ensure!(run.status == Some(1) && run.stderr.contains("missing.yml"), "{run:?}");
    Ok(())
}

fn page_and_api_are_served_under_allowed_host_names_only() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?
        .args(["--web.allowed-hosts=web-3,web-3.example", "--web.allowed-hosts=other"])
        .start()?;
    for (host, is_allowed) in [
        ("web-3:10048", true),
        ("WEB-3.example", true),
        ("other", true),
        ("localhost:1", true),
        ("192.0.2.1", true),
        ("[2001:db8::1]:10048", true),
        ("attacker.example", false),
        ("attacker.example:10048", false),
    ] {
        for path in ["/", "/api/v1/status", "/runbook", "/none"] {
            let answer = exporter.scraper().request("GET", path, &[("Host", host)])?;
            assert_eq!(answer.status != 421, is_allowed, "{host}{path}");
            if !is_allowed {
                ensure!(answer.body.contains("--web.allowed-hosts"), "{}", answer.body);
                assert_eq!(answer.body.lines().count(), 1, "{}", answer.body);
            }
        }
        for path in ["/metrics", "/-/healthy", "/-/ready"] {
            let answer = exporter.scraper().request("GET", path, &[("Host", host)])?;
            assert_eq!(answer.status, 200, "{host}{path}");
        }
    }
    let run = tcpstat(["serve", "--web.allowed-hosts=http://web-3"])?;
    ensure!(run.status == Some(2) && run.stderr.contains("without scheme"), "{run:?}");
    Ok(())
}

fn without_the_page_only_metrics_and_health_are_served() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.args(["--no-web.page"]).start()?;
    for path in ["/metrics", "/-/healthy", "/-/ready"] {
        assert_eq!(exporter.get(path)?.status, 200, "{path}");
    }
    for path in ["/", "/runbook", "/api", "/api/v1/status", "/api/v1/stream"] {
        assert_eq!(exporter.get(path)?.status, 404, "{path}");
    }
    Ok(())
}
