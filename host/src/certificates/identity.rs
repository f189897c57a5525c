//! What the device shows of itself: a certificate chain, and a key that somebody else signs with.
//!
//! The private key is never in this process: the handshake asks for each signature through [`Signer`].

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, alg_id};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::CertificateError;
use super::credentials::fingerprint;
use crate::keys::{KeyError, KeyKind, KeyRef, Scheme, Signer};

/// Certificates of one chain. Stops a document that has thousands of them.
const MAX_CHAIN: usize = 10;

/// Schemes, the preferred first: PSS where the server takes it, which in TLS 1.3 it must (RFC 8446 §4.2.3); the shortest
/// hash, which every card can.
const SCHEMES: [(SignatureScheme, Scheme); 9] = [
    (SignatureScheme::RSA_PSS_SHA256, Scheme::RsaPssSha256),
    (SignatureScheme::RSA_PSS_SHA384, Scheme::RsaPssSha384),
    (SignatureScheme::RSA_PSS_SHA512, Scheme::RsaPssSha512),
    (SignatureScheme::RSA_PKCS1_SHA256, Scheme::RsaPkcs1Sha256),
    (SignatureScheme::RSA_PKCS1_SHA384, Scheme::RsaPkcs1Sha384),
    (SignatureScheme::RSA_PKCS1_SHA512, Scheme::RsaPkcs1Sha512),
    (
        SignatureScheme::ECDSA_NISTP256_SHA256,
        Scheme::EcdsaP256Sha256,
    ),
    (
        SignatureScheme::ECDSA_NISTP384_SHA384,
        Scheme::EcdsaP384Sha384,
    ),
    (SignatureScheme::ED25519, Scheme::Ed25519),
];

/// A certificate chain, and the key that signs for it.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyRef,
    kind: KeyKind,
    signer: Signer,
}

impl Identity {
    /// Takes a chain (DER, the device's own certificate first) and its key, whose SubjectPublicKeyInfo (DER) is
    /// `public_key`. Refuses a key that does not belong to the first certificate.
    pub fn new(
        chain_der: &[Vec<u8>],
        key: KeyRef,
        public_key: &[u8],
        signer: Signer,
    ) -> Result<Self, CertificateError> {
        let chain = chain_of(chain_der)?;
        let own = chain.first().ok_or(CertificateError::Key)?;
        let own = ParsedCertificate::try_from(own).map_err(|_| damaged())?;
        if own.subject_public_key_info() != SubjectPublicKeyInfoDer::from(public_key) {
            return Err(CertificateError::KeyMismatch);
        }
        let kind = kind_of(public_key).ok_or(CertificateError::Key)?;
        Ok(Self {
            chain,
            key,
            kind,
            signer,
        })
    }

    /// What names the certificate: as [`super::Credential::id`].
    pub fn id(&self) -> String {
        let own = self.chain.first().map_or(&[][..], |own| own);
        fingerprint(own).chars().take(16).collect()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.id())
    }
}

/// Refuses a chain (DER, the device's own certificate first) and a private key (PEM or DER) that are no pair or cannot
/// be used.
pub fn check_pair(chain_der: &[Vec<u8>], key: &[u8]) -> Result<(), CertificateError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let pair = CertifiedKey::from_der(chain_of(chain_der)?, private_key(key)?, &provider);
    let pair = pair.map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => CertificateError::KeyMismatch,
        rustls::Error::InvalidCertificate(_) => damaged(),
        // The library's words about a key are not repeated: they could quote it.
        _ => CertificateError::Key,
    })?;
    let public = pair.key.public_key().ok_or(CertificateError::Key)?;
    kind_of(&public).map(drop).ok_or(CertificateError::Key)
}

fn chain_of(chain_der: &[Vec<u8>]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    if chain_der.is_empty() || chain_der.len() > MAX_CHAIN {
        return Err(CertificateError::Chain {
            reason: format!(
                "it has {} certificates instead of 1 to {MAX_CHAIN}",
                chain_der.len()
            ),
        });
    }
    let chain = chain_der.iter();
    Ok(chain
        .map(|der| CertificateDer::from(der.as_slice()).into_owned())
        .collect())
}

