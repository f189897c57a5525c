//! Whether somebody holds a private key: they sign what nobody could know before, and the certificate verifies it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};

use super::describe;
use crate::keys::Scheme;

/// What the message begins with. No TLS version signs anything that begins like this, so a proof is good for nothing
/// else.
const CONTEXT: &[u8] = b"bailiwick proof of possession, version 1\0";

/// A fresh message for somebody to sign: [`CONTEXT`] and 32 random bytes. `None`: the system gives no random bytes.
pub fn challenge() -> Option<Vec<u8>> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    Some([CONTEXT, &random].concat())
}

/// Whether `signature` over `message` was made with the key of this certificate (DER).
pub fn verifies(certificate: &[u8], scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
    let Ok((spki, key)) = describe::public_key(certificate) else {
        return false;
    };
    let algorithm: &dyn VerificationAlgorithm = match scheme {
        Scheme::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        Scheme::RsaPkcs1Sha384 => &RSA_PKCS1_2048_8192_SHA384,
        Scheme::RsaPkcs1Sha512 => &RSA_PKCS1_2048_8192_SHA512,
        Scheme::RsaPssSha256 => &RSA_PSS_2048_8192_SHA256,
        Scheme::RsaPssSha384 => &RSA_PSS_2048_8192_SHA384,
        Scheme::RsaPssSha512 => &RSA_PSS_2048_8192_SHA512,
        Scheme::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
        Scheme::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1,
        // Only this form of the key carries its algorithm: 32 bytes alone could be anything.
        Scheme::Ed25519 if !is_ed25519(&spki) => return false,
        Scheme::Ed25519 => &ED25519,
    };
    UnparsedPublicKey::new(algorithm, key)
        .verify(message, signature)
        .is_ok()
}

/// RFC 8410 §4: the whole prefix of such a key.
fn is_ed25519(spki: &[u8]) -> bool {
    spki.starts_with(&[
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ])
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    use super::super::testing::Ca;
    use super::*;

    #[test]
    fn only_the_key_of_the_certificate_proves_it() {
        let ca = Ca::new("CA");
        let (own, other) = (ca.client("own"), ca.client("other"));
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &own.key_der).unwrap();
        let message = challenge().unwrap();
        let signature = key.sign(&SystemRandom::new(), &message).unwrap();
        let verifies = |certificate: &[u8], scheme, message: &[u8]| {
            verifies(certificate, scheme, message, signature.as_ref())
        };
        let scheme = Scheme::EcdsaP256Sha256;
        assert!(verifies(&own.chain_der[0], scheme, &message));
        assert!(!verifies(&other.chain_der[0], scheme, &message));
        assert!(!verifies(&own.chain_der[0], scheme, &challenge().unwrap()));
        for other in [
            Scheme::EcdsaP384Sha384,
            Scheme::Ed25519,
            Scheme::RsaPssSha256,
            Scheme::RsaPkcs1Sha256,
        ] {
            assert!(!verifies(&own.chain_der[0], other, &message), "{other:?}");
        }
        assert!(!verifies(b"?", scheme, &message));
        assert_ne!(challenge(), challenge());
    }
}
