//! PINs: where they come from, and when one is tried. A card counts wrong ones and blocks, so the counter is asked
//! first, the last try is left to a person, and what was refused is not tried again.

use std::collections::HashMap;
use std::io::Read;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::apdu::{Card, Command, Status};
use super::error::{CardError, PinProblem};
use crate::keys::{CardId, Pin, PinKeeper, PinState};

const VERIFY: u8 = 0x20;
/// A keeper's file, bytes. Stops a path that leads to something endless.
const FILE_BYTES: u64 = 256;

/// A PIN of a card: how it is named, and how it is written (PKCS#15 v1.1 §6.7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// P2 of VERIFY.
    pub(super) reference: u8,
    pub(super) format: Format,
    /// Characters.
    pub(super) length: RangeInclusive<usize>,
    /// Up to how many bytes it is filled, and with what.
    pub(super) padded: Option<(usize, u8)>,
}

/// How the characters of a PIN become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// As they are.
    Text,
    /// Two digits a byte.
    Bcd,
    /// ISO 9564-1, format 2: length, digits, filled with F.
    Iso9564,
}

impl Slot {
    /// The PIN as the card wants it; `None`: it cannot be one of this card, and costs no try.
    fn encode(&self, pin: &str) -> Option<Zeroizing<Vec<u8>>> {
        if !self.length.contains(&pin.chars().count()) {
            return None;
        }
        let digits = || {
            let digits: Option<Vec<u8>> = pin
                .bytes()
                .map(|byte| byte.is_ascii_digit().then(|| byte - b'0'))
                .collect();
            digits.map(Zeroizing::new)
        };
        let packed = |digits: &[u8]| {
            let pairs = digits.chunks(2);
            pairs
                .map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0x0F))
                .collect::<Vec<u8>>()
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(16));
        match self.format {
            Format::Text => bytes.extend(pin.bytes()),
            Format::Bcd => bytes.extend(packed(&digits()?)),
            Format::Iso9564 => {
                let digits = digits()?;
                bytes.push(0x20 | u8::try_from(digits.len()).ok().filter(|n| *n < 15)?);
                bytes.extend(packed(&digits));
                bytes.resize(8, 0xFF);
            }
        }
        if let Some((stored, filler)) = self.padded {
            if bytes.len() > stored || stored > 64 {
                return None;
            }
            bytes.resize(stored, filler);
        }
        Some(bytes)
    }
}

/// All PINs that are known, and those that were wrong.
pub(super) struct Pins {
    keepers: Vec<PinKeeper>,
    kept: Mutex<Kept>,
}

/// A card and the reference of a PIN on it.
type Whose = (CardId, u8);

#[derive(Default)]
struct Kept {
    /// Given by the operator, verified, until the card goes.
    known: HashMap<Whose, Pin>,
    /// From a keeper's file, and refused: that one is never tried again.
    refused: HashMap<Whose, Zeroizing<String>>,
}

/// What a card says when it is asked for a PIN without being given one.
enum Asked {
    /// It is verified, or not needed.
    Verified,
    Tries(u8),
    Blocked,
    /// It does not say.
    Unknown,
}

impl Pins {
    pub(super) fn new(keepers: Vec<PinKeeper>) -> Self {
        Self {
            keepers,
            kept: Mutex::default(),
        }
    }

    /// What has to happen before this PIN is verified.
    pub(super) fn state(
        &self,
        card: &mut Card<'_>,
        id: &CardId,
        slot: &Slot,
    ) -> Result<PinState, CardError> {
        Ok(match ask(card, slot)? {
            Asked::Verified => PinState::NotNeeded,
            Asked::Blocked | Asked::Tries(0) => PinState::Blocked,
            Asked::Tries(left) if left > 1 && self.usable(id, slot).is_some() => PinState::Known,
            Asked::Tries(left) => PinState::Needed(Some(left)),
            Asked::Unknown => PinState::Needed(None),
        })
    }

    /// Verifies a PIN with nobody there: never with the last try, nor with one that was refused before. Where the card does
    /// not say how many are left, only one that it has taken before.
    pub(super) fn verify(
        &self,
        card: &mut Card<'_>,
        id: &CardId,
        slot: &Slot,
    ) -> Result<(), CardError> {
        let problem = |problem| CardError::Pin {
            serial: id.serial.clone(),
            problem,
        };
        let whose = (id.clone(), slot.reference);
        let left = match ask(card, slot)? {
            Asked::Verified => return Ok(()),
            Asked::Blocked | Asked::Tries(0) => return Err(problem(PinProblem::Blocked)),
            Asked::Tries(1) => return Err(problem(PinProblem::LastTry)),
            Asked::Tries(left) => left,
            Asked::Unknown if self.kept().known.contains_key(&whose) => 0,
            Asked::Unknown => return Err(problem(PinProblem::Needed)),
        };
        let Some(pin) = self.usable(id, slot) else {
            let was_refused = self.kept().refused.contains_key(&whose);
            return Err(problem(match was_refused {
                true => PinProblem::Wrong(left),
                false => PinProblem::Needed,
            }));
        };
        let Some(bytes) = slot.encode(&pin) else {
            return Err(problem(PinProblem::Needed));
        };
        let result = send(card, id, slot, &bytes);
        if matches!(result, Err(CardError::Pin { .. })) {
            let mut kept = self.kept();
            kept.known.remove(&whose);
            kept.refused.insert(whose, pin);
        }
        result
    }

