//! EF(CDF), the directories of certificates (PKCS#15 v1.1 §6.5, ISO/IEC 7816-15 §8.7).

use super::object::{Notes, OCTETS, Object, SEQUENCE, Value, objects};
use crate::keys::card::error::CardError;
use crate::keys::card::files::Path;
use crate::keys::card::hex;
use crate::keys::card::tlv::Budget;

/// A certificate, as its directory describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) id: String,
    pub(super) label: String,
    /// Which PIN guards it.
    pub(super) auth: Option<Vec<u8>>,
    pub(super) value: Value<'a>,
}

/// Reads a directory. What `authority` says in it is not even looked at: only the directory makes an anchor.
pub(super) fn parse<'a>(
    file: &'a [u8],
    budget: &'a Budget,
    application: &Path,
    notes: &mut Notes,
) -> Result<Vec<Entry<'a>>, CardError> {
    objects("EF(CDF)", file, budget, notes, |element| {
        // X.509 is the one without a tag of its own.
        if element.tag != SEQUENCE {
            return Ok(None);
        }
        let mut object = Object::read(element)?;
        let id = object.class.expect(OCTETS)?.value;
        let attributes = object.own.expect(SEQUENCE)?;
        let value = attributes.inner()?.next()?;
        let missing = crate::keys::card::tlv::TlvError::Value("it has no value");
        Ok(Some(Entry {
            id: hex(id),
            label: object.label,
            auth: object.auth.map(<[u8]>::to_vec),
            value: Value::read(&value.ok_or(missing)?, application)?,
        }))
    })
}
