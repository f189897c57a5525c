//! What the store needs of a database: three operations. Another database, a fault or a seal fits in here.

use super::{error::StoreError, tables::Table};

/// Key and value, in the order of the keys' bytes.
pub type Rows = Vec<(String, Vec<u8>)>;

/// A durable, ordered map per table. One thread calls `get` and `scan`, another one `commit`, at the same
/// time; reads never wait for a commit.
pub trait Backend: Send + Sync {
    /// The value of a key. A batch whose `commit` has returned is seen.
    fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// All keys that start with `prefix`, in byte order. A moment's state: no half of a batch is seen.
    fn scan(&self, table: Table, prefix: &str) -> Result<Rows, StoreError>;

    /// Applies all writes or none; durable when it returns without error.
    fn commit(&self, batch: &Batch) -> Result<(), StoreError>;
}

/// Writes that belong together.
#[derive(Clone, Default)]
pub struct Batch {
    writes: Vec<Write>,
}

/// One write of a batch.
#[derive(Clone)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// Which key.
    pub key: String,
    /// The new value; `None` deletes the key.
    pub value: Option<Vec<u8>>,
}

impl Batch {
    /// No writes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a key.
    pub fn put(&mut self, table: Table, key: impl Into<String>, value: Vec<u8>) {
        self.writes.push(Write {
            table,
            key: key.into(),
            value: Some(value),
        });
    }

    /// Deletes a key.
    pub fn delete(&mut self, table: Table, key: impl Into<String>) {
        self.writes.push(Write {
            table,
            key: key.into(),
            value: None,
        });
    }

    /// The writes, in order; a later one wins.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

impl std::fmt::Debug for Batch {
    /// Without the values, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.writes.iter().map(|w| (w.table, &w.key)))
            .finish()
    }
}

impl From<Vec<Write>> for Batch {
    fn from(writes: Vec<Write>) -> Self {
        Self { writes }
    }
}
