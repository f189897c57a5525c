//! What a token holds that has to do with certificates.

use std::time::Instant;

use cryptoki::error::Error;
use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::pins::Pins;
use super::token::{Key, Token, hex, text};
use super::worker::card_id;
use crate::keys::{
    Contents, Effort, FoundCertificate, FoundKey, FoundObject, KeyError, KeyRef, PinState, Shelf,
    spki,
};

/// A certificate, bytes, as on cards.
const MAX_CERTIFICATE: usize = 16 << 10;
/// The arc of OMA: 2.23.43, DER without its header.
const OMA: &[u8] = &[0x67, 0x2B];

impl Token {
    /// Reads the token. Without a PIN, what is public.
    pub(super) fn read(&mut self, pins: &mut Pins) -> Result<Contents, KeyError> {
        let begun = Instant::now();
        let mut skipped = Vec::new();
        let pin = match self.log_in(pins) {
            Ok(()) => pins
                .of(&self.serial)
                .map_or(PinState::NotNeeded, |_| PinState::Known),
            Err(
                error @ (KeyError::PinNeeded { .. }
                | KeyError::LastTry { .. }
                | KeyError::PinRefused { .. }
                | KeyError::PinWrong { .. }),
            ) => {
                skipped.push(format!("private objects: {error}"));
                let left = matches!(error, KeyError::LastTry { .. }).then_some(1);
                PinState::Needed(left)
            }
            Err(error @ KeyError::PinBlocked { .. }) => {
                skipped.push(format!("private objects: {error}"));
                PinState::Blocked
            }
            Err(error) => return Err(error),
        };
        let certificates = self.within(|token, session| {
            let class = [
                Attribute::Class(ObjectClass::CERTIFICATE),
                Attribute::CertificateType(CertificateType::X_509),
            ];
            let found = token.find(session, &class)?.into_iter();
            Ok(found
                .map(|object| token.certificate(session, object))
                .collect::<Vec<_>>())
        })?;
        let (certificates, too_large): (Vec<_>, Vec<_>) =
            certificates.into_iter().partition(Option::is_some);
        let certificates: Vec<_> = certificates.into_iter().flatten().collect();
        if !too_large.is_empty() {
            skipped.push(format!(
                "{} certificates without a value, or with one beyond {MAX_CERTIFICATE} bytes",
                too_large.len()
            ));
        }
        let keys = match pin {
            PinState::NotNeeded | PinState::Known => self.own_keys(pin)?,
            PinState::Needed(_) | PinState::Blocked => self.claimed_keys(pin, &certificates)?,
        };
        let objects = self.within(|token, session| {
            let found = token
                .find(session, &[Attribute::Class(ObjectClass::DATA)])?
                .into_iter();
            Ok(found
                .filter_map(|object| token.object(session, object))
                .collect())
        })?;
        Ok(Contents {
            card: card_id(&self.serial),
            label: self.label.clone(),
            certificates,
            keys,
            objects,
            skipped,
            effort: Effort {
                apdus: 0,
                card_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            },
        })
    }

    fn certificate(&self, session: &Session, object: ObjectHandle) -> Option<FoundCertificate> {
        let der = self.bytes(session, object, AttributeType::Value)?;
        if der.len() > MAX_CERTIFICATE {
            return None;
        }
        // PKCS#11 2.40 §4.6.3: CKA_TRUSTED can be set by the security officer only.
        let shelf = match self.flag(session, object, AttributeType::Trusted) {
            Some(true) if self.believed => Shelf::Trusted,
            _ => Shelf::Own,
        };
        let id = self
            .bytes(session, object, AttributeType::Id)
            .unwrap_or_default();
        Some(FoundCertificate {
            shelf,
            path: self.uri("cert", &id),
            id: hex(&id),
            label: text(self.bytes(session, object, AttributeType::Label)),
            der,
        })
    }

