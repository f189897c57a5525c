//! PIV (NIST SP 800-73-4, parts 1 and 2): certificates in numbered containers, keys in slots.
//!
//! PIV has no directory that only its issuer can write, so that nothing on such a card may become an anchor: all of its
//! certificates are the card's own.

mod containers;
mod inflate;

use std::collections::BTreeMap;

use super::apdu::{Card, Command, Status};
use super::error::{CardError, PinProblem};
use super::files::select_application;
use super::hex;
use super::pin::{Format, Pins, Slot};
use super::sign::{self, PublicKey};
use super::tlv::{Budget, Reader};
use crate::keys::{
    CardId, CardKind, Contents, FoundCertificate, FoundKey, KeyKind, KeyRef, Pin, PinState, Scheme,
    Shelf,
};
use containers::Found;

/// The application, without its version (part 1 §2.2).
const AID: [u8; 9] = [0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00];

const VERIFY: u8 = 0x20;
const GENERAL_AUTHENTICATE: u8 = 0x87;
/// The PIN of the application, and that of the card (part 2 §2.4.3).
const APPLICATION_PIN: u8 = 0x80;
const GLOBAL_PIN: u8 = 0x00;

/// A slot (part 1 §5.1, table 4b).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    number: u8,
    /// Last byte of its certificate's container, `5FC1xx`.
    container: u8,
    label: &'static str,
    /// Whether its key signs, and what it wants before.
    signs: Option<Asks>,
}

/// When a key wants the PIN (part 1, table 4b).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asks {
    Never,
    Once,
    /// Directly before each signature.
    Always,
}

const fn place(number: u8, container: u8, label: &'static str, signs: Option<Asks>) -> Place {
    Place {
        number,
        container,
        label,
        signs,
    }
}

const PLACES: [Place; 4] = [
    place(0x9A, 0x05, "PIV authentication", Some(Asks::Once)),
    place(0x9C, 0x0A, "digital signature", Some(Asks::Always)),
    place(0x9E, 0x01, "card authentication", Some(Asks::Never)),
    // Its key agrees on keys, or deciphers them.
    place(0x9D, 0x0B, "key management", None),
];

/// Keys of former years: their certificates, and those of CAs, which many put there.
fn retired() -> impl Iterator<Item = Place> {
    (0..20).map(|number| place(0x82 + number, 0x0D + number, "retired key management", None))
}

/// A card with this application.
#[derive(Debug)]
pub(super) struct Piv {
    id: CardId,
    pin: Slot,
    /// Keys that were found, by slot.
    keys: BTreeMap<u8, PublicKey>,
}

impl Piv {
    /// Opens the application, where the card has it.
    pub(super) fn open(card: &mut Card<'_>) -> Result<Option<Self>, CardError> {
        if select_application(card, &AID)?.status != Status::Success {
            return Ok(None);
        }
        let id = CardId {
            kind: CardKind::Piv,
            serial: containers::serial(card)?,
        };
        let reference = match containers::prefers_global_pin(card)? {
            true => GLOBAL_PIN,
            false => APPLICATION_PIN,
        };
        // Part 2 §2.4.3: six to eight characters, filled with FF.
        let pin = Slot {
            reference,
            format: Format::Text,
            length: 6..=8,
            padded: Some((8, 0xFF)),
        };
        let keys = BTreeMap::new();
        Ok(Some(Self { id, pin, keys }))
    }

    /// The key of a slot, as its certificate says; that it is that key, a signature proves.
    fn key(&mut self, card: &mut Card<'_>, id: &str) -> Result<(Place, PublicKey), CardError> {
        let none = || CardError::NoKey(id.to_owned());
        let number = u8::from_str_radix(id, 16).map_err(|_| none())?;
        let signing = |place: &&Place| place.number == number && place.signs.is_some();
        let place = *PLACES.iter().find(signing).ok_or_else(none)?;
        if let Some(key) = self.keys.get(&number) {
            return Ok((place, key.clone()));
        }
        let Found::Certificate(der) = containers::certificate(card, place.container)? else {
            return Err(none());
        };
        let key = PublicKey::of_certificate(&der)?;
        self.keys.insert(number, key.clone());
        Ok((place, key))
    }

    fn pin_state(
        &self,
        card: &mut Card<'_>,
        pins: &Pins,
        asks: Asks,
    ) -> Result<PinState, CardError> {
        match asks {
            Asks::Never => Ok(PinState::NotNeeded),
            Asks::Once | Asks::Always => pins.state(card, &self.id, &self.pin),
        }
    }

    /// GENERAL AUTHENTICATE (part 2 §3.2.4): the key's operation on what is given.
    fn operate(
        &self,
        card: &mut Card<'_>,
        algorithm: u8,
        slot: u8,
        input: &[u8],
    ) -> Result<Vec<u8>, CardError> {
        // An empty response asks for it; the challenge is what is signed.
        let template = [&[0x82, 0x00], element(0x81, input).as_slice()].concat();
        let answer = card.send(Command {
            ins: GENERAL_AUTHENTICATE,
            p1: algorithm,
            p2: slot,
            data: &element(0x7C, &template),
            le: Some(0),
        })?;
        match answer.status {
            Status::Success => {}
            Status::Denied => {
                return Err(CardError::Pin {
                    serial: self.id.serial.clone(),
                    problem: PinProblem::Needed,
                });
            }
            // 6A80, 6A86: no such key, or not of that kind.
            Status::NotFound | Status::Other(0x6A80 | 0x6A86 | 0x6985) => {
                return Err(CardError::NoKey(hex(&[slot])));
            }
            status => {
                let what = "signing";
                return Err(CardError::Refused { what, status });
            }
        }
        let budget = Budget::new();
        let template = Reader::new(&answer.data, &budget).expect(0x7C)?;
        Ok(template.inner()?.expect(0x82)?.value.to_vec())
    }
}

