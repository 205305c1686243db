//! Why a connection failed, and what to do.

use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// How the standard library begins the error about a name.
const LOOKUP_FAILED: &str = "failed to lookup address information";

/// `error`, with what to do if that is known.
pub(in crate::top) fn with_remedy(error: &ureq::Error) -> String {
    let ureq::Error::Io(error) = error else {
        return error.to_string();
    };
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls.map_or_else(|| of_io(error), of_tls) {
        "" => error.to_string(),
        remedy => format!("{error}: {remedy}"),
    }
}

/// Empty if none is known.
fn of_io(error: &io::Error) -> &'static str {
    match error.kind() {
        // Its kind has no name.
        _ if error.to_string().starts_with(LOOKUP_FAILED) => {
            "write an address, or a name that this host resolves"
        }
        io::ErrorKind::ConnectionRefused => {
            "nothing listens there: start tcpstat serve, or correct the address"
        }
        // Of a Unix socket.
        io::ErrorKind::NotFound => {
            "start tcpstat serve with this --web.listen-address, or correct the path"
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

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs as _;

    use super::*;

    #[test]
    fn a_name_that_does_not_resolve_has_a_remedy() {
        // A resolver refuses an empty label without a request.
        let error = "no..host:1".to_socket_addrs().unwrap_err();
        let text = with_remedy(&ureq::Error::Io(error));
        assert!(text.ends_with(": write an address, or a name that this host resolves"), "{text}");
    }
}
