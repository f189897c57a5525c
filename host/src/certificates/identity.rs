//! What the device shows of itself: a certificate chain, and something that signs with its key.
//!
//! The key is behind [`IdentitySource`], so that it need not be in this process: a file today.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::CertificateError;

/// Certificates of one chain. Stops a document that has thousands of them.
const MAX_CHAIN: usize = 10;
/// Bytes of a private key, in PEM or DER. Stops a file that is not a key from being read into memory.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Where an identity of the device comes from.
pub trait IdentitySource: fmt::Debug + Send + Sync {
    /// The chain, the device's own certificate first, and the key that signs for it.
    fn certified_key(&self) -> Arc<CertifiedKey>;
}

/// An identity whose key lies in a file.
pub struct FileIdentity(Arc<CertifiedKey>);

impl FileIdentity {
    /// Takes a chain (DER, the device's own certificate first) and the key in `key_file` (PEM).
    pub fn read(chain_der: &[Vec<u8>], key_file: &Path) -> Result<Self, CertificateError> {
        let key = read_bounded(key_file).map_err(|source| CertificateError::KeyFile {
            path: key_file.to_owned(),
            source,
        })?;
        Self::new(chain_der, &key)
    }

    /// Takes a chain (DER, the device's own certificate first) and its key (PEM or DER). Refuses a key
    /// that does not belong to the first certificate.
    pub fn new(chain_der: &[Vec<u8>], key: &[u8]) -> Result<Self, CertificateError> {
        if chain_der.is_empty() || chain_der.len() > MAX_CHAIN {
            return Err(CertificateError::Chain {
                reason: format!(
                    "it has {} certificates instead of 1 to {MAX_CHAIN}",
                    chain_der.len()
                ),
            });
        }
        let chain: Vec<_> = chain_der
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()).into_owned())
            .collect();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified =
            CertifiedKey::from_der(chain, private_key(key)?, &provider).map_err(|e| match e {
                rustls::Error::InconsistentKeys(_) => CertificateError::KeyMismatch,
                rustls::Error::InvalidCertificate(_) => CertificateError::Chain {
                    reason: "the first certificate is damaged".into(),
                },
                // The library's words about a key are not repeated: they could quote it.
                _ => CertificateError::Key,
            })?;
        Ok(Self(Arc::new(certified)))
    }
}

impl fmt::Debug for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileIdentity")
    }
}

impl IdentitySource for FileIdentity {
    fn certified_key(&self) -> Arc<CertifiedKey> {
        self.0.clone()
    }
}

/// The certificates in `bytes`, as DER: one certificate in DER, or any number in PEM.
pub fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    let damaged = |reason: &str| CertificateError::Chain {
        reason: reason.to_owned(),
    };
    let chain = if is_pem(bytes) {
        CertificateDer::pem_slice_iter(bytes)
            .take(MAX_CHAIN + 1)
            .map(|c| c.map(|c| c.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| damaged("its PEM text is damaged"))?
    } else {
        vec![bytes.to_vec()]
    };
    if chain.is_empty() || chain.len() > MAX_CHAIN {
        return Err(damaged("it must hold between 1 and 10 certificates"));
    }
    for der in &chain {
        rustls::server::ParsedCertificate::try_from(&CertificateDer::from(der.as_slice()))
            .map_err(|_| damaged("a certificate in it is neither DER nor PEM of X.509"))?;
    }
    Ok(chain)
}

/// The private key in `bytes` (PEM or DER of PKCS#8, SEC 1 or PKCS#1), in PEM.
pub fn private_key_pem(bytes: &[u8]) -> Result<String, CertificateError> {
    use base64::Engine;
    let key = private_key(bytes)?;
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let text = base64::engine::general_purpose::STANDARD.encode(key.secret_der());
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (position, letter) in text.chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str(&format!("\n-----END {label}-----\n"));
    Ok(pem)
}

fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateError> {
    if is_pem(bytes) {
        PrivateKeyDer::from_pem_slice(bytes).map_err(|_| CertificateError::Key)
    } else {
        PrivateKeyDer::try_from(bytes.to_vec()).map_err(|_| CertificateError::Key)
    }
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN ")
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_KEY_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Shows the identity when one connection's server asks for it, and remembers that it did.
#[derive(Debug)]
pub(super) struct Presenter {
    identity: Option<Arc<dyn IdentitySource>>,
    asked: AtomicBool,
}

impl Presenter {
    pub(super) fn new(identity: Option<Arc<dyn IdentitySource>>) -> Self {
        Self {
            identity,
            asked: AtomicBool::new(false),
        }
    }

    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Presenter {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.identity
            .as_ref()
            .map(|identity| identity.certified_key())
    }

    /// Always: without it rustls does not even ask, and nobody would know that the server wanted one.
    fn has_certs(&self) -> bool {
        true
    }
}