impl super::Application for Piv {
    fn id(&self) -> &CardId {
        &self.id
    }

    fn resume(&mut self, card: &mut Card<'_>) -> Result<bool, CardError> {
        if select_application(card, &AID)?.status != Status::Success {
            return Ok(false);
        }
        Ok(containers::serial(card)? == self.id.serial)
    }

    fn contents(&mut self, card: &mut Card<'_>, pins: &Pins) -> Result<Contents, CardError> {
        self.keys.clear();
        let (mut certificates, mut keys, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for place in PLACES.into_iter().chain(retired()) {
            let slot = hex(&[place.number]);
            let der = match containers::certificate(card, place.container)? {
                Found::Certificate(der) => der,
                Found::Nothing => continue,
                Found::Unusable(why) => {
                    skipped.push(format!("certificate of slot {slot}: {why}"));
                    continue;
                }
            };
            if let Some(asks) = place.signs {
                match PublicKey::of_certificate(&der) {
                    Ok(key) => {
                        keys.push(FoundKey {
                            key: KeyRef::Card {
                                card: self.id.clone(),
                                key: slot.clone(),
                            },
                            id: slot.clone(),
                            label: place.label.to_owned(),
                            kind: key.kind,
                            pin: self.pin_state(card, pins, asks)?,
                        });
                        self.keys.insert(place.number, key);
                    }
                    Err(error) => skipped.push(format!("key of slot {slot}: {error}")),
                }
            }
            certificates.push(FoundCertificate {
                shelf: Shelf::Own,
                id: slot,
                label: place.label.to_owned(),
                path: format!("5FC1{:02X}", place.container),
                der,
            });
        }
        Ok(Contents {
            card: self.id.clone(),
            label: "PIV".to_owned(),
            certificates,
            keys,
            objects: Vec::new(),
            skipped,
            effort: card.effort(),
        })
    }

    fn sign(
        &mut self,
        card: &mut Card<'_>,
        pins: &Pins,
        key: &str,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, CardError> {
        let (place, key) = self.key(card, key)?;
        if key.kind != scheme.key_kind() {
            return Err(CardError::Scheme(scheme));
        }
        let algorithm = algorithm(&key).ok_or(CardError::Scheme(scheme))?;
        let input = match key.kind {
            KeyKind::Rsa => sign::rsa_block(scheme, key.bits, message)?,
            _ => sign::hash(scheme, message)?,
        };
        match place.signs {
            Some(Asks::Once) => pins.verify(card, &self.id, &self.pin)?,
            Some(Asks::Always) => {
                // One that is verified already does not count. Cards of before part 2 §3.2.1 of 2015 refuse this.
                let _older = self.take_verification_back(card)?;
                pins.verify(card, &self.id, &self.pin)?;
            }
            Some(Asks::Never) | None => {}
        }
        let signature = self.operate(card, algorithm, place.number, &input)?;
        match key.kind {
            KeyKind::Rsa if signature.len() == input.len() => Ok(signature),
            KeyKind::Rsa => {
                let problem = format!("a signature of {} bytes", signature.len());
                Err(CardError::Malformed(problem))
            }
            _ => sign::ecdsa_der(&signature, key.bits),
        }
    }

    fn public_key(
        &mut self,
        card: &mut Card<'_>,
        _: &Pins,
        key: &str,
    ) -> Result<Vec<u8>, CardError> {
        Ok(self.key(card, key)?.1.spki)
    }

    fn unlock(&mut self, card: &mut Card<'_>, pins: &Pins, pin: &Pin) -> Result<(), CardError> {
        pins.unlock(card, &self.id, &self.pin, pin)
    }
}

impl Piv {
    fn take_verification_back(&self, card: &mut Card<'_>) -> Result<Status, CardError> {
        let answer = card.send(Command {
            ins: VERIFY,
            p1: 0xFF,
            p2: self.pin.reference,
            data: &[],
            le: None,
        })?;
        Ok(answer.status)
    }
}

/// How PIV numbers algorithms (SP 800-78-5, table 6-2); RSA of 4096 bits is Yubico's.
fn algorithm(key: &PublicKey) -> Option<u8> {
    match (key.kind, key.bits) {
        (KeyKind::Rsa, 2048) => Some(0x07),
        (KeyKind::Rsa, 3072) => Some(0x05),
        (KeyKind::Rsa, 4096) => Some(0x16),
        (KeyKind::EcP256, _) => Some(0x11),
        (KeyKind::EcP384, _) => Some(0x14),
        _ => None,
    }
}

/// BER-TLV of up to 64 KiB.
fn element(tag: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    let header = match value.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&header, value].concat()
}