    fn own_keys(&mut self, pin: PinState) -> Result<Vec<FoundKey>, KeyError> {
        let class = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
        let keys = self.within(|token, session| token.keys(session, &class))?;
        Ok(keys.into_iter().map(|key| self.found(key, pin)).collect())
    }

    fn found(&self, key: Key, pin: PinState) -> FoundKey {
        FoundKey {
            key: KeyRef::Card {
                card: card_id(&self.serial),
                key: hex(&key.id),
            },
            id: hex(&key.id),
            label: key.label,
            kind: key.kind,
            pin,
        }
    }

    /// Before the login private keys are hidden: those are claimed whose public half lies beside a certificate.
    fn claimed_keys(
        &mut self,
        pin: PinState,
        certificates: &[FoundCertificate],
    ) -> Result<Vec<FoundKey>, KeyError> {
        let class = [Attribute::Class(ObjectClass::PUBLIC_KEY)];
        let ids = self.within(|token, session| {
            let found = token.find(session, &class)?.into_iter();
            let ids = found.filter_map(|object| token.bytes(session, object, AttributeType::Id));
            Ok::<_, Error>(ids.map(|id| hex(&id)).collect::<Vec<_>>())
        })?;
        let claimed = certificates
            .iter()
            .filter(|certificate| ids.contains(&certificate.id));
        Ok(claimed
            .filter_map(|certificate| {
                let (kind, _) = spki::kind(spki::of_certificate(&certificate.der)?)?;
                Some(FoundKey {
                    key: KeyRef::Card {
                        card: card_id(&self.serial),
                        key: certificate.id.clone(),
                    },
                    id: certificate.id.clone(),
                    label: certificate.label.clone(),
                    kind,
                    pin,
                })
            })
            .collect())
    }

    fn object(&self, session: &Session, object: ObjectHandle) -> Option<FoundObject> {
        let oid = self.bytes(session, object, AttributeType::ObjectId)?;
        // Some modules give it with its header, as the standard says, and some without.
        let oid = match &oid[..] {
            [0x06, length, rest @ ..] if usize::from(*length) == rest.len() => rest,
            bare => bare,
        };
        let oid = oid.starts_with(OMA).then(|| dotted(oid)).flatten()?;
        Some(FoundObject {
            oid,
            label: text(self.bytes(session, object, AttributeType::Label)),
            path: self.uri("data", &[]),
            bytes: self.bytes(session, object, AttributeType::Value)?,
        })
    }

    /// RFC 7512, for the audit.
    fn uri(&self, kind: &str, id: &[u8]) -> String {
        let escape = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        };
        let token: String = self.label.bytes().map(escape).collect();
        let id: String = id.iter().map(|byte| format!("%{byte:02X}")).collect();
        format!("pkcs11:token={token};id={id};type={kind}")
    }
}

/// An object identifier (DER without its header) as people write it; `None`: it is none.
fn dotted(bytes: &[u8]) -> Option<String> {
    let mut arcs = Vec::new();
    let mut arc: u32 = 0;
    for byte in bytes {
        arc = arc.checked_mul(128)?.checked_add(u32::from(byte & 0x7F))?;
        if byte & 0x80 == 0 {
            arcs.push(arc);
            arc = 0;
        }
    }
    let first = *arcs.first()?;
    let ended = bytes.last()? & 0x80 == 0;
    let root = (first / 40).min(2);
    let start = [root, first - 40 * root];
    let all = start.iter().chain(&arcs[1..]);
    ended.then(|| all.map(u32::to_string).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::dotted;

    #[test]
    fn object_identifiers_are_written_with_dots() {
        assert_eq!(dotted(&[0x67, 0x2B, 0x07, 0x01]).unwrap(), "2.23.43.7.1");
        assert_eq!(dotted(&[0x2A, 0x86, 0x48]).unwrap(), "1.2.840");
        assert_eq!(dotted(&[0x67, 0x86]), None);
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0xFF; 9]), None);
    }
}
