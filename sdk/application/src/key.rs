//! Certificates and keys in files, and signing.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PSS_SHA256, RsaKeyPair,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

/// How a key signs; the names of RFC 8446 §4.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `rsa_pss_rsae_sha256`: salt as long as the hash.
    RsaPssSha256,
    /// `ecdsa_secp256r1_sha256`: the signature in DER.
    EcdsaP256Sha256,
    /// `ecdsa_secp384r1_sha384`: the signature in DER.
    EcdsaP384Sha384,
    /// `ed25519`.
    Ed25519,
}

impl Scheme {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rsa_pss_rsae_sha256" => Self::RsaPssSha256,
            "ecdsa_secp256r1_sha256" => Self::EcdsaP256Sha256,
            "ecdsa_secp384r1_sha384" => Self::EcdsaP384Sha384,
            "ed25519" => Self::Ed25519,
            _ => return None,
        })
    }
}

/// Something that signs with the key of the application's certificate, wherever that is.
pub trait Sign {
    /// A signature over the message, which is not hashed yet.
    fn sign(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, Error>;
}

/// A private key that was read from a file. Shown by nothing.
pub struct KeyFile(PrivateKeyDer<'static>);

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyFile")
    }
}

impl KeyFile {
    /// Takes a key in PEM: PKCS#8, or SEC 1 or PKCS#1.
    pub fn read(pem: &[u8]) -> Result<Self, Error> {
        PrivateKeyDer::from_pem_slice(pem).map(Self).map_err(|_| {
            Error::Credential(
                "the file holds no private key in PEM; write one with `openssl pkey`".into(),
            )
        })
    }
}

impl Sign for KeyFile {
    fn sign(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, Error> {
        let der = self.0.secret_der();
        let signed = match scheme {
            Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha384 => {
                let algorithm = match scheme {
                    Scheme::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
                    _ => &ECDSA_P384_SHA384_ASN1_SIGNING,
                };
                let key =
                    EcdsaKeyPair::from_private_key_der(algorithm, der).map_err(|_| mismatch())?;
                key.sign(&SystemRandom::new(), message)
                    .map(|signature| signature.as_ref().to_vec())
            }
            Scheme::RsaPssSha256 => {
                let key = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
                let key = key.map_err(|_| mismatch())?;
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    &RSA_PSS_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .map(|()| signature)
            }
            Scheme::Ed25519 => {
                let key =
                    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| mismatch())?;
                Ok(key.sign(message).as_ref().to_vec())
            }
        };
        signed.map_err(|_| Error::Credential("the key does not sign; take another".into()))
    }
}

fn mismatch() -> Error {
    Error::Credential(
        "the key is not of the certificate's kind; take the key that was made with it".into(),
    )
}

/// The certificates of a PEM file, DER, in their order.
pub fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let found = CertificateDer::pem_slice_iter(pem).map(|der| der.map(|der| der.to_vec()));
    match found.collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(Error::Credential(
            "the file holds no certificate in PEM; write one with `openssl x509`".into(),
        )),
    }
}
