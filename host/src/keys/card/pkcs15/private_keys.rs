//! EF(PrKDF), the directory of private keys (PKCS#15 v1.1 §6.3, ISO/IEC 7816-15 §8.4).

use super::object::{
    BIT_STRING, BOOLEAN, INTEGER, Notes, OCTETS, Object, SEQUENCE, Value, objects,
};
use crate::keys::card::error::CardError;
use crate::keys::card::files::Path;
use crate::keys::card::hex;
use crate::keys::card::tlv::{Budget, TlvError};

/// What kind of key it says it is; its certificate says it better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rsa,
    Ec,
}

/// A private key that can sign, as its directory describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) label: String,
    /// Which PIN guards it.
    pub(super) auth: Option<Vec<u8>>,
    pub(super) algorithm: Algorithm,
    /// How it is named to the card.
    pub(super) reference: Option<u8>,
    pub(super) path: Option<Path>,
}

/// Reads the directory; keys that cannot sign are left out.
pub(super) fn parse(
    file: &[u8],
    application: &Path,
    notes: &mut Notes,
) -> Result<Vec<Entry>, CardError> {
    let budget = Budget::new();
    objects("EF(PrKDF)", file, &budget, notes, |element| {
        let algorithm = match element.tag {
            SEQUENCE => Algorithm::Rsa,
            0xA0 => Algorithm::Ec,
            _ => return Ok(None),
        };
        let mut object = Object::read(element)?;
        let id = object.class.expect(OCTETS)?.value;
        let usage = object.class.expect(BIT_STRING)?;
        // sign, signRecover.
        if !usage.bit(2) && !usage.bit(3) {
            return Ok(None);
        }
        object.class.optional(BOOLEAN)?;
        object.class.optional(BIT_STRING)?;
        let reference = object.class.optional(INTEGER)?;
        let reference = reference
            .map(|reference| byte(reference.value))
            .transpose()?;
        let attributes = object.own.expect(SEQUENCE)?;
        let path = match attributes.inner()?.next()? {
            Some(value) => match Value::read(&value, application)? {
                Value::Indirect(path, _) => Some(path),
                Value::Direct(_) => None,
            },
            None => None,
        };
        Ok(Some(Entry {
            id: hex(id),
            label: object.label,
            auth: object.auth.map(<[u8]>::to_vec),
            algorithm,
            reference,
            path,
        }))
    })
}

/// A reference is one byte for the card; as an INTEGER it may have a zero before it, or look negative.
pub(super) fn byte(value: &[u8]) -> Result<u8, TlvError> {
    match value {
        [byte] | [0, byte] => Ok(*byte),
        _ => Err(TlvError::Value("a reference of more than one byte")),
    }
}