    /// Verifies a PIN that a person has just given, be it with the last try, and keeps it until the card goes.
    pub(super) fn unlock(
        &self,
        card: &mut Card<'_>,
        id: &CardId,
        slot: &Slot,
        pin: &Pin,
    ) -> Result<(), CardError> {
        let serial = id.serial.clone();
        if let Asked::Blocked | Asked::Tries(0) = ask(card, slot)? {
            let problem = PinProblem::Blocked;
            return Err(CardError::Pin { serial, problem });
        }
        let Some(bytes) = slot.encode(pin.expose()) else {
            let (from, to) = (slot.length.start(), slot.length.end());
            let problem = format!("its PINs have {from} to {to} characters");
            return Err(CardError::Malformed(problem));
        };
        send(card, id, slot, &bytes)?;
        let whose = (id.clone(), slot.reference);
        let mut kept = self.kept();
        kept.refused.remove(&whose);
        kept.known.insert(whose, pin.clone());
        Ok(())
    }

    /// The card has gone: what the operator gave is forgotten.
    pub(super) fn forget(&self, id: &CardId) {
        self.kept().known.retain(|(of, _), _| of != id);
    }

    /// A PIN that may be tried: the operator's, else that of the card's keeper, else of any card's.
    fn usable(&self, id: &CardId, slot: &Slot) -> Option<Zeroizing<String>> {
        let whose = (id.clone(), slot.reference);
        if let Some(pin) = self.kept().known.get(&whose) {
            return Some(Zeroizing::new(pin.expose().to_owned()));
        }
        let named = |keeper: &&PinKeeper| {
            let serial = keeper.serial.as_deref();
            serial.is_some_and(|serial| serial.eq_ignore_ascii_case(&id.serial))
        };
        let keepers = || self.keepers.iter();
        let keeper = keepers()
            .find(named)
            .or_else(|| keepers().find(|keeper| keeper.serial.is_none()))?;
        let pin = read(&keeper.file)?;
        let is_refused = self.kept().refused.get(&whose) == Some(&pin);
        (!is_refused).then_some(pin)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The PIN in a keeper's file; an unreadable file holds none.
fn read(file: &str) -> Option<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES as usize));
    let file = std::fs::File::open(file).ok()?;
    file.take(FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

/// ISO/IEC 7816-4 §7.5.6: VERIFY without data asks for the counter, and costs nothing.
fn ask(card: &mut Card<'_>, slot: &Slot) -> Result<Asked, CardError> {
    let answer = card.send(Command {
        ins: VERIFY,
        p1: 0,
        p2: slot.reference,
        data: &[],
        le: None,
    })?;
    Ok(match answer.status {
        Status::Success => Asked::Verified,
        Status::Tries(left) => Asked::Tries(left),
        Status::Blocked => Asked::Blocked,
        _ => Asked::Unknown,
    })
}

fn send(card: &mut Card<'_>, id: &CardId, slot: &Slot, bytes: &[u8]) -> Result<(), CardError> {
    card.expect_reset();
    let answer = card.send(Command {
        ins: VERIFY,
        p1: 0,
        p2: slot.reference,
        data: bytes,
        le: None,
    })?;
    let problem = match answer.status {
        Status::Success => return Ok(()),
        Status::Tries(0) | Status::Blocked => PinProblem::Blocked,
        Status::Tries(left) => PinProblem::Wrong(left),
        status => {
            let what = "the PIN";
            return Err(CardError::Refused { what, status });
        }
    };
    let serial = id.serial.clone();
    Err(CardError::Pin { serial, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_written_as_the_card_wants_them() {
        let slot = |format, padded| Slot {
            reference: 1,
            format,
            length: 4..=8,
            padded,
        };
        let encode = |format, padded, pin| {
            let bytes = slot(format, padded).encode(pin);
            bytes.map(|bytes| super::super::hex(&bytes))
        };
        let some = |hex: &str| Some(hex.to_owned());
        assert_eq!(encode(Format::Text, None, "12a4"), some("31326134"));
        let padded = Some((8, 0xFF));
        assert_eq!(
            encode(Format::Text, padded, "1234"),
            some("31323334FFFFFFFF")
        );
        assert_eq!(encode(Format::Bcd, None, "12345"), some("12345F"));
        assert_eq!(
            encode(Format::Iso9564, None, "1234"),
            some("241234FFFFFFFFFF")
        );
        for (format, wrong) in [
            (Format::Text, "123"),
            (Format::Text, "123456789"),
            (Format::Bcd, "12a4"),
            (Format::Iso9564, "12a4"),
        ] {
            assert_eq!(encode(format, None, wrong), None);
        }
    }
}
