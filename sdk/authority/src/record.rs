//! Small JSON files of ours: read within bounds, replaced as a whole.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

use crate::files::{self, FileError};

/// A record that cannot be used.
#[derive(Debug, Error)]
pub enum RecordError {
    /// It cannot be read any more.
    #[error("{} is damaged: {reason}; restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl RecordError {
    /// True if the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, RecordError::File(error) if error.is_not_found())
    }

    pub(crate) fn damaged(path: &Path, reason: impl ToString) -> Self {
        RecordError::Damaged {
            path: path.to_path_buf(),
            reason: reason.to_string(),
        }
    }
}

/// Reads a record of at most `limit` bytes.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(
    path: &Path,
    limit: u64,
) -> Result<T, RecordError> {
    let bytes = files::read(path, limit)?;
    serde_json::from_slice(&bytes).map_err(|error| RecordError::damaged(path, error))
}

/// Puts a record in place of the old one.
pub(crate) fn replace(path: &Path, record: &impl Serialize, mode: u32) -> Result<(), RecordError> {
    Ok(files::replace(path, &to_json(path, record)?, mode)?)
}

/// Puts a record where none is yet.
pub(crate) fn create(path: &Path, record: &impl Serialize, mode: u32) -> Result<(), RecordError> {
    Ok(files::create(path, &to_json(path, record)?, mode)?)
}

fn to_json(path: &Path, record: &impl Serialize) -> Result<Vec<u8>, RecordError> {
    let mut bytes =
        serde_json::to_vec_pretty(record).map_err(|error| RecordError::damaged(path, error))?;
    bytes.push(b'\n');
    Ok(bytes)
}
