//! What is signed: messages are hashed and padded here, so that a card needs to know no more than raw RSA or ECDSA.

use aws_lc_rs::digest::{self, Algorithm};
use aws_lc_rs::rand;

use super::Scheme;

/// DER of `DigestInfo` before the hash (RFC 8017 §9.2, note 1).
const SHA256_INFO: &[u8] =
    b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
const SHA384_INFO: &[u8] =
    b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30";
const SHA512_INFO: &[u8] =
    b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40";

/// The hash of a scheme, with its `DigestInfo`. Ed25519 hashes by itself, and is not for cards.
fn hash(scheme: Scheme) -> Option<(&'static Algorithm, &'static [u8])> {
    match scheme {
        Scheme::RsaPkcs1Sha256 | Scheme::RsaPssSha256 | Scheme::EcdsaP256Sha256 => {
            Some((&digest::SHA256, SHA256_INFO))
        }
        Scheme::RsaPkcs1Sha384 | Scheme::RsaPssSha384 | Scheme::EcdsaP384Sha384 => {
            Some((&digest::SHA384, SHA384_INFO))
        }
        Scheme::RsaPkcs1Sha512 | Scheme::RsaPssSha512 => Some((&digest::SHA512, SHA512_INFO)),
        Scheme::Ed25519 => None,
    }
}

/// Whether the scheme pads by PKCS#1 v1.5.
pub(super) fn is_pkcs1(scheme: Scheme) -> bool {
    matches!(
        scheme,
        Scheme::RsaPkcs1Sha256 | Scheme::RsaPkcs1Sha384 | Scheme::RsaPkcs1Sha512
    )
}

/// Whether the scheme pads by PSS.
fn is_pss(scheme: Scheme) -> bool {
    matches!(
        scheme,
        Scheme::RsaPssSha256 | Scheme::RsaPssSha384 | Scheme::RsaPssSha512
    )
}

/// The hash of `message`; `None` for Ed25519.
pub(super) fn digest(scheme: Scheme, message: &[u8]) -> Option<Vec<u8>> {
    let (algorithm, _) = hash(scheme)?;
    Some(digest::digest(algorithm, message).as_ref().to_vec())
}

/// `DigestInfo` over `message`: what a card that pads by itself (PKCS#1 v1.5) wants.
pub(super) fn digest_info(scheme: Scheme, message: &[u8]) -> Option<Vec<u8>> {
    let (_, info) = hash(scheme)?;
    Some([info, &digest(scheme, message)?].concat())
}

/// The whole block for a raw RSA operation with a modulus of so many bits; `None`: the scheme is not RSA's, or the
/// modulus is too short for it.
pub(super) fn rsa_block(scheme: Scheme, message: &[u8], modulus_bits: usize) -> Option<Vec<u8>> {
    match scheme {
        scheme if is_pkcs1(scheme) => pkcs1(&digest_info(scheme, message)?, modulus_bits),
        scheme if is_pss(scheme) => pss(scheme, message, modulus_bits),
        _ => None,
    }
}

/// EMSA-PKCS1-v1_5 (RFC 8017 §9.2).
fn pkcs1(info: &[u8], modulus_bits: usize) -> Option<Vec<u8>> {
    let length = modulus_bits.div_ceil(8);
    let padding = length.checked_sub(info.len() + 3).filter(|n| *n >= 8)?;
    Some([&[0x00, 0x01], vec![0xFF; padding].as_slice(), &[0x00], info].concat())
}

/// EMSA-PSS (RFC 8017 §9.1.1), the salt as long as the hash (RFC 8446 §4.2.3).
fn pss(scheme: Scheme, message: &[u8], modulus_bits: usize) -> Option<Vec<u8>> {
    let (algorithm, _) = hash(scheme)?;
    let hashed = digest(scheme, message)?;
    let mut salt = vec![0; hashed.len()];
    rand::fill(&mut salt).ok()?;
    pss_with(algorithm, &hashed, &salt, modulus_bits)
}

fn pss_with(
    algorithm: &'static Algorithm,
    hashed: &[u8],
    salt: &[u8],
    modulus_bits: usize,
) -> Option<Vec<u8>> {
    let bits = modulus_bits.checked_sub(1)?;
    let length = bits.div_ceil(8);
    let h = digest::digest(algorithm, &[&[0; 8], hashed, salt].concat());
    let h = h.as_ref();
    let padding = length.checked_sub(h.len() + salt.len() + 2)?;
    let mut masked = [vec![0; padding].as_slice(), &[0x01], salt].concat();
    for (byte, mask) in masked.iter_mut().zip(mgf1(algorithm, h)) {
        *byte ^= mask;
    }
    // The block has one bit less than the modulus.
    masked[0] &= 0xFF >> (8 * length - bits);
    let block = [masked.as_slice(), h, &[0xBC]].concat();
    let missing = modulus_bits.div_ceil(8) - length;
    Some([vec![0; missing], block].concat())
}

