//! What all objects of PKCS#15 have in common (PKCS#15 v1.1 §6.1, ISO/IEC 7816-15 §8.2), and how a directory of them is
//! read.

use crate::keys::card::error::CardError;
use crate::keys::card::files::Path;
use crate::keys::card::tlv::{Budget, Element, Reader, TlvError};

pub(super) const SEQUENCE: u32 = 0x30;
pub(super) const BOOLEAN: u32 = 0x01;
pub(super) const INTEGER: u32 = 0x02;
pub(super) const BIT_STRING: u32 = 0x03;
pub(super) const OCTETS: u32 = 0x04;
pub(super) const OID: u32 = 0x06;
pub(super) const ENUMERATED: u32 = 0x0A;
pub(super) const UTF8: u32 = 0x0C;

/// Objects of one directory. Stops a card that is full of references.
const OBJECTS: usize = 128;
/// Notes about one card.
const NOTES: usize = 64;
/// Characters of a label.
const LABEL: usize = 64;

/// What was left out, and why.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    pub(super) fn add(&mut self, note: String) {
        if self.0.len() < NOTES {
            self.0.push(note);
        }
    }

    pub(super) fn into_inner(self) -> Vec<String> {
        self.0
    }
}

/// An object in a directory.
pub(super) struct Object<'a> {
    /// For people: what the card says, without what a terminal would obey.
    pub(super) label: String,
    /// Which PIN guards it.
    pub(super) auth: Option<&'a [u8]>,
    /// What its class adds: certificates, keys, ...
    pub(super) class: Reader<'a>,
    /// What its type adds: X.509, RSA, ...
    pub(super) own: Reader<'a>,
}

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// In a file, or a part of one: offset and length.
    Indirect(Path, Option<(usize, usize)>),
    /// Here.
    Direct(&'a [u8]),
}

impl<'a> Object<'a> {
    pub(super) fn read(element: &Element<'a>) -> Result<Self, TlvError> {
        let mut parts = element.inner()?;
        let mut common = parts.expect(SEQUENCE)?.inner()?;
        let mut label = String::new();
        let mut auth = None;
        while let Some(attribute) = common.next()? {
            match attribute.tag {
                UTF8 => label = text(attribute.value),
                OCTETS => auth = Some(attribute.value),
                _ => {}
            }
        }
        let class = parts.expect(SEQUENCE)?.inner()?;
        parts.optional(0xA0)?;
        let own = parts.expect(0xA1)?.inner()?;
        Ok(Self {
            label,
            auth,
            class,
            own,
        })
    }
}

impl<'a> Value<'a> {
    /// An ObjectValue (PKCS#15 v1.1 §6.1.7).
    pub(super) fn read(element: &Element<'a>, application: &Path) -> Result<Self, TlvError> {
        match element.tag {
            0xA0 => return Ok(Self::Direct(element.value)),
            SEQUENCE => {}
            0xA1 | 0xA2 => return Err(TlvError::Value("its value is encrypted")),
            _ => return Err(TlvError::Value("its value is of an unknown form")),
        }
        let mut parts = element.inner()?;
        let path = parts.expect(OCTETS)?.value;
        let path = Path::new(path, application)
            .ok_or(TlvError::Value("its path is empty, odd or too long"))?;
        let index = parts.optional(INTEGER)?;
        let length = parts.optional(0x80)?;
        let range = match (index, length) {
            (Some(index), Some(length)) => {
                Some((index.number()? as usize, length.number()? as usize))
            }
            _ => None,
        };
        Ok(Self::Indirect(path, range))
    }
}

/// Each object of a directory; what cannot be understood is noted and left out. A file that is broken as such is none.
pub(super) fn objects<'a, T>(
    directory: &str,
    file: &'a [u8],
    budget: &'a Budget,
    notes: &mut Notes,
    mut read: impl FnMut(&Element<'a>) -> Result<Option<T>, TlvError>,
) -> Result<Vec<T>, CardError> {
    let broken = |error: TlvError| CardError::Malformed(format!("{directory}: {error}"));
    let mut found = Vec::new();
    let mut reader = Reader::new(file, budget);
    for number in 1.. {
        let Some(element) = reader.next_in_file().map_err(broken)? else {
            break;
        };
        if number > OBJECTS {
            let problem = format!("{directory}: more than {OBJECTS} objects");
            return Err(CardError::Malformed(problem));
        }
        match read(&element) {
            Ok(object) => found.extend(object),
            Err(TlvError::Count) => return Err(broken(TlvError::Count)),
            Err(error) => notes.add(format!("{directory}, object {number}: {error}")),
        }
    }
    Ok(found)
}

/// Text of a card: bounded, one line, nothing that a terminal would obey.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.len().min(4 * LABEL);
    let text = String::from_utf8_lossy(&bytes[..end]);
    let shown = text.trim().chars().take(LABEL);
    shown
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

/// An OBJECT IDENTIFIER, dotted. Some cards wrap it in its own header once more.
pub(super) fn oid(mut value: &[u8]) -> Result<String, TlvError> {
    const BAD: TlvError = TlvError::Value("no object identifier");
    if let [0x06, length, rest @ ..] = value
        && usize::from(*length) == rest.len()
    {
        value = rest;
    }
    let mut text = String::new();
    let mut arc: u64 = 0;
    for (at, byte) in value.iter().enumerate() {
        if arc > u64::from(u32::MAX) || at > 64 {
            return Err(BAD);
        }
        arc = arc << 7 | u64::from(byte & 0x7F);
        if byte & 0x80 != 0 {
            continue;
        }
        if text.is_empty() {
            let first = (arc / 40).min(2);
            text = format!("{first}.{}", arc - 40 * first);
        } else {
            text += &format!(".{arc}");
        }
        arc = 0;
    }
    let complete = value.last().is_some_and(|byte| byte & 0x80 == 0);
    complete.then_some(text).ok_or(BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers_and_their_doubled_header() {
        let bootstrap = [0x67, 0x2B, 7, 1];
        assert_eq!(oid(&bootstrap).unwrap(), "2.23.43.7.1");
        assert_eq!(oid(&[6, 4, 0x67, 0x2B, 7, 1]).unwrap(), "2.23.43.7.1");
        assert_eq!(oid(&[0x2A, 0x86, 0x48]).unwrap(), "1.2.840");
        for wrong in [&[][..], &[0x67, 0x80], &[0xFF; 70]] {
            assert!(oid(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn labels_are_short_and_tame() {
        assert_eq!(text(b"a\x1b[2Jb\n "), "a\u{FFFD}[2Jb");
        assert_eq!(text(&[b'x'; 500]).len(), LABEL);
        assert_eq!(text(&[0xFF]), "\u{FFFD}");
    }
}
