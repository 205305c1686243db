use std::{collections::BTreeMap, fs, path::PathBuf};

use rustls::{CipherSuite as Suite, NamedGroup as Group};

use super::*;

const TLS: &str = "tls_server_config:\n  cert_file: a\n  key_file: b\n";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/web-config")
}

/// The files whose names end in `ending`, by the name before it.
fn files(ending: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(name) = name.strip_suffix(ending) {
            files.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
    assert!(files.len() > 10);
    files
}

fn parsed(text: &str) -> WebConfig {
    WebConfig::parse(text, Path::new("/etc/tcpstat")).unwrap()
}

#[test]
fn every_file_that_exporter_toolkit_accepts_and_rustls_can_serve_is_accepted() {
    for (name, text) in files(".good.yml") {
        let config = WebConfig::parse(&text, Path::new("/"));
        assert!(config.is_ok(), "{name}: {:?}", config.unwrap_err());
    }
}

#[test]
fn every_other_file_is_refused_with_line_key_value_and_remedy() {
    let errors = fs::read_to_string(fixtures().join("errors.txt")).unwrap();
    let errors: BTreeMap<_, _> = errors.lines().filter_map(|line| line.split_once(": ")).collect();
    let files = files(".bad.yml");
    assert_eq!(files.keys().collect::<Vec<_>>(), errors.keys().collect::<Vec<_>>());
    for (name, text) in files {
        let path = Path::new("/etc/tcpstat/web.yml");
        let error = WebConfig::parse(&text, Path::new("/")).unwrap_err().in_file(path).to_string();
        let expected = format!("--web.config.file /etc/tcpstat/web.yml: {}", errors[name.as_str()]);
        if errors[name.as_str()].starts_with("line ") {
            assert!(error.starts_with(&expected), "{name}: {error}\n{expected}");
        } else {
            assert!(error.contains(errors[name.as_str()]), "{name}: {error}");
        }
        assert!(!error.contains('\n') && !error.contains("$2"), "{name}: {error}");
    }
}

#[test]
fn an_empty_file_is_plain_http_without_authentication_and_limit() {
    for text in ["", "---\n# nothing\n", "tls_server_config: {}\n"] {
        let config = parsed(text);
        assert!(config.tls.is_none() && config.users.is_empty() && config.rate_limit.is_none());
        assert!(config.headers.0.is_empty());
    }
}

/// The time grows with the number of keys, not with its square.
#[test]
fn a_file_with_a_hundred_thousand_keys_is_refused_with_the_first_unknown_one() {
    let keys: Vec<_> = (0..100_000).map(|number| format!("k{number}:\n")).collect();
    let text = keys.concat();
    let fault = WebConfig::parse(&text, Path::new("/")).unwrap_err();
    assert_eq!(fault.line, 1);
    let fault = WebConfig::parse(&format!("{text}k0:\n"), Path::new("/")).unwrap_err();
    assert!(matches!(fault.problem, Problem::DuplicateKey { first: 1, .. }), "{fault:?}");
}

#[test]
fn paths_are_relative_to_the_directory_of_the_file() {
    let text = "tls_server_config:\n  cert_file: a.crt\n  key_file: /keys/a.key\n";
    let tls = parsed(text).tls.unwrap();
    let files: Vec<_> = tls.files().collect();
    assert_eq!(files, [Path::new("/etc/tcpstat/a.crt"), Path::new("/keys/a.key")]);
}

#[test]
fn defaults_are_those_of_exporter_toolkit() {
    let tls = parsed("tls_server_config:\n  cert: a\n  key: b\n").tls.unwrap();
    assert_eq!((tls.min, tls.max), (Version::Tls12, Version::Tls13));
    assert_eq!(tls.client_auth, ClientAuth::None);
    assert_eq!((tls.suites, tls.prefer_own_suites, tls.curves), (None, true, Vec::new()));
}

#[test]
fn the_order_of_suites_and_curves_is_kept() {
    let text = files(".good.yml");
    let tls = parsed(&text["tls-suites"]).tls.unwrap();
    let suites = [
        Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    assert_eq!((tls.suites.as_deref(), tls.prefer_own_suites), (Some(&suites[..]), false));
    let tls = parsed(&text["tls-curves"]).tls.unwrap();
    assert_eq!(tls.curves, [Group::X25519, Group::secp256r1, Group::secp384r1]);
}

#[test]
fn headers_users_and_the_limit_are_read() {
    let text = files(".good.yml");
    let headers = parsed(&text["headers"]).headers.0;
    assert_eq!(headers.len(), 5);
    assert_eq!(headers[1].0, "x-frame-options");
    assert_eq!(headers[1].1, "deny");
    let users = parsed(&text["users"]).users;
    assert!(users.hash("alice").unwrap().starts_with("$2y$10$"));
    assert!(users.hash("bob").is_some() && users.hash("carol").is_none());
    let limit = parsed(&text["rate-limit"]).rate_limit.unwrap();
    assert_eq!((limit.interval.as_millis(), limit.burst), (100, 20));
}

/// A key or a hash in the wrong place, or a line that lacks a space.
#[test]
fn no_error_has_a_key_a_hash_or_a_password() {
    let hash = "$2b$04$SECRETSECRETSECRETSECRETSECRETSECRETSECRETSECRETSECRET";
    let pem = "\"-----BEGIN PRIVATE KEY-----\\nSECRET\\n-----END PRIVATE KEY-----\\n\"";
    for (text, part) in [
        (format!("basic_auth_users:\n  {hash}: alice\n"), "a bcrypt hash"),
        (format!("basic_auth_users:\n  {hash}: x\n  {hash}: x\n"), "line 3"),
        (format!("{hash}: alice\n"), "no such key"),
        ("basic_auth_users:\n  alice:SECRET: x\n".to_owned(), "alice: a user name"),
        (format!("tls_server_config:\n  cert_file: a\n  key_file: {pem}\n"), "write it as key"),
        (format!("tls_server_config:\n  min_version: {pem}\n"), "neither cert nor cert_file"),
        (format!("tls_server_config:\n  {pem}: key\n"), "no such key"),
        (
            format!("{TLS}  cipher_suites: [{}]\n", pem.replace("\"-", "\"TLS_RSA_WITH_-")),
            "not safe",
        ),
    ] {
        let error = WebConfig::parse(&text, Path::new("/")).unwrap_err();
        let error = error.in_file(Path::new("web.yml")).to_string();
        assert!(error.contains(part) && !error.contains("SECRET"), "{error}");
    }
}

/// Wherever they are in the file, and in the paths that it names.
#[test]
fn control_characters_are_escaped_in_every_error() {
    let value = "\"TLS_RSA_WITH_\\t\\e[2J\\n\"";
    let keys = [
        "cipher_suites",
        "curve_preferences",
        "min_version",
        "client_auth_type",
        "prefer_server_cipher_suites",
        "client_ca_file",
    ];
    let tls = keys.map(|key| match key {
        "cipher_suites" | "curve_preferences" => format!("{TLS}  {key}: [{value}]\n"),
        _ => format!("{TLS}  {key}: {value}\n"),
    });
    let others = [
        format!("{value}: 1\n"),
        format!("{value}: 1\n{value}: 1\n"),
        format!("http_server_config:\n  headers:\n    {value}: x\n"),
        format!("http_server_config:\n  headers:\n    X-Frame-Options: {value}\n"),
        format!("basic_auth_users:\n  {value}: x\n"),
        format!("rate_limit:\n  interval: {value}\n  burst: 1\n"),
        format!("rate_limit:\n  interval: 1s\n  burst: {value}\n"),
        format!("tls_server_config:\n  {value}: [x]\n"),
    ];
    for text in tls.into_iter().chain(others) {
        let fault = WebConfig::parse(&text, Path::new("/")).unwrap_err();
        let error = fault.in_file(Path::new("/etc/\t/web.yml")).to_string();
        assert!(error.starts_with(r"--web.config.file /etc/\t/web.yml: line "), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    let path = PathBuf::from("/etc/\u{1b}[2J.crt");
    let cause = std::io::ErrorKind::NotFound.into();
    let fault = Fault::new(2, Problem::File { key: "cert_file", path, cause });
    let error = fault.in_file(Path::new("web.yml")).to_string();
    assert!(error.contains(r"line 2: cert_file: /etc/\u{1b}[2J.crt: "), "{error}");
}

#[test]
fn no_debug_text_has_a_key_or_a_hash() {
    let text = "tls_server_config:\n  cert: CERT\n  key: SECRET\nbasic_auth_users:\n  alice: \
                $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG\n";
    let shown = format!("{:?}", parsed(text));
    assert!(shown.contains("alice"), "{shown}");
    assert!(!shown.contains("SECRET") && !shown.contains("$2y"), "{shown}");
}
