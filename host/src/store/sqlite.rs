//! The backend on SQLite: constant SQL, bound values, one connection that reads and one that writes.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};

use super::backend::{Backend, Batch, Rows};
use super::tables::{MIGRATIONS, SCHEMA_VERSION};
use super::{Durability, StoreError, Table};

/// "BLWK" in the header of the file: a database of ours.
const APPLICATION_ID: i64 = 0x424C_574B;

/// How long a connection waits for the other one at the rare moments where SQLite locks (recovery, reset of
/// the log).
const BUSY: Duration = Duration::from_secs(5);

/// The log shrinks to this after a checkpoint, in bytes. Stops one large transaction from holding disk space.
const JOURNAL_BYTES: i64 = 4 << 20;

pub(super) struct Sqlite {
    file: PathBuf,
    /// Taken by the runtime thread, and for moments by the store thread; never during an fsync.
    reader: Mutex<Connection>,
    /// Taken by the store thread alone.
    writer: Mutex<Connection>,
}

impl Sqlite {
    /// Opens an existing, perhaps empty file.
    pub(super) fn open(file: &Path, durability: Durability) -> Result<Self, StoreError> {
        let error = |attempt| move |e| to_error(file, attempt, e);
        let mut writer =
            connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(error("open the store"))?;
        check_identity(file, &writer)?;
        use_log(&writer, durability).map_err(error("set up the store"))?;
        check_pages(file, &writer)?;
        migrate(file, &mut writer)?;
        let reader = connect(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .map_err(error("open the store for reading"))?;
        Ok(Self {
            file: file.to_owned(),
            reader: Mutex::new(reader),
            writer: Mutex::new(writer),
        })
    }

    /// Lets the file grow by at most so many pages, as a full disk would.
    #[cfg(test)]
    pub(super) fn leave_pages(&self, pages: i64) {
        let writer = lock(&self.writer);
        let now: i64 = writer
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        let limit = now + pages;
        writer
            .pragma_update_and_check(None, "max_page_count", limit, |_| Ok(()))
            .unwrap();
    }

    /// A setting of the reading and of the writing connection.
    #[cfg(test)]
    pub(super) fn settings(&self, pragma: &str) -> [i64; 2] {
        [&self.reader, &self.writer].map(|c| {
            lock(c)
                .pragma_query_value(None, pragma, |row| row.get(0))
                .unwrap()
        })
    }

    fn failed(&self, attempt: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
        move |e| to_error(&self.file, attempt, e)
    }
}

impl Backend for Sqlite {
    fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = format!("SELECT value FROM {} WHERE key = ?1", table.name());
        lock(&self.reader)
            .query_one(&sql, [key.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(self.failed("read the store"))
    }

    fn scan(&self, table: Table, prefix: &str) -> Result<Rows, StoreError> {
        let rows = || -> rusqlite::Result<Vec<(Vec<u8>, Vec<u8>)>> {
            let reader = lock(&self.reader);
            let sql = format!(
                "SELECT key, value FROM {} WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key",
                table.name()
            );
            let mut select = reader.prepare(&sql)?;
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            select
                .query_map((prefix.as_bytes(), behind(prefix)), read)?
                .collect()
        };
        let rows = rows().map_err(self.failed("read the store"))?;
        rows.into_iter()
            .map(|(key, value)| match String::from_utf8(key) {
                Ok(key) => Ok((key, value)),
                Err(_) => Err(StoreError::Corrupt {
                    file: self.file.clone(),
                    detail: format!("a key in {} is not text", table.name()),
                }),
            })
            .collect()
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let write = || -> rusqlite::Result<()> {
            let mut writer = lock(&self.writer);
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for write in batch.writes() {
                let (name, key) = (write.table.name(), write.key.as_bytes());
                match &write.value {
                    Some(value) => transaction.execute(
                        &format!("REPLACE INTO {name} (key, value) VALUES (?1, ?2)"),
                        (key, value.as_slice()),
                    )?,
                    None => {
                        transaction.execute(&format!("DELETE FROM {name} WHERE key = ?1"), [key])?
                    }
                };
            }
            transaction.commit()
        };
        write().map_err(self.failed("write to the store"))
    }
}

fn connect(file: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    // The file is ours, but whoever can change it must not reach code through its schema.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", 0)?;
    Ok(connection)
}

fn check_identity(file: &Path, connection: &Connection) -> Result<(), StoreError> {
    let number = |pragma| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
            .map_err(|e| to_error(file, "open the store", e))
    };
    let (application, schema) = (number("application_id")?, number("user_version")?);
    if (application, schema) != (0, 0) && application != APPLICATION_ID {
        let detail = "it belongs to another program".to_owned();
        return Err(StoreError::Corrupt {
            file: file.to_owned(),
            detail,
        });
    }
    if u32::try_from(schema).is_ok_and(|schema| schema <= SCHEMA_VERSION) {
        Ok(())
    } else {
        Err(StoreError::Newer {
            file: file.to_owned(),
            found: schema,
            known: SCHEMA_VERSION,
        })
    }
}

fn use_log(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let mode = "WAL";
    connection.pragma_update_and_check(None, "journal_mode", mode, |row| {
        let set: String = row.get(0)?;
        if set.eq_ignore_ascii_case(mode) {
            Ok(())
        } else {
            Err(rusqlite::Error::InvalidParameterName(format!(
                "journal_mode stays {set}"
            )))
        }
    })?;
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Off => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)
}

fn check_pages(file: &Path, connection: &Connection) -> Result<(), StoreError> {
    let found: String = connection
        .query_one("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|e| to_error(file, "check the store", e))?;
    match found.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Corrupt {
            file: file.to_owned(),
            detail: found,
        }),
    }
}

/// Brings the schema up to date, in one transaction.
fn migrate(file: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let mut run = || -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let schema: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if schema == SCHEMA_VERSION {
            return Ok(());
        }
        for step in MIGRATIONS.iter().skip(schema as usize) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()
    };
    run().map_err(|e| to_error(file, "bring the store's schema up to date", e))
}

/// The first key behind all that start with `prefix`; `None` if there is no end. UTF-8 has no byte 0xFF, so
/// the last byte can always be counted up.
fn behind(prefix: &str) -> Option<Vec<u8>> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn to_error(file: &Path, attempt: &'static str, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { attempt },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt {
            file: file.to_owned(),
            detail: error.to_string(),
        },
        _ => StoreError::Failed {
            attempt,
            detail: error.to_string(),
        },
    }
}
