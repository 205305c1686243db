//! What files say: authorities, the own certificate, and a password.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use thiserror::Error;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::{Connection, ConnectionError};
use crate::bounded_file::{self, MAX_BYTES};

/// Why the contents of a file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum Contents {
    #[error("more than {MAX_BYTES} bytes")]
    TooLong,
    #[error("no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    #[error("no private key in PEM; one that is encrypted must be decrypted first (openssl pkey)")]
    NoKey,
    #[error("not the key of the certificate, or of an unknown kind: {0}")]
    OtherKey(rustls::Error),
    #[error("the first line, the password, is empty")]
    NoPassword,
}

/// A file that a flag names.
struct Named<'a> {
    flag: &'static str,
    path: &'a Path,
}

impl Named<'_> {
    fn read(&self) -> Result<Vec<u8>, ConnectionError> {
        let bytes = bounded_file::read(self.path).map_err(|cause| {
            let (flag, path) = (self.flag, self.path.to_owned());
            ConnectionError::File { flag, path, cause }
        })?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(self.problem(Contents::TooLong));
        }
        Ok(bytes)
    }

    fn problem(&self, problem: Contents) -> ConnectionError {
        ConnectionError::Contents { flag: self.flag, path: self.path.to_owned(), problem }
    }

    /// At least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConnectionError> {
        let bytes = self.read()?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let all = all.ok().filter(|all| !all.is_empty());
        all.ok_or_else(|| self.problem(Contents::NoCertificate))
    }
}

/// The value of `Authorization` for a user, whose password is the first line of the file.
pub(super) fn authorization((user, path): &(String, PathBuf)) -> Result<String, ConnectionError> {
    let file = Named { flag: "--connect.password-file", path };
    let bytes = file.read()?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let password = line.strip_suffix(b"\r").unwrap_or(line);
    if password.is_empty() {
        return Err(file.problem(Contents::NoPassword));
    }
    let both = [user.as_bytes(), b":", password].concat();
    Ok(format!("Basic {}", STANDARD.encode(both)))
}

/// TLS for `connection`.
pub(super) fn tls(connection: &Connection) -> Result<TlsConfig, ConnectionError> {
    let provider = ring::default_provider();
    let authorities = match &connection.authorities {
        Some(path) => Named { flag: "--connect.ca-file", path }.certificates()?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    if authorities.is_empty() {
        return Err(ConnectionError::NoAuthorities);
    }
    let roots: Vec<_> = authorities.iter().map(owned).collect();
    let mut client = None;
    if let Some((certificate, key)) = &connection.certificate {
        let chain = Named { flag: "--connect.cert-file", path: certificate }.certificates()?;
        let key = Named { flag: "--connect.key-file", path: key };
        let pem = key.read()?;
        let parsed =
            PrivateKeyDer::from_pem_slice(&pem).map_err(|_| key.problem(Contents::NoKey))?;
        // ureq takes a key that fits for granted.
        let sent: Vec<_> = chain.iter().map(owned).collect();
        CertifiedKey::from_der(chain, parsed, &provider)
            .map_err(|cause| key.problem(Contents::OtherKey(cause)))?;
        let parsed = PrivateKey::from_pem(&pem).map_err(|_| key.problem(Contents::NoKey))?;
        client = Some(ClientCert::new_with_certs(&sent, parsed));
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(client)
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build())
}

fn owned(certificate: &CertificateDer<'_>) -> Certificate<'static> {
    Certificate::from_der(certificate).to_owned()
}
