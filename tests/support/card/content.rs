//! What is on a card of PKCS#15: a key, its certificate, what its issuer trusts; and who issues it.

use std::collections::BTreeMap;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    PublicKeyData, SignatureAlgorithm,
};

/// A CA.
pub struct Root {
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// The kind of a card's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA of 2048 bits.
    Rsa,
    /// P-256.
    Ec,
    /// P-384.
    Ec384,
}

impl Root {
    /// Makes one.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            certificate: certificate.der().to_vec(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A certificate for a client with this key, DER.
    pub fn issue(&self, name: &str, key: &impl PublicKeyData) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer);
        certificate.expect("a certificate").der().to_vec()
    }
}

/// A public key whose private half is on a card or in a token.
pub struct Public {
    algorithm: &'static SignatureAlgorithm,
    key: Vec<u8>,
}

impl Public {
    /// Takes its SubjectPublicKeyInfo, DER: RSA of 2048 bits, P-256 or P-384.
    ///
    /// # Panics
    ///
    /// On another.
    pub fn new(spki: &[u8]) -> Self {
        // Where the key itself begins in each.
        let (algorithm, begin) = match spki.len() {
            91 => (&PKCS_ECDSA_P256_SHA256, 26),
            120 => (&PKCS_ECDSA_P384_SHA384, 23),
            _ => (&PKCS_RSA_SHA256, 24),
        };
        let key = spki[begin..].to_vec();
        let public = Self { algorithm, key };
        assert_eq!(public.subject_public_key_info(), spki, "an unusual key");
        public
    }
}

impl PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl Key {
    /// Makes one.
    pub fn generate(self) -> KeyPair {
        let algorithm = match self {
            Self::Rsa => &PKCS_RSA_SHA256,
            Self::Ec => &PKCS_ECDSA_P256_SHA256,
            Self::Ec384 => &PKCS_ECDSA_P384_SHA384,
        };
        KeyPair::generate_for(algorithm).expect("a key")
    }
}

/// The files of `p15card.py`.
#[derive(Clone, Debug)]
pub struct Content(BTreeMap<String, Vec<u8>>);

impl Content {
    /// A key, a certificate that `root` has issued for it, and `root` as the one that is trusted.
    pub fn new(root: &Root, key: Key) -> Self {
        Self::with_key(root, &key.generate())
    }

    /// The same for a key that is there.
    pub fn with_key(root: &Root, key: &KeyPair) -> Self {
        let own = root.issue("card", key);
        Self(BTreeMap::new())
            .with("key.p8", key.serialized_der())
            .with("own.der", &own)
            .with("trusted-root.der", root.certificate())
    }

    /// Adds a file, or replaces it: `own.der`, `own-NAME.der`, `trusted-NAME.der`, `useful-NAME.der`, `bootstrap`,
    /// `secret`.
    pub fn with(mut self, name: &str, bytes: &[u8]) -> Self {
        self.0.insert(name.to_owned(), bytes.to_vec());
        self
    }

    /// Leaves a file out.
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// A file.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn file(&self, name: &str) -> &[u8] {
        &self.0[name]
    }

    pub(super) fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.0
    }
}
