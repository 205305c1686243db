//! TLS by rustls, from the settings of the web configuration.

mod clients;
mod failures;
mod names;
mod pem;

use std::sync::Arc;

use rustls::{
    CertificateError, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

pub(super) use failures::in_words;

use super::config::{Fault, Problem, TlsSettings, Version};

/// The only protocol that the server speaks, for clients that offer several.
const PROTOCOL: &[u8] = b"http/1.1";

/// `openssl x509 -req` makes such a certificate if it is given no extension.
const VERSION_1: &str = "a certificate of X.509 version 1: make one of version 3, which has extensions such as subjectAltName";

/// Reads the files that `settings` names.
///
/// # Errors
/// With the key, and the file if there is one.
pub(super) fn server_config(settings: &TlsSettings) -> Result<Arc<ServerConfig>, Fault> {
    let provider = Arc::new(provider(settings));
    let certificate = &settings.certificate;
    let chain = pem::certificates(certificate)?;
    let key = provider
        .key_provider
        .load_private_key(pem::private_key(&settings.key)?)
        .map_err(|cause| pem::fault(&settings.key, cause.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|cause| match cause {
        rustls::Error::InconsistentKeys(_) => {
            let (key, from) = (settings.key.key, pem::place(&settings.key));
            let problem = Problem::OtherKey { key, from, certificate: certificate.key };
            Fault::new(settings.key.line, problem)
        }
        cause if is_version_1(&cause) => pem::fault(certificate, VERSION_1),
        cause => pem::fault(certificate, cause.to_string()),
    })?;
    let refused = |cause: rustls::Error| Fault::new(0, Problem::Tls(cause.to_string()));
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(settings))
        .map_err(refused)?;
    let builder = match clients::verifier(settings, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.ignore_client_order = settings.suites.is_some() && settings.prefer_own_suites;
    Ok(Arc::new(config))
}

/// rustls passes this error on as text.
fn is_version_1(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(inner)) = error else {
        return false;
    };
    inner.0.to_string() == "UnsupportedCertVersion"
}

/// The suites and curves of `settings`. The suites of TLS 1.3 always stay.
fn provider(settings: &TlsSettings) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(suites) = &settings.suites {
        let all = std::mem::take(&mut provider.cipher_suites);
        let (of_1_3, of_1_2): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|suite| suite.tls13().is_some());
        let chosen = suites
            .iter()
            .filter_map(|wanted| of_1_2.iter().copied().find(|suite| suite.suite() == *wanted));
        provider.cipher_suites = of_1_3.into_iter().chain(chosen).collect();
    }
    if !settings.curves.is_empty() {
        let all = std::mem::take(&mut provider.kx_groups);
        let chosen = settings.curves.iter();
        let chosen =
            chosen.filter_map(|wanted| all.iter().copied().find(|curve| curve.name() == *wanted));
        provider.kx_groups = chosen.collect();
    }
    provider
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    match (settings.min, settings.max) {
        (Version::Tls12, Version::Tls12) => vec![&TLS12],
        (Version::Tls12, Version::Tls13) => vec![&TLS12, &TLS13],
        (Version::Tls13, _) => vec![&TLS13],
    }
}

#[cfg(test)]
mod tests;
