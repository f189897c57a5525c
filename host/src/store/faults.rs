//! Backends for tests: one that forgets, and one that fails when told to. Not part of the daemon's work.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Backend, Batch, Rows, StoreError, Table};

/// A backend in memory.
#[derive(Default)]
pub struct Memory {
    rows: Mutex<BTreeMap<(Table, String), Vec<u8>>>,
}

impl Backend for Memory {
    fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(rows.get(&(table, key.to_owned())).cloned())
    }

    fn scan(&self, table: Table, prefix: &str) -> Result<Rows, StoreError> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(rows
            .range((table, prefix.to_owned())..)
            .take_while(|((t, key), _)| *t == table && key.starts_with(prefix))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for write in batch.writes() {
            let place = (write.table, write.key.clone());
            match &write.value {
                Some(value) => rows.insert(place, value.clone()),
                None => rows.remove(&place),
            };
        }
        Ok(())
    }
}
