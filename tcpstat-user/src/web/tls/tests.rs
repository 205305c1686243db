use std::path::Path;

use super::*;
use crate::web::config::WebConfig;

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
        "--web.config.file web.yml: line 2: cert: its text: there is no certificate in PEM (-----BEGIN CERTIFICATE-----)"
    );
}