/// MGF1 (RFC 8017 §B.2.1), as long as it is needed.
fn mgf1<'a>(algorithm: &'static Algorithm, seed: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
    (0_u32..).flat_map(move |counter| {
        let block = digest::digest(algorithm, &[seed, &counter.to_be_bytes()].concat());
        block.as_ref().to_vec()
    })
}

/// ECDSA's `r` and `s`, each half of `raw`, as the DER that TLS wants; `None` if they are no such pair.
pub(super) fn ecdsa_der(raw: &[u8]) -> Option<Vec<u8>> {
    // Two numbers of P-521 at most: every length below fits into one or two octets.
    if raw.is_empty() || !raw.len().is_multiple_of(2) || raw.len() > 132 {
        return None;
    }
    let (r, s) = raw.split_at(raw.len() / 2);
    let numbers = [integer(r)?, integer(s)?].concat();
    let length = match u8::try_from(numbers.len()).ok()? {
        short @ 0..=0x7F => vec![short],
        long => vec![0x81, long],
    };
    Some([&[0x30], length.as_slice(), &numbers].concat())
}

/// DER of a positive number; `None` for zero, which no signature has.
fn integer(number: &[u8]) -> Option<Vec<u8>> {
    let first = number.iter().position(|byte| *byte != 0)?;
    let digits = &number[first..];
    let sign: &[u8] = if digits[0] & 0x80 == 0 { &[] } else { &[0] };
    let length = u8::try_from(sign.len() + digits.len()).ok()?;
    Some([&[0x02, length], sign, digits].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pkcs1_block_is_as_long_as_the_modulus() {
        let block = rsa_block(Scheme::RsaPkcs1Sha256, b"", 2048).unwrap();
        assert_eq!(block.len(), 256);
        assert_eq!(block[..3], [0, 1, 0xFF]);
        assert_eq!(block[256 - 52..256 - 32], [&[0], SHA256_INFO].concat());
        assert_eq!(rsa_block(Scheme::RsaPkcs1Sha512, b"", 512), None);
    }

    /// Undoes EMSA-PSS as a verifier does (RFC 8017 §9.1.2).
    fn salt_of(block: &[u8], hashed: &[u8], modulus_bits: usize) -> Vec<u8> {
        let length = (modulus_bits - 1).div_ceil(8);
        let block = &block[block.len() - length..];
        assert_eq!(block.last(), Some(&0xBC));
        let (masked, h) = block[..length - 1].split_at(length - 1 - 32);
        let unused = 8 * length - (modulus_bits - 1);
        let mut data: Vec<u8> = masked
            .iter()
            .zip(mgf1(&digest::SHA256, h))
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(masked[0] & !(0xFF >> unused), 0);
        data[0] &= 0xFF >> unused;
        let one = data.iter().position(|byte| *byte != 0).unwrap();
        assert_eq!(data[one], 1);
        let salt = data.split_off(one + 1);
        let again = digest::digest(&digest::SHA256, &[&[0; 8], hashed, &salt].concat());
        assert_eq!(again.as_ref(), h);
        salt
    }

    #[test]
    fn a_pss_block_is_what_a_verifier_undoes() {
        for bits in [2048, 2047, 2049, 3072] {
            let block = rsa_block(Scheme::RsaPssSha256, b"message", bits).unwrap();
            assert_eq!(block.len(), bits.div_ceil(8));
            let hashed = digest(Scheme::RsaPssSha256, b"message").unwrap();
            assert_eq!(salt_of(&block, &hashed, bits).len(), 32);
        }
        let two = [(); 2].map(|()| rsa_block(Scheme::RsaPssSha256, b"message", 2048));
        assert_ne!(two[0], two[1], "the salt is random");
        assert_eq!(rsa_block(Scheme::RsaPssSha512, b"", 1024), None);
    }

    #[test]
    fn ecdsa_numbers_become_der() {
        let raw = [&[0, 0, 0x80], &[0, 0, 0x7F][..]].concat();
        assert_eq!(
            ecdsa_der(&raw).unwrap(),
            [0x30, 7, 0x02, 2, 0, 0x80, 0x02, 1, 0x7F]
        );
        assert_eq!(ecdsa_der(&[0xFF; 96]).unwrap()[..3], [0x30, 102, 0x02]);
        assert_eq!(ecdsa_der(&[0xFF; 132]).unwrap()[..3], [0x30, 0x81, 138]);
        for wrong in [&[][..], &[1], &[0, 1], &[1; 134]] {
            assert_eq!(ecdsa_der(wrong), None);
        }
    }
}
