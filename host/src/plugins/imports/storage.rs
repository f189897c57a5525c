//! `bailiwick:host/storage`: the durable state of plug-ins, a namespace at a time, with a quota.
//!
//! Layout in `Table::Values`: `<namespace>k<key>` holds a value, `<namespace>#` the bytes used. A
//! guest can name only the former.

use crate::authority::{Authority, Instance};
use crate::plugins::PluginError;
use crate::store::{StoreError, Table, Transaction};

/// Longest key of a plug-in, in bytes.
const KEY_BYTES: usize = 512;
/// What an entry takes of the quota beside its key and value, bytes: a million empty values are not for nothing.
const ENTRY: usize = 64;

/// Whose state: that of one MO instance, or a plug-in's own for one authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// The state of `instance`, kept by `plugin`: the same for every authority that may see it.
    pub fn instance(plugin: &str, instance: &Instance) -> Self {
        Self(format!(
            "{plugin}\0i\0{}\0{}\0",
            escape(&instance.moid),
            escape(&instance.miid)
        ))
    }

    /// The plug-in's own state for `authority`.
    pub fn own(plugin: &str, authority: &Authority) -> Self {
        Self(format!("{plugin}\0a\0{}\0", escape(authority.as_str())))
    }

    /// One value.
    pub fn get(&self, tx: &Transaction, key: &str) -> Result<Option<Vec<u8>>, PluginError> {
        tx.get(Table::Values, &self.location(key))
            .map_err(unavailable)
    }

    /// Keys and values that start with `prefix`, in key order, at most `limit` bytes in all.
    pub fn scan(
        &self,
        tx: &Transaction,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, PluginError> {
        let rows = tx
            .scan(Table::Values, &self.location(prefix))
            .map_err(unavailable)?;
        if rows
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>()
            > limit
        {
            return Err(PluginError::TooLarge);
        }
        let skip = self.0.len() + 1;
        Ok(rows
            .into_iter()
            .filter_map(|(key, value)| Some((key.get(skip..)?.to_owned(), value)))
            .collect())
    }

    /// Writes all entries (`None` deletes) or, when the namespace would hold more than `quota` bytes, none.
    pub fn commit(
        &self,
        tx: &Transaction,
        entries: Vec<(String, Option<Vec<u8>>)>,
        quota: usize,
    ) -> Result<(), PluginError> {
        let mark = tx.mark();
        let outcome = self.open(tx).and_then(|mut commit| {
            for (key, value) in entries {
                commit.write(&key, value)?;
            }
            commit.close(quota)
        });
        if outcome.is_err() {
            tx.roll_back_to(mark);
        }
        outcome
    }

    /// Begins a commit that is written an entry at a time. After an error the caller rolls the transaction back.
    pub(super) fn open<'a>(&'a self, tx: &'a Transaction) -> Result<Commit<'a>, PluginError> {
        Ok(Commit {
            namespace: self,
            tx,
            used: self.used(tx)?,
        })
    }

    /// Bytes of its quota that the namespace uses: keys, values, and 64 for each entry.
    pub fn used(&self, tx: &Transaction) -> Result<usize, PluginError> {
        let stored = tx
            .get(Table::Values, &format!("{}#", self.0))
            .map_err(unavailable)?;
        let bytes = stored
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_le_bytes);
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Forgets everything in the namespace.
    pub fn clear(&self, tx: &Transaction) -> Result<(), StoreError> {
        tx.delete_prefix(Table::Values, &self.0)
    }

    fn location(&self, key: &str) -> String {
        format!("{}k{key}", self.0)
    }
}

/// A commit that is being written.
pub(super) struct Commit<'a> {
    namespace: &'a Namespace,
    tx: &'a Transaction,
    used: usize,
}

impl Commit<'_> {
    /// Writes one entry; `None` deletes it.
    pub(super) fn write(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), PluginError> {
        if key.is_empty() || key.len() > KEY_BYTES {
            return Err(PluginError::InvalidArgument(Some(format!(
                "a storage key has 1 to {KEY_BYTES} bytes, not {}",
                key.len()
            ))));
        }
        let cost = |value: &Vec<u8>| ENTRY + key.len() + value.len();
        let location = self.namespace.location(key);
        let before = self.tx.get(Table::Values, &location).map_err(unavailable)?;
        self.used = self.used.saturating_sub(before.as_ref().map_or(0, cost));
        match value {
            Some(value) => {
                self.used += cost(&value);
                self.tx.put(Table::Values, &location, value);
            }
            None if before.is_some() => self.tx.delete(Table::Values, &location),
            None => {}
        }
        Ok(())
    }

    /// Ends the commit, unless the namespace would hold more than `quota` bytes.
    pub(super) fn close(self, quota: usize) -> Result<(), PluginError> {
        if self.used > quota {
            return Err(PluginError::TooLarge);
        }
        let used = (self.used as u64).to_le_bytes().to_vec();
        let location = format!("{}#", self.namespace.0);
        self.tx.put(Table::Values, &location, used);
        Ok(())
    }
}

/// Keeps the separator out of names that come from outside.
fn escape(name: &str) -> String {
    name.replace('\u{1}', "\u{1}1").replace('\0', "\u{1}0")
}

fn unavailable(error: impl std::fmt::Display) -> PluginError {
    PluginError::Unavailable(Some(error.to_string()))
}
