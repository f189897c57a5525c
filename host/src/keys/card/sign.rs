//! What a card's key signs: blocks of RSA (RFC 8017), padded here because TLS 1.3 wants PSS and cards seldom know it, and
//! hashes for ECDSA. And what a certificate says about its key.

use super::error::CardError;
use super::tlv::{Budget, Reader, TlvError};
use crate::keys::{KeyKind, Scheme, padding};

const SEQUENCE: u32 = 0x30;
const INTEGER: u32 = 0x02;
const BIT_STRING: u32 = 0x03;
const OID: u32 = 0x06;

const RSA: [u8; 9] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1];
const EC: [u8; 7] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1];
const P256: [u8; 8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7];
const P384: [u8; 5] = [0x2B, 0x81, 4, 0, 0x22];

/// RSA keys, bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub(super) kind: KeyKind,
    /// Size of RSA's modulus, or of the curve.
    pub(super) bits: usize,
    /// SubjectPublicKeyInfo, DER.
    pub(super) spki: Vec<u8>,
}

impl PublicKey {
    /// The key of an X.509 certificate (RFC 5280 §4.1), which is not verified.
    pub(super) fn of_certificate(der: &[u8]) -> Result<Self, TlvError> {
        let budget = Budget::new();
        let certificate = Reader::new(der, &budget).expect(SEQUENCE)?;
        let mut body = certificate.inner()?.expect(SEQUENCE)?.inner()?;
        body.optional(0xA0)?;
        body.expect(INTEGER)?;
        // Signature algorithm, issuer, validity, subject.
        for _ in 0..4 {
            body.expect(SEQUENCE)?;
        }
        let spki = body.expect(SEQUENCE)?;
        let mut parts = spki.inner()?;
        let mut algorithm = parts.expect(SEQUENCE)?.inner()?;
        let name = algorithm.expect(OID)?.value;
        let key = parts.expect(BIT_STRING)?;
        let (kind, bits) = if name == RSA {
            let bits = rsa_bits(key.value, &budget)?;
            (KeyKind::Rsa, bits)
        } else if name == EC {
            match algorithm.expect(OID)?.value {
                curve if curve == P256 => (KeyKind::EcP256, 256),
                curve if curve == P384 => (KeyKind::EcP384, 384),
                _ => return Err(TlvError::Value("a curve that is neither P-256 nor P-384")),
            }
        } else {
            return Err(TlvError::Value("a key that is neither RSA nor EC"));
        };
        Ok(Self {
            kind,
            bits,
            spki: spki.whole.to_vec(),
        })
    }
}

fn rsa_bits(bit_string: &[u8], budget: &Budget) -> Result<usize, TlvError> {
    let bytes = bit_string.get(1..).unwrap_or_default();
    let key = Reader::new(bytes, budget).expect(SEQUENCE)?;
    let modulus = key.inner()?.expect(INTEGER)?.value;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let digits = &modulus[zeros..];
    let spare = digits
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = digits.len() * 8 - spare;
    match RSA_BITS.contains(&bits) {
        true => Ok(bits),
        false => Err(TlvError::Value(
            "an RSA key of less than 2048 or more than 4096 bits",
        )),
    }
}

/// The hash of a message, as an ECDSA key signs it.
pub(super) fn hash(scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, CardError> {
    padding::digest(scheme, message).ok_or(CardError::Scheme(scheme))
}

/// DigestInfo (RFC 8017 §9.2), for cards that pad PKCS#1 themselves.
pub(super) fn digest_info(scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, CardError> {
    match padding::is_pkcs1(scheme) {
        true => padding::digest_info(scheme, message).ok_or(CardError::Scheme(scheme)),
        false => Err(CardError::Scheme(scheme)),
    }
}

/// The block that an RSA key of so many bits raises to its power: as long as its modulus.
pub(super) fn rsa_block(scheme: Scheme, bits: usize, message: &[u8]) -> Result<Vec<u8>, CardError> {
    padding::rsa_block(scheme, message, bits).ok_or(CardError::Scheme(scheme))
}

/// An ECDSA signature as TLS wants it (RFC 3279 §2.2.3): cards give r and s one after the other, or that form already.
pub(super) fn ecdsa_der(signature: &[u8], bits: usize) -> Result<Vec<u8>, CardError> {
    if signature.len() != 2 * bits.div_ceil(8) {
        let budget = Budget::new();
        let sequence = Reader::new(signature, &budget).expect(SEQUENCE)?;
        let mut parts = sequence.inner()?;
        parts.expect(INTEGER)?;
        parts.expect(INTEGER)?;
        return Ok(sequence.whole.to_vec());
    }
    let zero = || CardError::Malformed("a signature of zeros".into());
    padding::ecdsa_der(signature).ok_or_else(zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_curves_become_der() {
        let mut raw = [0; 64];
        raw[31] = 0x7F;
        raw[32] = 0x80;
        let der = ecdsa_der(&raw, 256).unwrap();
        let mut expected = vec![0x30, 38, 2, 1, 0x7F, 2, 33, 0, 0x80];
        expected.extend([0; 31]);
        assert_eq!(der, expected);
        assert_eq!(ecdsa_der(&der, 256).unwrap(), der);
        assert!(ecdsa_der(&[0; 63], 256).is_err());
        assert!(ecdsa_der(&[0; 64], 256).is_err());
    }

    #[test]
    fn blocks_are_as_long_as_the_modulus() {
        for bits in [2048, 2049, 2055, 3072, 4096] {
            for scheme in [
                Scheme::RsaPkcs1Sha512,
                Scheme::RsaPssSha256,
                Scheme::RsaPssSha512,
            ] {
                let block = rsa_block(scheme, bits, b"message").unwrap();
                assert_eq!(block.len(), bits.div_ceil(8), "{scheme:?} {bits}");
                // Less than any modulus of so many bits.
                let spare = 8 * block.len() - (bits - 1);
                assert!(u32::from_be_bytes([block[0], block[1], 0, 0]) < 1 << (32 - spare));
            }
        }
        assert!(rsa_block(Scheme::Ed25519, 2048, b"").is_err());
    }

    #[test]
    fn a_certificate_tells_its_key() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["card".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let public = PublicKey::of_certificate(certificate.der()).unwrap();
        assert_eq!((public.kind, public.bits), (KeyKind::EcP256, 256));
        assert_eq!(
            public.spki,
            rcgen::PublicKeyData::subject_public_key_info(&key)
        );
        assert!(PublicKey::of_certificate(&certificate.der()[..80]).is_err());
    }
}
