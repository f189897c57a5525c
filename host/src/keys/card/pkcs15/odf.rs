//! EF(ODF): which directories there are (PKCS#15 v1.1 §5.5.1, ISO/IEC 7816-15 §7.5.3).

use super::object::{Notes, SEQUENCE, Value, objects};
use crate::keys::Shelf;
use crate::keys::card::error::CardError;
use crate::keys::card::files::Path;
use crate::keys::card::tlv::{Budget, Reader};

/// Directories of one card. Stops a card that names thousands.
const DIRECTORIES: usize = 32;

/// What a directory lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    PrivateKeys,
    Certificates(Shelf),
    DataObjects,
    Pins,
}

/// A directory that matters to us, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) kind: Kind,
    pub(super) path: Path,
}

/// Reads EF(ODF). Directories that are named twice, and the ODF itself, are left out: nothing is read in circles.
pub(super) fn parse(
    file: &[u8],
    application: &Path,
    odf: &Path,
    notes: &mut Notes,
) -> Result<Vec<Directory>, CardError> {
    let budget = Budget::new();
    let entries = objects("EF(ODF)", file, &budget, notes, |entry| {
        let kind = match entry.tag {
            0xA0 => Kind::PrivateKeys,
            0xA4 => Kind::Certificates(Shelf::Own),
            0xA5 => Kind::Certificates(Shelf::Trusted),
            0xA6 => Kind::Certificates(Shelf::Useful),
            0xA7 => Kind::DataObjects,
            0xA8 => Kind::Pins,
            // Public and secret keys, trusted public keys, what later editions add.
            _ => return Ok(None),
        };
        let value = entry.inner()?.expect(SEQUENCE)?;
        match Value::read(&value, application)? {
            Value::Indirect(path, _) => Ok(Some(Directory { kind, path })),
            Value::Direct(_) => Ok(None),
        }
    })?;
    if entries.len() > DIRECTORIES {
        let problem = format!("EF(ODF): more than {DIRECTORIES} directories");
        return Err(CardError::Malformed(problem));
    }
    let mut directories: Vec<Directory> = Vec::new();
    for entry in entries {
        let known = directories.iter().any(|other| other.path == entry.path);
        if known || entry.path.file() == odf.file() {
            notes.add(format!("EF(ODF) names {} again", entry.path.hex()));
        } else {
            directories.push(entry);
        }
    }
    Ok(directories)
}

/// Cards of ISO/IEC 7816-15 may wrap the whole file in a SEQUENCE.
pub(super) fn unwrap<'a>(file: &'a [u8], budget: &'a Budget) -> &'a [u8] {
    match Reader::new(file, budget).next_in_file() {
        Ok(Some(element)) if element.tag == SEQUENCE => element.value,
        _ => file,
    }
}
