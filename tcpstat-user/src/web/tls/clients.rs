//! Which certificates of clients are accepted.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use thiserror::Error;

use super::{names::names, pem};
use crate::web::config::{ClientAuth, Fault, TlsSettings};

#[derive(Debug, Error)]
#[error("the client's certificate has none of the names in client_allowed_sans")]
struct NameNotAllowed;

/// `None` if no certificate is requested.
pub(super) fn verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Fault> {
    // Read even if nothing is compared with it, so that its errors are reported.
    let authorities = settings.client_ca.as_ref().map(|source| {
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates(source)? {
            roots.add(certificate).map_err(|cause| pem::fault(source, cause.to_string()))?;
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|cause| pem::fault(source, cause.to_string()))
    });
    let authorities = authorities.transpose()?.filter(|_| settings.client_auth.verifies());
    if settings.client_auth == ClientAuth::None {
        return Ok(None);
    }
    Ok(Some(Arc::new(Clients {
        authorities,
        required: settings.client_auth.requires(),
        allowed_names: settings.allowed_sans.clone(),
        algorithms: provider.signature_verification_algorithms,
    })))
}

/// In every case a client must prove that it has the key of its certificate.
#[derive(Debug)]
struct Clients {
    /// Of which one must have issued a certificate; `None` for any certificate.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    /// Whether a client without a certificate is refused.
    required: bool,
    /// Of which a certificate must have one; `None` for any name.
    allowed_names: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.as_ref().map_or(&[], |authorities| authorities.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            authorities.verify_client_cert(certificate, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_names
            && !names(certificate).iter().any(|name| allowed.contains(name))
        {
            let cause = OtherError(Arc::new(NameNotAllowed));
            return Err(Error::InvalidCertificate(CertificateError::Other(cause)));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
