//! EF(AODF), the directory of PINs (PKCS#15 v1.1 §6.7, ISO/IEC 7816-15 §8.9).

use super::object::{BIT_STRING, ENUMERATED, INTEGER, Notes, OCTETS, Object, SEQUENCE, objects};
use super::private_keys::byte;
use crate::keys::card::error::CardError;
use crate::keys::card::pin::{Format, Slot};
use crate::keys::card::tlv::{Budget, TlvError};

/// A PIN of the holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// What keys and data name it by.
    pub(super) auth: Vec<u8>,
    pub(super) slot: Slot,
}

/// Reads the directory. PINs of the issuer, and those that only unblock, are left out.
pub(super) fn parse(file: &[u8], notes: &mut Notes) -> Result<Vec<Entry>, CardError> {
    let budget = Budget::new();
    objects("EF(AODF)", file, &budget, notes, |element| {
        // Biometric templates and keys have tags of their own.
        if element.tag != SEQUENCE {
            return Ok(None);
        }
        let mut object = Object::read(element)?;
        let auth = object.class.expect(OCTETS)?.value.to_vec();
        let mut attributes = object.own.expect(SEQUENCE)?.inner()?;
        let flags = attributes.expect(BIT_STRING)?;
        let kind = attributes.expect(ENUMERATED)?.number()?;
        let shortest = attributes.expect(INTEGER)?.number()?;
        let stored = attributes.expect(INTEGER)?.number()?;
        let longest = attributes.optional(INTEGER)?;
        let longest = longest.map_or(Ok(stored), |longest| longest.number())?;
        let reference = attributes.optional(0x80)?;
        let reference = reference.map_or(Ok(0), |reference| byte(reference.value))?;
        let pad = attributes.optional(OCTETS)?;
        let pad = pad.and_then(|pad| pad.value.first().copied());
        let (unblocks, is_issuers) = (flags.bit(6), flags.bit(7));
        if unblocks || is_issuers {
            return Ok(None);
        }
        let format = match kind {
            0 => Format::Bcd,
            1 | 2 => Format::Text,
            4 => Format::Iso9564,
            _ => return Err(TlvError::Value("a PIN of an unknown type")),
        };
        let size = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
        Ok(Some(Entry {
            auth,
            slot: Slot {
                reference,
                format,
                length: size(shortest)..=size(longest),
                padded: flags.bit(5).then(|| (size(stored), pad.unwrap_or(0))),
            },
        }))
    })
}
