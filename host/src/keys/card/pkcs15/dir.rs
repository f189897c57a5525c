//! EF.DIR: which applications a card has, and where (ISO/IEC 7816-4 §12.2.3).

use super::AIDS;
use super::object::text;
use crate::keys::card::tlv::{Budget, Reader, TlvError};

/// The application of PKCS#15, as EF.DIR describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) aid: Vec<u8>,
    pub(super) label: String,
    /// Path from the master file.
    pub(super) path: Option<Vec<u8>>,
}

/// The first application of PKCS#15 in EF.DIR.
pub(super) fn parse(file: &[u8]) -> Result<Option<Entry>, TlvError> {
    let budget = Budget::new();
    let mut reader = Reader::new(file, &budget);
    while let Some(template) = reader.next_in_file()? {
        if template.tag != 0x61 {
            continue;
        }
        let parts = template.inner()?;
        let Some(aid) = parts.clone().find(0x4F)? else {
            continue;
        };
        if AIDS.iter().any(|known| aid.value.starts_with(known)) {
            let label = parts.clone().find(0x50)?;
            let path = parts.find(0x51)?;
            return Ok(Some(Entry {
                aid: aid.value.to_vec(),
                label: label.map_or_else(String::new, |label| text(label.value)),
                path: path.map(|path| path.value.to_vec()),
            }));
        }
    }
    Ok(None)
}
