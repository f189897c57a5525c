//! Who is the peer: a server is of an authority if its chain ends in one of that authority's anchors, at
//! this time, for the name it was called by. Nothing else speaks for it.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

use super::CertificateError;

/// Anchors that one authority may have. Stops an account whose every handshake searches thousands.
const MAX_ANCHORS: usize = 64;

/// A verifier that knows these anchors (X.509, DER) and no others. An anchor's own validity dates do not
/// count (RFC 5280 §6.1.1 d: an anchor is a name and a key); those of everything below it do.
pub(super) fn by_anchors(
    anchors_der: &[Vec<u8>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, CertificateError> {
    if anchors_der.is_empty() {
        return Err(CertificateError::NoAnchors);
    }
    if anchors_der.len() > MAX_ANCHORS {
        return Err(CertificateError::TooManyAnchors { limit: MAX_ANCHORS });
    }
    let mut anchors = RootCertStore::empty();
    for (index, der) in anchors_der.iter().enumerate() {
        anchors
            .add(CertificateDer::from(der.as_slice()))
            .map_err(|e| CertificateError::Anchor {
                index,
                reason: e.to_string(),
            })?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider.clone())
        .build()
        .map_err(|e| CertificateError::Device {
            reason: e.to_string(),
        })
}
