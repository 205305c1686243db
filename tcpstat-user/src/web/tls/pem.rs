//! Certificates and keys in PEM, from files or from the configuration itself.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::{
    bounded_file,
    web::config::{Content, Fault, Problem, Source},
};

/// All certificates of `source`, at least one.
pub(super) fn certificates(source: &Source) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = bytes(source)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if all.is_empty() => {
            Err(fault(source, "there is no certificate in PEM (-----BEGIN CERTIFICATE-----)"))
        }
        Ok(all) => Ok(all),
        Err(cause) => Err(fault(source, cause.to_string())),
    }
}

/// The first private key of `source`.
pub(super) fn private_key(source: &Source) -> Result<PrivateKeyDer<'static>, Fault> {
    let bytes = bytes(source)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|cause| match cause {
        rustls::pki_types::pem::Error::NoItemsFound => fault(
            source,
            "there is no private key in PEM; one that is encrypted must be decrypted first (openssl pkey)",
        ),
        cause => fault(source, cause.to_string()),
    })
}

/// The error for what is in `source`.
pub(super) fn fault(source: &Source, cause: impl Into<String>) -> Fault {
    let (key, from) = (source.key, place(source));
    Fault::new(source.line, Problem::Pem { key, from, cause: cause.into() })
}

/// Where `source` is, in an error.
pub(super) fn place(source: &Source) -> String {
    match &source.content {
        Content::File(path) => path.display().to_string(),
        Content::Inline(_) => "its text".to_owned(),
    }
}

fn bytes(source: &Source) -> Result<Vec<u8>, Fault> {
    match &source.content {
        Content::Inline(text) => Ok(text.clone().into_bytes()),
        Content::File(path) => bounded_file::read_regular(path).map_err(|cause| {
            let (key, path) = (source.key, path.clone());
            Fault::new(source.line, Problem::File { key, path, cause })
        }),
    }
}
