//! Who is the peer: a server is of an authority if its chain ends in one of that authority's anchors, at
//! this time, for the name it was called by, and by that authority's rules. Nothing else speaks for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError as Rejected, DigitallySignedStruct, Error as Tls, OtherError, RootCertStore,
    SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertificateError, Clock, Rules};

/// Anchors that one authority may have. Stops an account whose every handshake searches thousands.
const MAX_ANCHORS: usize = 64;

/// A verifier that knows these anchors (X.509, DER) and no others. An anchor's own validity dates do not
/// count (RFC 5280 §6.1.1 d: an anchor is a name and a key); those of everything below it do.
pub(super) fn by_anchors(
    anchors_der: &[Vec<u8>],
    rules: &Rules,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, CertificateError> {
    if anchors_der.is_empty() {
        return Err(CertificateError::NoAnchors);
    }
    if anchors_der.len() > MAX_ANCHORS {
        return Err(CertificateError::TooManyAnchors { limit: MAX_ANCHORS });
    }
    rules.check()?;
    let mut anchors = RootCertStore::empty();
    for (index, der) in anchors_der.iter().enumerate() {
        anchors
            .add(CertificateDer::from(der.as_slice()))
            .map_err(|e| CertificateError::Anchor {
                index,
                reason: e.to_string(),
            })?;
    }
    let mut builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider.clone());
    if !rules.crls_der.is_empty() {
        // The whole chain, and what no list covers is refused: the library's own defaults.
        builder = builder
            .with_crls(rules.crls())
            .enforce_revocation_expiration();
    }
    let chain = builder.build().map_err(|e| CertificateError::Device {
        reason: e.to_string(),
    })?;
    Ok(Arc::new(Judge {
        chain,
        pins: rules.pins.clone(),
        clock: rules.clock.clone(),
    }))
}

/// Judges chain, name and revocation at a time that is not before the clock's floor, then the pins.
struct Judge {
    chain: Arc<WebPkiServerVerifier>,
    pins: Vec<[u8; 32]>,
    clock: Clock,
}

/// The key of the server is not among those that the account names.
#[derive(Debug, thiserror::Error)]
#[error("its key is none of those that the account names (Ext/Pin)")]
pub(super) struct NoPinFits;

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Tls> {
        let now =
            UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().max(self.clock.floor())));
        let verified = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        if !self.pins.is_empty() {
            let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
            let found = digest(&SHA256, &key);
            if !self.pins.iter().any(|pin| pin == found.as_ref()) {
                let other = OtherError(Arc::new(NoPinFits));
                return Err(Tls::InvalidCertificate(Rejected::Other(other)));
            }
        }
        if let Ok((_, certificate)) = X509Certificate::from_der(end_entity) {
            self.clock
                .passed(certificate.validity().not_before.timestamp());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Tls> {
        self.chain
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Tls> {
        self.chain
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge")
            .field("pins", &self.pins.len())
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