fn damaged() -> CertificateError {
    CertificateError::Chain {
        reason: "the first certificate is damaged".into(),
    }
}

/// What kind of key a SubjectPublicKeyInfo (DER) holds, among those that sign in TLS here.
fn kind_of(public_key: &[u8]) -> Option<KeyKind> {
    let kinds = [
        (alg_id::RSA_ENCRYPTION, KeyKind::Rsa),
        (alg_id::ECDSA_P256, KeyKind::EcP256),
        (alg_id::ECDSA_P384, KeyKind::EcP384),
        (alg_id::ED25519, KeyKind::Ed25519),
    ];
    // SEQUENCE { AlgorithmIdentifier, BIT STRING }, whose own header has 2 to 4 bytes (RFC 5280 §4.1).
    let is = |algorithm: &[u8]| {
        let mut identifier = vec![0x30, u8::try_from(algorithm.len()).unwrap_or_default()];
        identifier.extend_from_slice(algorithm);
        (2..=4).any(|header| {
            public_key
                .get(header..)
                .is_some_and(|rest| rest.starts_with(&identifier))
        })
    };
    kinds
        .into_iter()
        .find_map(|(algorithm, kind)| is(algorithm.as_ref()).then_some(kind))
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
        ParsedCertificate::try_from(&CertificateDer::from(der.as_slice()))
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

/// Shows the identity when one connection's server asks for it, and remembers that it did, and why it could not.
#[derive(Debug)]
pub(super) struct Presenter {
    identity: Option<Arc<Identity>>,
    deadline: Instant,
    asked: AtomicBool,
    failure: Arc<Mutex<Option<KeyError>>>,
}

impl Presenter {
    /// Signatures are waited for until `deadline`.
    pub(super) fn new(identity: Option<Arc<Identity>>, deadline: Instant) -> Self {
        Self {
            identity,
            deadline,
            asked: AtomicBool::new(false),
            failure: Arc::default(),
        }
    }

    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Why there was no signature, where that is what went wrong: the handshake itself knows only that.
    pub(super) fn take_failure(&self) -> Option<KeyError> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }
}

impl ResolvesClientCert for Presenter {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        let identity = self.identity.clone()?;
        let chain = identity.chain.clone();
        let key = Elsewhere {
            identity,
            deadline: self.deadline,
            failure: Arc::clone(&self.failure),
        };
        Some(Arc::new(CertifiedKey::new(chain, Arc::new(key))))
    }

    /// Always: without it rustls does not even ask, and nobody would know that the server wanted one.
    fn has_certs(&self) -> bool {
        true
    }
}

/// The key of an identity, for one connection.
#[derive(Clone, Debug)]
struct Elsewhere {
    identity: Arc<Identity>,
    deadline: Instant,
    failure: Arc<Mutex<Option<KeyError>>>,
}

impl SigningKey for Elsewhere {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let (scheme, ours) = SCHEMES.into_iter().find(|(scheme, ours)| {
            ours.key_kind() == self.identity.kind && offered.contains(scheme)
        })?;
        Some(Box::new(InScheme {
            key: self.clone(),
            scheme,
            ours,
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.identity.kind {
            KeyKind::Rsa => SignatureAlgorithm::RSA,
            KeyKind::EcP256 | KeyKind::EcP384 => SignatureAlgorithm::ECDSA,
            KeyKind::Ed25519 => SignatureAlgorithm::ED25519,
        }
    }
}

/// It signs in this scheme.
#[derive(Debug)]
struct InScheme {
    key: Elsewhere,
    scheme: SignatureScheme,
    ours: Scheme,
}

impl rustls::sign::Signer for InScheme {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let Elsewhere {
            identity,
            deadline,
            failure,
        } = &self.key;
        let signed = identity
            .signer
            .sign(&identity.key, self.ours, message, *deadline);
        signed.map_err(|error| {
            let words = error.to_string();
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            rustls::Error::General(words)
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
