//! Backends for tests: one that forgets, and one that fails when told to. Not part of the daemon's work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

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

/// What an operation is made to fail with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device fails (EIO) before anything is done.
    Io,
    /// No room is left (ENOSPC); nothing is done.
    Full,
    /// The device fails after a commit was done: only the answer is lost.
    LostAnswer,
}

/// A backend whose operations fail when they are told to.
pub struct Faulty<B> {
    inner: B,
    switch: FaultSwitch,
}

/// Decides which operation fails; a handle that stays in the hands of the test.
#[derive(Clone, Default)]
pub struct FaultSwitch {
    next: Arc<Mutex<Option<(u64, Fault)>>>,
}

impl FaultSwitch {
    /// Lets the `n`-th operation from now fail, counted from 1, and those after it succeed.
    pub fn fail(&self, n: u64, fault: Fault) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some((n, fault));
    }

    /// Whether the fault has come.
    pub fn is_over(&self) -> bool {
        self.next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }

    /// The fault of this operation, if it is its turn.
    fn count(&self) -> Option<Fault> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        match next.take() {
            Some((0 | 1, fault)) => Some(fault),
            Some((n, fault)) => {
                *next = Some((n - 1, fault));
                None
            }
            None => None,
        }
    }
}

impl<B: Backend> Faulty<B> {
    /// A backend that works like `inner`, and the switch that makes it fail.
    pub fn new(inner: B) -> (Self, FaultSwitch) {
        let switch = FaultSwitch::default();
        (
            Self {
                inner,
                switch: switch.clone(),
            },
            switch,
        )
    }
}

impl<B: Backend> Backend for Faulty<B> {
    fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.switch.count() {
            Some(fault) => Err(error(fault)),
            None => self.inner.get(table, key),
        }
    }

    fn scan(&self, table: Table, prefix: &str) -> Result<Rows, StoreError> {
        match self.switch.count() {
            Some(fault) => Err(error(fault)),
            None => self.inner.scan(table, prefix),
        }
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        match self.switch.count() {
            Some(Fault::LostAnswer) => {
                self.inner.commit(batch)?;
                Err(error(Fault::LostAnswer))
            }
            Some(fault) => Err(error(fault)),
            None => self.inner.commit(batch),
        }
    }
}

fn error(fault: Fault) -> StoreError {
    let attempt = "do what a test forbids";
    match fault {
        Fault::Full => StoreError::Full { attempt },
        Fault::Io | Fault::LostAnswer => StoreError::Failed {
            attempt,
            detail: "input/output error".to_owned(),
        },
    }
}
