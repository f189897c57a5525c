//! What came back from one device: a line of JSON per result, alert and upload, in the order of arrival.

use bailiwick_protocol::{Alert, MoItem, StatusCode};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

use crate::{
    device::DeviceId,
    files::{self, FileError},
    policy::CommandResult,
};

/// Bytes of a journal that are read at most; the server sets a journal aside long before.
const READ_BYTES: u64 = 1 << 30;

/// One line of the journal. Times are RFC 3339, UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Entry {
    /// A command is done with. Twice the same `id` = the authority was stopped between the two notes that it makes.
    Result {
        /// When the status arrived.
        time: String,
        /// Number in the queue, if it comes from there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// How often it was sent, this time included.
        sent: u32,
        /// As in Package#2.
        command: Vec<String>,
        /// `sc`; nothing = the command went out with END, to which devices do not answer.
        status: Option<u16>,
        /// A few words for `status`.
        reason: String,
        /// `URI`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        uris: Vec<String>,
        /// `MO`: items of an MO serialization.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        objects: Vec<serde_json::Value>,
    },
    /// A device reported something of its own accord.
    Alert {
        /// When it arrived.
        time: String,
        /// The number of the package: 1 or 3.
        package: u8,
        /// As in the package.
        alert: serde_json::Value,
    },
    /// A device sent data to the repository.
    Upload {
        /// When it was complete.
        time: String,
        /// `PUT` or `POST`.
        method: String,
        /// Below `uploads/<device>/`.
        name: String,
        /// The device's `Content-Type`.
        media_type: Option<String>,
        /// Its size.
        bytes: u64,
    },
}

/// Why a journal cannot be read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// A line that is not ours.
    #[error("{} line {line} is damaged: {source}; remove that line", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Entry {
    pub(crate) fn result(time: &str, result: &CommandResult) -> Self {
        let status = result.status.as_ref();
        let objects = match status {
            Some(status) if !status.objects.is_empty() => {
                serde_json::from_slice(&MoItem::to_bytes(&status.objects)).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        Entry::Result {
            time: time.to_owned(),
            id: result.order.id,
            sent: result.order.sent.saturating_add(1),
            command: result.order.command.to_parts(),
            status: status.map(|status| status.code.0),
            reason: status
                .map_or("no answer to END", |status| {
                    StatusCode::reason(&status.code)
                })
                .to_owned(),
            uris: status.map(|status| status.uris.clone()).unwrap_or_default(),
            objects,
        }
    }

    pub(crate) fn alert(time: &str, package: u8, alert: &Alert) -> Self {
        let mut members = serde_json::Map::new();
        let mut text = |name: &str, value: Option<&String>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value.as_str().into());
            }
        };
        text("AlertType", Some(&alert.alert_type));
        text("SourceURI", alert.source.as_ref());
        text("TargetURI", alert.target.as_ref());
        text("DataType", alert.data_type.as_ref());
        if let Some(mark) = alert.mark {
            members.insert(
                "Mark".into(),
                serde_json::to_value(mark).unwrap_or_default(),
            );
        }
        if let Some(data) = &alert.data {
            members.insert("Data".into(), data.clone());
        }
        Entry::Alert {
            time: time.to_owned(),
            package,
            alert: members.into(),
        }
    }
}

/// The journal of one device.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
    lock: PathBuf,
}

impl Journal {
    pub(crate) fn new(directory: &Path, device: &DeviceId) -> Self {
        Journal {
            path: directory.join(format!("{device}.jsonl")),
            lock: directory.join(format!("{device}.lock")),
        }
    }

    /// Where it is; what was set aside is beside it, with `.1` at the end.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything that is in it, oldest first.
    pub fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        let bytes = match files::read(&self.path, READ_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut entries = Vec::new();
        let lines = bytes.split(|byte| *byte == b'\n');
        for (index, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(entry) => entries.push(entry),
                // Torn by a crash, and noted again after it.
                Err(error) if error.is_eof() => {}
                Err(source) => {
                    return Err(JournalError::Damaged {
                        path: self.path.clone(),
                        line: index + 1,
                        source,
                    });
                }
            }
        }
        Ok(entries)
    }

    /// Notes these durably. Sets the journal aside first if it has more than `limit` bytes.
    pub(crate) fn append(&self, entries: &[Entry], limit: u64) -> Result<(), FileError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for entry in entries {
            // Strings, numbers and JSON values always have a JSON form.
            if serde_json::to_writer(&mut lines, entry).is_ok() {
                lines.push(b'\n');
            }
        }
        // A session and an upload may end at the same time, and only one of them may set the journal aside.
        let _appending = files::lock(&self.lock)?;
        let full = std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > limit);
        if full {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            std::fs::rename(&self.path, &aside).map_err(FileError::new("set aside", &self.path))?;
        }
        files::append_lines(&self.path, &lines)
    }
}
