//! Certificates and keys in PEM, from files or from the configuration itself.

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error, PemObject},
};

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
            let cause = if has(&bytes, "PRIVATE KEY-----") {
                "there is no certificate in PEM, but a private key: use the file of the certificate, or exchange the values of certificate and key"
            } else {
                "there is no certificate in PEM (-----BEGIN CERTIFICATE-----): convert it with `openssl x509 -outform PEM`"
            };
            Err(fault(source, cause))
        }
        Ok(all) => Ok(all),
        Err(cause) => Err(fault(source, not_pem(&cause))),
    }
}

/// The first private key of `source`.
pub(super) fn private_key(source: &Source) -> Result<PrivateKeyDer<'static>, Fault> {
    let bytes = bytes(source)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|cause| match cause {
        Error::NoItemsFound if has(&bytes, "BEGIN CERTIFICATE-----") => fault(
            source,
            "there is no private key in PEM, but a certificate: use the file of the key, or exchange the values of certificate and key",
        ),
        Error::NoItemsFound => fault(
            source,
            "there is no private key in PEM; one that is encrypted must be decrypted first (openssl pkey)",
        ),
        cause => fault(source, not_pem(&cause)),
    })
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// What is wrong, without the text: where lines have been joined, the library's error has the whole key.
fn not_pem(cause: &Error) -> &'static str {
    match cause {
        Error::MissingSectionEnd { .. } | Error::IllegalSectionStart { .. } => {
            "it is cut off, or its lines are joined: -----BEGIN ...----- and -----END ...----- are lines of their own"
        }
        // An older form of encrypted keys has a header in the section.
        Error::Base64Decode(_) => {
            "a section is not base64: make it again, or decrypt it first if it is encrypted (openssl pkey)"
        }
        _ => "it is not PEM",
    }
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
    let bytes = match &source.content {
        Content::Inline(text) => text.clone().into_bytes(),
        Content::File(path) => bounded_file::read_regular(path).map_err(|cause| {
            let (key, path) = (source.key, path.clone());
            Fault::new(source.line, Problem::File { key, path, cause })
        })?,
    };
    // The rest was not read, and can have authorities.
    if bytes.len() as u64 > bounded_file::MAX_BYTES {
        return Err(fault(source, format!("it has more than {} bytes", bounded_file::MAX_BYTES)));
    }
    Ok(bytes)
}
