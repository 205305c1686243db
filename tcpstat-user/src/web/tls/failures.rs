//! Why a handshake failed, and what to do.

use rustls::{CertificateError, Error};

use super::is_version_1;

/// `error` in words.
pub(in crate::web) fn in_words(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => {
            "the client sends no certificate: give it one, which client_auth_type requires (in Prometheus cert_file and key_file of tls_config)".to_owned()
        }
        _ if is_version_1(error) => {
            "the client's certificate is of X.509 version 1: issue one of version 3, which has extensions such as subjectAltName".to_owned()
        }
        Error::InvalidCertificate(cause) => of_certificate(cause),
        Error::AlertReceived(_) => format!(
            "{error}: the client refuses; often it does not know the authority of cert_file (in Prometheus ca_file of tls_config), or cert_file lacks the name that it uses"
        ),
        Error::PeerIncompatible(_) => format!(
            "{error}: compare min_version, max_version, cipher_suites, and curve_preferences with what the client offers"
        ),
        _ => error.to_string(),
    }
}

/// Why the certificate of a client is refused.
fn of_certificate(cause: &CertificateError) -> String {
    let remedy = match cause {
        // rustls shows an error of another crate, and of tcpstat's own check, as a type.
        CertificateError::Other(inner) => match inner.0.to_string().as_str() {
            "CaUsedAsEndEntity" => "it is that of an authority: issue one with CA:FALSE",
            other => return other.to_owned(),
        },
        CertificateError::UnknownIssuer => {
            "no authority in client_ca_file has issued it: issue it by one of them, or add its authority there"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired: renew it, or correct the clock of this host"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet: correct the clock of this host, or that of its authority"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for clients: issue one with clientAuth in extendedKeyUsage, or without extendedKeyUsage"
        }
        other => return format!("the client's certificate is refused: {other}"),
    };
    format!("the client's certificate is refused: {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that rustls has for its errors are for programmers.
    #[test]
    fn a_refused_certificate_has_a_next_step() {
        for (cause, words) in [
            (CertificateError::UnknownIssuer, "client_ca_file"),
            (CertificateError::Expired, "renew it"),
            (CertificateError::NotValidYet, "correct the clock"),
            (CertificateError::InvalidPurpose, "clientAuth"),
        ] {
            let text = in_words(&Error::InvalidCertificate(cause.clone()));
            assert!(text.contains(words), "{text}");
            assert!(!text.contains(&format!("{cause:?}")), "{text}");
        }
    }
}
