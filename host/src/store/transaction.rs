//! Writes that wait for the end of a command, seen by whoever reads through the same transaction.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use super::backend::{Batch, Rows, Write};
use super::{Store, StoreError, Table, from_json, to_json};

/// Pending writes over the store. Dropped without [`Transaction::commit`], it leaves no trace.
///
/// What another transaction commits meanwhile is visible through this one, except where this one wrote
/// itself: commands on an instance are serialized above, so no two transactions write the same keys.
pub struct Transaction {
    store: Store,
    pending: RefCell<Pending>,
}

/// A point to which a transaction can be rolled back.
#[derive(Debug)]
pub struct Mark(u64);

#[derive(Default)]
struct Pending {
    writes: BTreeMap<(Table, String), Entry>,
    /// What `writes` held before, in the order in which it was overwritten. Their levels never fall.
    undo: Vec<Undo>,
    /// How many marks were taken.
    level: u64,
}

/// A pending value (`None` deletes the key) and the level at which it was written.
#[derive(Clone)]
struct Entry {
    value: Option<Vec<u8>>,
    level: u64,
}

struct Undo {
    place: (Table, String),
    before: Option<Entry>,
    level: u64,
}

impl Transaction {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            pending: RefCell::default(),
        }
    }

    /// The value of a key, as it will be after the commit.
    pub fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(entry) = self.pending.borrow().writes.get(&(table, key.to_owned())) {
            return Ok(entry.value.clone());
        }
        self.store.get(table, key)
    }

    /// All keys that start with `prefix`, in byte order, as they will be after the commit.
    pub fn scan(&self, table: Table, prefix: &str) -> Result<Rows, StoreError> {
        let stored = self.store.scan(table, prefix)?;
        let pending = self.pending.borrow();
        let mut written = pending
            .writes
            .range((table, prefix.to_owned())..)
            .take_while(|((t, key), _)| *t == table && key.starts_with(prefix))
            .peekable();
        if written.peek().is_none() {
            return Ok(stored);
        }
        let mut rows: BTreeMap<String, Vec<u8>> = stored.into_iter().collect();
        for ((_, key), entry) in written {
            match &entry.value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().collect())
    }

    /// Sets the value of a key.
    pub fn put(&self, table: Table, key: &str, value: Vec<u8>) {
        self.pending
            .borrow_mut()
            .write((table, key.to_owned()), Some(value));
    }

    /// Deletes a key, whether or not it is there.
    pub fn delete(&self, table: Table, key: &str) {
        self.pending
            .borrow_mut()
            .write((table, key.to_owned()), None);
    }

    /// Deletes all keys that start with `prefix` now.
    pub fn delete_prefix(&self, table: Table, prefix: &str) -> Result<(), StoreError> {
        for (key, _) in self.scan(table, prefix)? {
            self.delete(table, &key);
        }
        Ok(())
    }

    /// [`Self::get`], read as JSON.
    pub fn get_json<T: DeserializeOwned>(
        &self,
        table: Table,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        self.get(table, key)?
            .map(|value| from_json(table, &value))
            .transpose()
    }

    /// [`Self::scan`], read as JSON.
    pub fn scan_json<T: DeserializeOwned>(
        &self,
        table: Table,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let rows = self.scan(table, prefix)?.into_iter();
        rows.map(|(key, value)| Ok((key, from_json(table, &value)?)))
            .collect()
    }

    /// [`Self::put`], written as JSON.
    pub fn put_json<T: Serialize + ?Sized>(
        &self,
        table: Table,
        key: &str,
        value: &T,
    ) -> Result<(), StoreError> {
        self.put(table, key, to_json(table, value)?);
        Ok(())
    }

    /// Whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.pending.borrow().writes.is_empty()
    }

    /// A savepoint: [`Self::roll_back_to`] undoes what is written from now on.
    pub fn mark(&self) -> Mark {
        let mut pending = self.pending.borrow_mut();
        pending.level += 1;
        Mark(pending.level)
    }

    /// Undoes everything written since the mark was taken, and not committed.
    pub fn roll_back_to(&self, mark: Mark) {
        self.pending.borrow_mut().roll_back_to(mark.0);
    }

    /// Makes what was written durable, all or nothing, and leaves the transaction empty either way.
    ///
    /// Dropping the future does not take the commit back: it is then unknown whether it happened.
    pub async fn commit(&self) -> Result<(), StoreError> {
        let batch = self.pending.borrow_mut().drain();
        self.store.commit(batch).await
    }
}

impl Pending {
    fn write(&mut self, place: (Table, String), value: Option<Vec<u8>>) {
        let entry = Entry {
            value,
            level: self.level,
        };
        let before = self.writes.insert(place.clone(), entry);
        // Written at this level already: the undo for this level is there, and a plug-in that writes a
        // key again and again does not pile up its old values.
        if before
            .as_ref()
            .is_none_or(|entry| entry.level != self.level)
        {
            self.undo.push(Undo {
                place,
                before,
                level: self.level,
            });
        }
    }

    fn roll_back_to(&mut self, level: u64) {
        while let Some(undo) = self.undo.pop_if(|undo| undo.level >= level) {
            match undo.before {
                Some(entry) => self.writes.insert(undo.place, entry),
                None => self.writes.remove(&undo.place),
            };
        }
    }

    fn drain(&mut self) -> Batch {
        self.undo.clear();
        let writes = std::mem::take(&mut self.writes);
        let writes: Vec<Write> = writes
            .into_iter()
            .map(|((table, key), entry)| Write {
                table,
                key,
                value: entry.value,
            })
            .collect();
        writes.into()
    }
}

#[cfg(test)]
mod tests;
