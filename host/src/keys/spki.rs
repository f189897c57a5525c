//! Public keys in their DER form, as far as signing needs to know them: cut out of certificates, and of which kind.

use super::KeyKind;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// `rsaEncryption` with its NULL, and `id-ecPublicKey` with the curves that we sign on (RFC 3279 §2.3, RFC 5480 §2).
const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x2b\x81\x04\x00\x22";

/// The SubjectPublicKeyInfo of a certificate (X.509, DER), if that is one.
pub(super) fn of_certificate(der: &[u8]) -> Option<&[u8]> {
    let mut certificate = Reader(Reader(der).value(SEQUENCE)?);
    let mut body = Reader(certificate.value(SEQUENCE)?);
    if body.peek() == Some(VERSION) {
        body.next()?;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        body.value(tag)?;
    }
    let (tag, whole, _) = body.next()?;
    (tag == SEQUENCE).then_some(whole)
}

/// The kind of a SubjectPublicKeyInfo, and for RSA the bits of its modulus; `None`: none that we sign with.
pub(super) fn kind(spki: &[u8]) -> Option<(KeyKind, usize)> {
    let mut info = Reader(Reader(spki).value(SEQUENCE)?);
    let (_, algorithm, inside) = info.next()?;
    if algorithm == RSA {
        let [0, key @ ..] = info.value(BIT_STRING)? else {
            return None;
        };
        let modulus = Reader(Reader(key).value(SEQUENCE)?).value(INTEGER)?;
        return Some((KeyKind::Rsa, bits(modulus)));
    }
    let mut inside = Reader(inside);
    if inside.value(OBJECT_IDENTIFIER)? != EC {
        return None;
    }
    match inside.value(OBJECT_IDENTIFIER)? {
        P256 => Some((KeyKind::EcP256, 256)),
        P384 => Some((KeyKind::EcP384, 384)),
        _ => None,
    }
}

/// The kind of the curve in `CKA_EC_PARAMS`: an object identifier, DER.
pub(super) fn curve(parameters: &[u8]) -> Option<KeyKind> {
    match Reader(parameters).value(OBJECT_IDENTIFIER)? {
        P256 => Some(KeyKind::EcP256),
        P384 => Some(KeyKind::EcP384),
        _ => None,
    }
}

/// The SubjectPublicKeyInfo of an RSA key.
pub(super) fn of_rsa(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let key = element(SEQUENCE, &[integer(modulus)?, integer(exponent)?].concat());
    Some(element(
        SEQUENCE,
        &[RSA, &element(BIT_STRING, &[&[0], key.as_slice()].concat())].concat(),
    ))
}

/// The SubjectPublicKeyInfo of an EC key; the point as in X9.62, perhaps in an OCTET STRING as PKCS#11 has it.
pub(super) fn of_ec(kind: KeyKind, point: &[u8]) -> Option<Vec<u8>> {
    let (curve, length) = match kind {
        KeyKind::EcP256 => (P256, 65),
        KeyKind::EcP384 => (P384, 97),
        KeyKind::Rsa | KeyKind::Ed25519 => return None,
    };
    let point = match Reader(point).value(0x04) {
        Some(inner) if inner.len() == length => inner,
        _ => point,
    };
    if point.len() != length {
        return None;
    }
    let names = [
        element(OBJECT_IDENTIFIER, EC),
        element(OBJECT_IDENTIFIER, curve),
    ]
    .concat();
    let key = element(BIT_STRING, &[&[0], point].concat());
    Some(element(
        SEQUENCE,
        &[element(SEQUENCE, &names), key].concat(),
    ))
}

/// Bits of a number, leading zeros left out.
pub(super) fn bits(number: &[u8]) -> usize {
    let first = number
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(number.len());
    let digits = &number[first..];
    let unused = digits.first().map_or(0, |byte| byte.leading_zeros());
    (digits.len() * 8).saturating_sub(unused as usize)
}

fn integer(number: &[u8]) -> Option<Vec<u8>> {
    let first = number.iter().position(|byte| *byte != 0)?;
    let digits = &number[first..];
    let sign: &[u8] = if digits[0] & 0x80 == 0 { &[] } else { &[0] };
    Some(element(INTEGER, &[sign, digits].concat()))
}

fn element(tag: u8, value: &[u8]) -> Vec<u8> {
    let bytes = value.len().to_be_bytes();
    let digits = &bytes[bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len())..];
    let mut whole = vec![tag];
    match (value.len(), digits.len()) {
        (0..0x80, _) => whole.push(value.len() as u8),
        (_, count) => {
            whole.push(0x80 | count as u8);
            whole.extend_from_slice(digits);
        }
    }
    whole.extend_from_slice(value);
    whole
}

/// Reads DER element by element: one-byte tags, lengths of up to four octets, never past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Tag, the whole element, its value.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (tag, length, header) = match *self.0 {
            [tag, length @ 0..=0x7F, ..] => (tag, usize::from(length), 2),
            [tag, count @ 0x81..=0x84, ..] => {
                let digits = self.0.get(2..2 + usize::from(count & 0x0F))?;
                let length = digits.iter().try_fold(0_usize, |n, d| {
                    n.checked_mul(256)?.checked_add(usize::from(*d))
                })?;
                (tag, length, 2 + digits.len())
            }
            _ => return None,
        };
        let end = header.checked_add(length)?;
        let whole = self.0.get(..end)?;
        self.0 = &self.0[end..];
        Some((tag, whole, &whole[header..]))
    }

    fn value(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let (tag, _, value) = self.next()?;
        (tag == wanted).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_certificate_is_the_one_it_was_made_with() {
        let kinds = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, KeyKind::EcP256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, KeyKind::EcP384),
        ];
        for (algorithm, expected) in kinds {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::default()
                .self_signed(&key)
                .unwrap();
            let spki = of_certificate(certificate.der()).unwrap();
            assert_eq!(spki, rcgen::PublicKeyData::subject_public_key_info(&key));
            assert_eq!(kind(spki).unwrap().0, expected);
            let point = key.public_key_raw();
            assert_eq!(of_ec(expected, point).as_deref(), Some(spki));
            assert_eq!(
                of_ec(expected, &element(0x04, point)).as_deref(),
                Some(spki)
            );
            assert_eq!(of_ec(expected, &point[1..]), None);
        }
    }

    #[test]
    fn an_rsa_key_is_put_together_and_taken_apart() {
        let modulus = [&[0xC1], [0x55; 255].as_slice()].concat();
        let spki = of_rsa(&modulus, &[1, 0, 1]).unwrap();
        assert_eq!(kind(&spki), Some((KeyKind::Rsa, 2048)));
        let shorter = [&[0x01], [0x55; 255].as_slice()].concat();
        assert_eq!(
            kind(&of_rsa(&shorter, &[3]).unwrap()),
            Some((KeyKind::Rsa, 2041))
        );
    }

    #[test]
    fn what_is_no_certificate_has_no_key() {
        let key = rcgen::KeyPair::generate().unwrap();
        let whole = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap()
            .der()
            .to_vec();
        for end in 0..whole.len() {
            assert_eq!(of_certificate(&whole[..end]), None, "the first {end} bytes");
        }
        for wrong in [
            &b"\x30\x84\xff\xff\xff\xff"[..],
            b"\x30\x80",
            b"\x30\x85\x01\x00\x00\x00\x00",
            b"\x31\x00",
        ] {
            assert_eq!(of_certificate(wrong), None);
            assert_eq!(kind(wrong), None);
        }
    }
}
