//! Why a connection failed, and what to do.

use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// `error`, with what to do if that is known.
pub(in crate::top) fn with_remedy(error: &ureq::Error) -> String {
    let ureq::Error::Io(error) = error else {
        return error.to_string();
    };
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls.map_or_else(|| of_io(error.kind()), of_tls) {
        "" => error.to_string(),
        remedy => format!("{error}: {remedy}"),
    }
}

/// Empty if none is known.
fn of_io(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => {
            "nothing listens there: start tcpstat serve, or correct the address"
        }
        _ => "",
    }
}

/// Empty if none is known.
fn of_tls(error: &TlsError) -> &'static str {
    match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "name the authority of the exporter's certificate with --connect.ca-file"
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "write a name of the certificate in --connect",
        TlsError::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "renew the exporter's certificate, or correct the clock",
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            "the exporter wants a client certificate: add --connect.cert-file and --connect.key-file"
        }
        TlsError::AlertReceived(_) => {
            "the exporter refuses the handshake, and its log says why; often it does not accept the certificate of --connect.cert-file"
        }
        TlsError::InvalidMessage(_) => "no TLS there: write http:// in --connect",
        _ => "",
    }
}
