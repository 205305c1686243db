use std::path::Path;

use super::*;
use crate::web::config::{Content, Fault, Source, WebConfig};

/// The settings with `more` keys, whose certificate and key are text that is not in PEM.
fn settings(more: &str) -> TlsSettings {
    let text = format!("tls_server_config:\n  cert: nothing\n  key: nothing\n{more}");
    WebConfig::parse(&text, Path::new("/")).unwrap().tls.unwrap()
}

fn suites(more: &str) -> Vec<String> {
    let provider = provider(&settings(more));
    provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect()
}

#[test]
fn every_suite_and_curve_that_can_be_named_is_one_of_the_provider() {
    let all = [
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ];
    let chosen = suites(&format!("  cipher_suites: [{}]\n", all.join(", ")));
    assert_eq!(chosen[3..], all);
    assert_eq!(chosen.len(), suites("").len());
    let curves = settings("  curve_preferences: [X25519, CurveP384, CurveP256]\n");
    let names: Vec<_> = provider(&curves).kx_groups.iter().map(|curve| curve.name()).collect();
    assert_eq!(names, curves.curves);
}

#[test]
fn the_suites_of_1_3_stay_whatever_is_chosen() {
    let chosen = suites("  cipher_suites: [TLS_AES_128_GCM_SHA256]\n");
    assert_eq!(chosen.len(), 3);
    assert!(chosen.iter().all(|suite| suite.starts_with("TLS13_")), "{chosen:?}");
}

#[test]
fn what_is_not_in_pem_is_an_error_with_key_and_line() {
    let error = server_config(&settings("")).unwrap_err().in_file(Path::new("web.yml"));
    assert_eq!(
        error.to_string(),
        "--web.config.file web.yml: line 2: cert: its text: there is no certificate in PEM (-----BEGIN CERTIFICATE-----): convert it with `openssl x509 -outform PEM`"
    );
}

#[test]
fn a_certificate_and_a_key_that_are_exchanged_are_named() {
    let source =
        |text: &str| Source { key: "key", line: 3, content: Content::Inline(text.to_owned()) };
    let key = source("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let certificate = source("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let shown = |fault: Fault| fault.in_file(Path::new("web.yml")).to_string();
    let error = shown(pem::certificates(&key).unwrap_err());
    assert!(error.contains("no certificate in PEM, but a private key: use"), "{error}");
    let error = shown(pem::private_key(&certificate).unwrap_err());
    assert!(error.contains("no private key in PEM, but a certificate: use"), "{error}");
}

/// The library's errors have the line that they are about, in which a key without line breaks is as a whole.
#[test]
fn the_error_about_a_key_whose_lines_are_joined_or_cut_has_nothing_of_it() {
    let source =
        |text: &str| Source { key: "key", line: 3, content: Content::Inline(text.to_owned()) };
    for (text, part) in [
        ("-----BEGIN PRIVATE KEY-----SECRET-----END PRIVATE KEY-----", "lines of their own"),
        ("-----BEGIN PRIVATE KEY----- SECRET -----END PRIVATE KEY-----\n", "lines of their own"),
        ("-----BEGIN PRIVATE KEY SECRET\nAAAA\n", "lines of their own"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nSECRET\n-----END RSA PRIVATE KEY-----\n",
            "decrypt it first",
        ),
        ("-----BEGIN PRIVATE KEY-----\nSECRET", "cut off"),
        ("-----BEGIN PRIVATE KEY-----\n!SECRET\n-----END PRIVATE KEY-----\n", "not base64"),
    ] {
        let fault = pem::private_key(&source(text)).unwrap_err();
        let error = fault.in_file(Path::new("web.yml")).to_string();
        // As text, and as the numbers of its bytes.
        let is_shown = ["SECRET", "83, 69, 67"].iter().any(|secret| error.contains(secret));
        assert!(error.contains(part) && !is_shown, "{error}");
    }
}

/// What is beyond the bound is not read, so it would be missing silently.
#[test]
fn a_file_of_authorities_beyond_the_bound_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# a comment\n".repeat(100_000)).unwrap();
    let content = Content::File(file.path().to_owned());
    let fault = pem::certificates(&Source { key: "client_ca_file", line: 4, content }).unwrap_err();
    let error = fault.in_file(Path::new("web.yml")).to_string();
    assert!(
        error.contains("line 4: client_ca_file") && error.contains("more than 1048576"),
        "{error}"
    );
}
