//! Where it is kept: one durable, ordered key-value store, and a transaction per command.
//!
//! ```text
//!  runtime thread                             store thread
//!  Transaction ── get, scan ──▶ read connection
//!       │
//!       └─ commit(batch) ─────── queue ─────▶ write connection: one SQL transaction, fsync
//! ```
//!
//! The runtime thread never waits for an fsync, and its reads never wait for the writer: SQLite's
//! write-ahead log gives every read the last committed state. That needs two connections, hence shared
//! memory and not `locking_mode=EXCLUSIVE`; what exclusive locking would have kept out, a second process,
//! is kept out by a lock on a file of its own.
//!
//! What plug-ins keep ([`Table::Values`]) is sealed on its way to the disk, see [`seal`].

mod backend;
mod directory;
mod error;
mod json;
mod recent;
mod seal;
mod sqlite;
pub mod tables;
mod transaction;

#[doc(hidden)]
pub mod faults;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot};

pub use self::backend::{Backend, Batch, Rows, Write};
pub use self::error::StoreError;
pub use self::json::{base64_bytes, base64_list};
pub use self::tables::{SCHEMA_VERSION, Table};
pub use self::transaction::{Mark, Transaction};
pub use crate::config::Durability;

use self::directory::Lock;
use self::recent::{Clock, Recent};
use self::seal::Sealed;
use self::sqlite::Sqlite;

/// Batches that wait for the store thread. More callers wait in turn.
const QUEUE: usize = 64;

/// How a store is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether a commit survives a power cut.
    pub durability: Durability,
}

/// The store; a cheap handle. The files are closed and the lock is released with the last handle.
#[derive(Clone)]
pub struct Store {
    inner: Rc<Inner>,
}

struct Inner {
    /// `None` only while dropping.
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    backend: Arc<dyn Backend>,
    clock: Arc<Clock>,
    recent: Recent,
    durability: Durability,
    /// Last: released when the connections are closed.
    _lock: Option<Lock>,
}

/// A batch on its way to the store thread, and where the outcome goes.
struct Job {
    batch: Batch,
    outcome: oneshot::Sender<Result<(), StoreError>>,
}

impl Store {
    /// Opens the store in `directory`, or makes it: the directory with mode 0700, its files with 0600. Checks
    /// the database, brings an older schema up to date and refuses a newer one.
    ///
    /// Whoever confines the process does so before: the store starts a thread.
    pub fn open(directory: &Path, options: Options) -> Result<Self, StoreError> {
        let lock = directory::prepare(directory, options.durability)?;
        let sqlite = Sqlite::open(&directory.join(directory::DATABASE), options.durability)?;
        let sealed = Sealed::open(sqlite, directory, options.durability)?;
        Self::start(Arc::new(sealed), options.durability, Some(lock))
    }

    /// A store over another backend, for tests.
    #[doc(hidden)]
    pub fn over(backend: impl Backend + 'static) -> Result<Self, StoreError> {
        Self::start(Arc::new(backend), Durability::Off, None)
    }

    /// A store that forgets, for tests.
    #[doc(hidden)]
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::over(faults::Memory::default())
    }

    fn start(
        backend: Arc<dyn Backend>,
        durability: Durability,
        lock: Option<Lock>,
    ) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (writing, clock) = (Arc::clone(&backend), Arc::new(Clock::default()));
        let ticking = Arc::clone(&clock);
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_all(&*writing, &ticking, jobs))
            .map_err(|e| StoreError::Failed {
                attempt: "start the store thread",
                detail: e.to_string(),
            })?;
        let inner = Inner {
            queue: Some(queue),
            writer: Some(writer),
            backend,
            clock,
            recent: Recent::default(),
            durability,
            _lock: lock,
        };
        Ok(Self {
            inner: Rc::new(inner),
        })
    }

    /// The value of a key. A batch whose commit has returned is seen.
    pub fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Inner {
            backend,
            clock,
            recent,
            ..
        } = &*self.inner;
        recent.value(clock, table, key, || backend.get(table, key))
    }

    /// All keys that start with `prefix` and their values, in byte order of the keys.
    pub fn scan(&self, table: Table, prefix: &str) -> Result<Rows, StoreError> {
        let Inner {
            backend,
            clock,
            recent,
            ..
        } = &*self.inner;
        recent.rows(clock, table, prefix, || backend.scan(table, prefix))
    }

    /// [`Self::get`], read as JSON.
    pub fn get_json<T: DeserializeOwned>(
        &self,
        table: Table,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        self.begin().get_json(table, key)
    }

    /// [`Self::scan`], read as JSON.
    pub fn scan_json<T: DeserializeOwned>(
        &self,
        table: Table,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, StoreError> {
        self.begin().scan_json(table, prefix)
    }

    /// A transaction without writes.
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    /// Makes a batch durable, all or nothing. After an error nothing of it is there, unless the device failed in
    /// the very moment of answering: then all of it may be.
    ///
    /// Dropping the future does not take the batch back: it is then unknown whether it was written. There is
    /// no deadline for the same reason: a disk that hangs leaves no honest answer.
    pub async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let queue = self.inner.queue.as_ref().ok_or(StoreError::Stopped)?;
        let (outcome, done) = oneshot::channel();
        queue
            .send(Job { batch, outcome })
            .await
            .map_err(|_| StoreError::Stopped)?;
        done.await.map_err(|_| StoreError::Stopped)?
    }

    /// Whether commits survive a power cut; `status` shows it.
    pub fn durability(&self) -> Durability {
        self.inner.durability
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

/// The store thread: one batch after the other, until the last handle is gone.
fn write_all(backend: &dyn Backend, clock: &Clock, mut jobs: mpsc::Receiver<Job>) {
    while let Some(Job { batch, outcome }) = jobs.blocking_recv() {
        clock.tick();
        let result = backend.commit(&batch);
        clock.tick();
        if let Err(error) = &result {
            tracing::error!(%error, writes = batch.writes().len(), "commit failed");
        }
        let _gone = outcome.send(result);
    }
}

fn from_json<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|e| unreadable(table, &e))
}

fn to_json<T: Serialize + ?Sized>(table: Table, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|e| unreadable(table, &e))
}

/// Where a JSON error lies, without what it quotes of the value.
fn unreadable(table: Table, error: &serde_json::Error) -> StoreError {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "unexpected content",
        serde_json::error::Category::Eof => "cut off",
        _ => "not JSON",
    };
    let detail = format!("{kind} at line {} column {}", error.line(), error.column());
    StoreError::Unreadable { table, detail }
}

#[cfg(test)]
mod tests;
