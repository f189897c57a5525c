//! EF(TokenInfo): who the card says it is (PKCS#15 v1.1 §6.9, ISO/IEC 7816-15 §8.10).

use super::object::{INTEGER, OCTETS, SEQUENCE, text};
use crate::keys::card::hex;
use crate::keys::card::tlv::{Budget, Reader, TlvError};

/// Bytes of a serial number. Real ones have up to 16.
const SERIAL: usize = 32;

/// What a card says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenInfo {
    /// Capital hexadecimal digits; may be empty.
    pub(super) serial: String,
    pub(super) label: String,
}

pub(super) fn parse(file: &[u8]) -> Result<TokenInfo, TlvError> {
    let budget = Budget::new();
    let mut reader = Reader::new(file, &budget);
    let info = reader
        .next_in_file()?
        .filter(|element| element.tag == SEQUENCE);
    let mut parts = info
        .ok_or(TlvError::Missing { wanted: SEQUENCE })?
        .inner()?;
    parts.expect(INTEGER)?;
    let serial = parts
        .optional(OCTETS)?
        .map_or(&[][..], |serial| serial.value);
    if serial.len() > SERIAL {
        return Err(TlvError::Value("a serial number of more than 32 bytes"));
    }
    let label = parts.find(0x80)?;
    Ok(TokenInfo {
        serial: hex(serial),
        label: label.map_or_else(String::new, |label| text(label.value)),
    })
}
