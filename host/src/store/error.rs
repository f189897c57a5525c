//! Why the store did not do what it was asked.

use std::path::PathBuf;

use super::tables::Table;

/// Why the store did not do what it was asked. No value and no key of the store is in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room is left. Nothing was changed; the command ends with 507.
    #[error("cannot {attempt}: the disk is full; free some space and try again")]
    Full {
        /// What was tried.
        attempt: &'static str,
    },
    /// Another daemon works on this directory.
    #[error("{} is in use by another bailiwick daemon; stop that one, or give this one a state directory of its own", directory.display())]
    InUse {
        /// The state directory.
        directory: PathBuf,
    },
    /// The directory or a file in it cannot be used.
    #[error("{}: {problem}", path.display())]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The database is damaged. Nothing was changed.
    #[error("{} is damaged ({detail}). Stop the daemon, keep a copy of the whole directory, then restore a backup of it; without a backup, move it away and bootstrap the device again", file.display())]
    Corrupt {
        /// The database.
        file: PathBuf,
        /// What the database found.
        detail: String,
    },
    /// A later program wrote the database.
    #[error("{} has schema {found} and this program knows up to {known}; run the newer bailiwick, or restore a backup from before the update", file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: u32,
    },
    /// The key that opens the sealed values is missing or is another one.
    #[error("{}: {problem}", file.display())]
    DeviceKey {
        /// The file of the key.
        file: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The system refused an operation. Nothing was changed.
    #[error("cannot {attempt}: {detail}")]
    Failed {
        /// What was tried.
        attempt: &'static str,
        /// What the system said.
        detail: String,
    },
    /// A stored value is not what its room writes.
    #[error("an entry of {} is not readable ({detail}); the device was downgraded or the entry was damaged", table.name())]
    Unreadable {
        /// Where it lies.
        table: Table,
        /// What is wrong with it; never the value.
        detail: String,
    },
    /// The thread that writes has ended; only a restart helps.
    #[error("the store has stopped; restart the daemon")]
    Stopped,
}

impl StoreError {
    /// Whether space on the disk is what is missing (507 rather than 500).
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
