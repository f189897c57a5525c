//! EF(DODF), the directory of data (PKCS#15 v1.1 §6.6, ISO/IEC 7816-15 §8.8): what OMA has defined is found by its
//! object identifier, in each of the forms in which cards write that.

use super::object::{Notes, OID, Object, SEQUENCE, Value, objects, oid};
use crate::keys::card::error::CardError;
use crate::keys::card::files::Path;
use crate::keys::card::tlv::{Budget, TlvError};

/// OMA's arc, registered as that of the WAP Forum.
const OMA: &str = "2.23.43.";

/// A data object of OMA, as its directory describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) oid: String,
    pub(super) label: String,
    /// Which PIN guards it.
    pub(super) auth: Option<Vec<u8>>,
    pub(super) value: Value<'a>,
}

/// Reads the directory; what is not OMA's is left out.
pub(super) fn parse<'a>(
    file: &'a [u8],
    budget: &'a Budget,
    application: &Path,
    notes: &mut Notes,
) -> Result<Vec<Entry<'a>>, CardError> {
    let missing = || TlvError::Value("it has no value");
    objects("EF(DODF)", file, budget, notes, |element| {
        let mut object = Object::read(element)?;
        let named = object.class.clone().find(super::object::UTF8)?;
        let (identifier, value) = match element.tag {
            // opaqueDO: its application's identifier.
            SEQUENCE => (object.class.find(OID)?, object.own.next()?),
            // oidDO, the form of SIM makers: an identifier and a value. OpenSC does not know it.
            0xA1 => {
                let mut parts = object.own.expect(SEQUENCE)?.inner()?;
                (Some(parts.expect(OID)?), parts.next()?)
            }
            _ => return Ok(None),
        };
        let Some(identifier) = identifier else {
            return Ok(None);
        };
        let oid = oid(identifier.value)?;
        if !oid.starts_with(OMA) {
            return Ok(None);
        }
        let label = match (object.label.is_empty(), named) {
            (true, Some(name)) => super::object::text(name.value),
            _ => object.label,
        };
        Ok(Some(Entry {
            oid,
            label,
            auth: object.auth.map(<[u8]>::to_vec),
            value: Value::read(&value.ok_or_else(missing)?, application)?,
        }))
    })
}
