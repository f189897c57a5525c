//! The commands that wait for one device: first in, first out, removed only when their status has come back.
//!
//! At least once: after a crash, or when a device breaks off, a command is sent again. `sent` counts how often.

use bailiwick_protocol::{Command, CommandError, Limits};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};
use thiserror::Error;

use crate::{
    clock,
    device::DeviceId,
    files::{self, FileError, PRIVATE},
    record::{self, RecordError},
};

/// Commands that may wait for one device. Stops a script in a loop from filling the disk.
pub const QUEUE_COMMANDS: usize = 1_000;
/// Bytes of a queue file: as many commands of the usual size, or some of the greatest.
const QUEUE_BYTES: u64 = 32 << 20;

/// Why a queue cannot be used.
#[derive(Debug, Error)]
pub enum QueueError {
    /// Something that is no command.
    #[error("not a command: {0}")]
    Command(#[from] CommandError),
    /// Too many wait already.
    #[error(
        "{device} has {QUEUE_COMMANDS} commands waiting; let it connect, or remove some with --remove or --clear"
    )]
    Full {
        /// The device.
        device: DeviceId,
    },
    /// The record could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The lock could not be taken.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A command that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Unique among all commands that were ever queued for this device; counts up from 1.
    pub id: u64,
    /// The command.
    pub command: Command,
    /// When it was queued, RFC 3339.
    pub queued: String,
    /// How often it has been sent; more than 1 = its status did not come back.
    pub sent: u32,
}

/// The queue of one device. Several processes may use it at the same time.
#[derive(Debug, Clone)]
pub struct Queue {
    device: DeviceId,
    path: PathBuf,
    lock: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Record {
    last_id: u64,
    commands: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    id: u64,
    command: Vec<String>,
    queued: String,
    sent: u32,
}

impl Queue {
    pub(crate) fn new(directory: &Path, device: &DeviceId) -> Self {
        Queue {
            device: device.clone(),
            path: directory.join(format!("{device}.json")),
            lock: directory.join(format!("{device}.lock")),
        }
    }

    /// Adds a command at the end; returns its ID.
    pub fn push(&self, command: &Command) -> Result<u64, QueueError> {
        let ids = self.push_all(std::slice::from_ref(command))?;
        Ok(ids.last().copied().unwrap_or_default())
    }

    /// Adds all of these commands at the end, or none; returns their IDs.
    pub fn push_all(&self, commands: &[Command]) -> Result<Vec<u64>, QueueError> {
        let mut rows = Vec::new();
        for command in commands {
            let parts = command.to_parts();
            // What the device would refuse must not get in: a `Command` can be built by hand.
            Command::parse(&parts)?;
            rows.push(parts);
        }
        let queued = clock::rfc3339(SystemTime::now());
        self.change(|record| {
            if record.commands.len() + rows.len() > QUEUE_COMMANDS {
                return Err(QueueError::Full {
                    device: self.device.clone(),
                });
            }
            let mut ids = Vec::new();
            for command in rows {
                record.last_id += 1;
                ids.push(record.last_id);
                record.commands.push(Row {
                    id: record.last_id,
                    command,
                    queued: queued.clone(),
                    sent: 0,
                });
            }
            Ok(ids)
        })
    }

    /// What waits, first in first.
    pub fn list(&self) -> Result<Vec<Queued>, QueueError> {
        let mut commands = Vec::new();
        for row in self.read()?.commands {
            commands.push(Queued {
                id: row.id,
                command: Command::parse(&row.command)?,
                queued: row.queued,
                sent: row.sent,
            });
        }
        Ok(commands)
    }

    /// Counts one more sending of each of these.
    pub fn mark_sent(&self, ids: &[u64]) -> Result<(), QueueError> {
        self.change(|record| {
            for row in record
                .commands
                .iter_mut()
                .filter(|row| ids.contains(&row.id))
            {
                row.sent = row.sent.saturating_add(1);
            }
            Ok(())
        })
    }

    /// Takes these out; returns how many there were.
    pub fn remove(&self, ids: &[u64]) -> Result<usize, QueueError> {
        self.change(|record| {
            let before = record.commands.len();
            record.commands.retain(|row| !ids.contains(&row.id));
            Ok(before - record.commands.len())
        })
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Record) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let _changing = files::lock(&self.lock)?;
        let mut record = self.read()?;
        let result = change(&mut record)?;
        record::replace(&self.path, &record, PRIVATE)?;
        Ok(result)
    }

    fn read(&self) -> Result<Record, RecordError> {
        match record::read(&self.path, QUEUE_BYTES) {
            Err(error) if error.is_not_found() => Ok(Record::default()),
            other => other,
        }
    }
}

/// Reads `[["GET", "urn:…"], …]`: commands as they stand in a Package#2.
pub fn parse_commands(json: &[u8]) -> Result<Vec<Command>, CommandsError> {
    let rows: Vec<Vec<String>> = serde_json::from_slice(json)?;
    if rows.len() > Limits::DEFAULT.commands {
        return Err(CommandsError::TooMany);
    }
    let mut commands = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        commands
            .push(Command::parse(row).map_err(|source| CommandsError::Command { index, source })?);
    }
    Ok(commands)
}

/// Why a text is not a list of commands.
#[derive(Debug, Error)]
pub enum CommandsError {
    /// Not an array of arrays of strings.
    #[error(
        "expected an array of arrays of strings, such as [[\"GET\", \"urn:oma:mo:oma-dm-devinfo:1.2//\"]]: {0}"
    )]
    Json(#[from] serde_json::Error),
    /// One of them is no command.
    #[error("command {index} (counted from 0): {source}")]
    Command {
        /// Counted from 0.
        index: usize,
        /// What is wrong with it.
        source: CommandError,
    },
    /// More than a package holds.
    #[error("more than {} commands; split the file", Limits::DEFAULT.commands)]
    TooMany,
}
