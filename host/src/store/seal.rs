//! What plug-ins keep is sealed between the store and the disk: AES-256-GCM-SIV, bound to its place.
//!
//! Each namespace (an instance, or a plug-in's own state for an authority) has a key of its own, which lies in
//! [`Table::Keys`], wrapped by the device key. A namespace has one owner at a time, so no key serves two
//! authorities; and an instance can change hands without being sealed anew. The key goes with the last value.
//!
//! What it gives: a value cannot be moved to another place or altered in the file without being noticed, and
//! what was deleted stays unreadable wherever the disk kept it. The device key is a file beside the database,
//! so this is no protection against whoever takes the whole directory (choice: until a TPM or a card holds
//! that key). An older value put back in its own place is not noticed.
//!
//! GCM-SIV because a device may restore its random numbers together with a snapshot: a nonce that comes twice
//! then reveals only that two values are equal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::backend::{Backend, Batch, Rows, Write};
use super::{Durability, StoreError, Table, directory};

/// First byte of what is sealed: the format below.
const FORMAT: u8 = 1;

/// Length of every key, in bytes.
const KEY_LEN: usize = 32;

/// The entry of [`Table::Keys`] that shows whether the device key is the right one. No namespace has so many
/// parts.
const WITNESS: &str = "\0\0\0\0";

/// How often a read is tried while commits change a namespace and its key under it.
const TRIES: usize = 5;

/// A backend whose [`Table::Values`] are sealed in the one behind it.
pub(super) struct Sealed<B> {
    inner: B,
    device_key: RandomizedNonceKey,
}

impl<B: Backend> Sealed<B> {
    /// Reads the device key of the directory, or makes it together with the store.
    pub(super) fn open(
        inner: B,
        directory: &Path,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        let file = directory.join(directory::DEVICE_KEY);
        let found = directory::read_file(&file, KEY_LEN as u64 + 1)?;
        let witness = inner.get(Table::Keys, WITNESS)?;
        let key = match (found.map(<[u8; KEY_LEN]>::try_from), &witness) {
            (Some(Ok(key)), _) => key,
            (_, None) => {
                // Nothing was ever sealed: the store is new, or power was cut while it was made.
                let key = random()?;
                directory::write_file(directory, directory::DEVICE_KEY, &key, durability)?;
                key
            }
            (found, Some(_)) => {
                let what = if found.is_none() {
                    "is missing"
                } else {
                    "is damaged"
                };
                let problem = format!(
                    "the key of the sealed values {what}; restore the backup that the database is from, with this file"
                );
                return Err(StoreError::DeviceKey { file, problem });
            }
        };
        let sealed = Self::with_key(inner, &key)?;
        match witness {
            Some(witness) if open(&sealed.device_key, Table::Keys, WITNESS, &witness).is_none() => {
                let problem = "this is not the key that the values of the store are sealed with; restore the backup that the database is from, with this file";
                Err(StoreError::DeviceKey {
                    file,
                    problem: problem.to_owned(),
                })
            }
            Some(_) => Ok(sealed),
            None => {
                let witness = seal(&sealed.device_key, Table::Keys, WITNESS, &random()?)?;
                let mut batch = Batch::new();
                batch.put(Table::Keys, WITNESS, witness);
                sealed.inner.commit(&batch)?;
                Ok(sealed)
            }
        }
    }

    fn with_key(inner: B, key: &[u8; KEY_LEN]) -> Result<Self, StoreError> {
        Ok(Self {
            inner,
            device_key: to_key(key)?,
        })
    }

    /// The key of a namespace, if it has one.
    fn key(&self, namespace: &str) -> Result<Option<RandomizedNonceKey>, StoreError> {
        let Some(wrapped) = self.inner.get(Table::Keys, namespace)? else {
            return Ok(None);
        };
        match open(&self.device_key, Table::Keys, namespace, &wrapped) {
            Some(key) => to_key(&key).map(Some),
            None => Err(unreadable(Table::Keys)),
        }
    }

    /// A new key for a namespace, and the write that keeps it.
    fn new_key(&self, namespace: &str) -> Result<(RandomizedNonceKey, Write), StoreError> {
        let key: [u8; KEY_LEN] = random()?;
        let wrapped = seal(&self.device_key, Table::Keys, namespace, &key)?;
        let write = Write {
            table: Table::Keys,
            key: namespace.to_owned(),
            value: Some(wrapped),
        };
        Ok((to_key(&key)?, write))
    }

    /// Whether nothing is left of a namespace without the keys in `deleted`.
    fn is_gone(&self, namespace: &str, deleted: &BTreeSet<&str>) -> Result<bool, StoreError> {
        let rows = self.inner.scan(Table::Values, namespace)?;
        let mut left = rows
            .iter()
            .filter(|(key, _)| namespace_of(key) == namespace && !deleted.contains(key.as_str()));
        Ok(left.next().is_none())
    }
}

impl<B: Backend> Backend for Sealed<B> {
    fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if table != Table::Values {
            return self.inner.get(table, key);
        }
        again(|| {
            let Some(value) = self.inner.get(table, key)? else {
                return Ok(Some(None));
            };
            let opened = self
                .key(namespace_of(key))?
                .and_then(|k| open(&k, table, key, &value));
            Ok(opened.map(Some))
        })
    }

    fn scan(&self, table: Table, prefix: &str) -> Result<Rows, StoreError> {
        if table != Table::Values {
            return self.inner.scan(table, prefix);
        }
        again(|| {
            let mut rows = self.inner.scan(table, prefix)?;
            let mut keys = BTreeMap::new();
            for (key, value) in &mut rows {
                let namespace = namespace_of(key);
                if !keys.contains_key(namespace) {
                    keys.insert(namespace.to_owned(), self.key(namespace)?);
                }
                let namespace_key = keys.get(namespace).and_then(Option::as_ref);
                match namespace_key.and_then(|k| open(k, table, key, value)) {
                    Some(opened) => *value = opened,
                    None => return Ok(None),
                }
            }
            Ok(Some(rows))
        })
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut writes = Vec::with_capacity(batch.writes().len());
        let mut keys: BTreeMap<&str, RandomizedNonceKey> = BTreeMap::new();
        let mut deleted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for write in batch.writes() {
            let (table, namespace) = (write.table, namespace_of(&write.key));
            let value = match &write.value {
                Some(value) if table == Table::Values => {
                    if !keys.contains_key(namespace) {
                        let key = match self.key(namespace)? {
                            Some(key) => key,
                            None => {
                                let (key, keep) = self.new_key(namespace)?;
                                writes.push(keep);
                                key
                            }
                        };
                        keys.insert(namespace, key);
                    }
                    let sealed = keys
                        .get(namespace)
                        .map(|k| seal(k, table, &write.key, value));
                    sealed.transpose()?
                }
                None if table == Table::Values => {
                    deleted.entry(namespace).or_default().insert(&write.key);
                    None
                }
                plain => plain.clone(),
            };
            writes.push(Write {
                table,
                key: write.key.clone(),
                value,
            });
        }
        for (namespace, deleted) in &deleted {
            if !keys.contains_key(namespace) && self.is_gone(namespace, deleted)? {
                writes.push(Write {
                    table: Table::Keys,
                    key: (*namespace).to_owned(),
                    value: None,
                });
            }
        }
        self.inner.commit(&writes.into())
    }
}

/// The namespace that a key of [`Table::Values`] belongs to: what stands before its last part.
fn namespace_of(key: &str) -> &str {
    let parts = if key.split('\0').nth(1) == Some("i") {
        4
    } else {
        3
    };
    let end = key.match_indices('\0').nth(parts - 1).map(|(end, _)| end);
    end.and_then(|end| key.get(..end)).unwrap_or(key)
}

/// Tries a read again whose parts did not fit together: a commit came between reading a value and its key.
fn again<T>(read: impl Fn() -> Result<Option<T>, StoreError>) -> Result<T, StoreError> {
    for _ in 0..TRIES {
        if let Some(found) = read()? {
            return Ok(found);
        }
    }
    Err(unreadable(Table::Values))
}

/// `FORMAT`, nonce, ciphertext and tag; bound to where it will lie.
fn seal(
    key: &RandomizedNonceKey,
    table: Table,
    place: &str,
    value: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let mut text = value.to_vec();
    let nonce = key
        .seal_in_place_append_tag(bound_to(table, place), &mut text)
        .map_err(|_| failed())?;
    let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
    sealed.push(FORMAT);
    sealed.extend_from_slice(nonce.as_ref());
    sealed.append(&mut text);
    Ok(sealed)
}

/// What was sealed for this place with this key; `None` for anything else.
fn open(key: &RandomizedNonceKey, table: Table, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (&FORMAT, rest) = sealed.split_first()? else {
        return None;
    };
    let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = text.to_vec();
    let length = key
        .open_in_place(nonce, bound_to(table, place), &mut text)
        .ok()?
        .len();
    text.truncate(length);
    Some(text)
}

fn bound_to(table: Table, place: &str) -> Aad<Vec<u8>> {
    let mut bound = vec![FORMAT];
    bound.extend_from_slice(table.name().as_bytes());
    bound.push(0);
    bound.extend_from_slice(place.as_bytes());
    Aad::from(bound)
}

fn to_key(key: &[u8]) -> Result<RandomizedNonceKey, StoreError> {
    RandomizedNonceKey::new(&AES_256_GCM_SIV, key).map_err(|_| failed())
}

fn random() -> Result<[u8; KEY_LEN], StoreError> {
    let mut key = [0; KEY_LEN];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| failed())?;
    Ok(key)
}

fn failed() -> StoreError {
    let detail = "the cryptographic library refused".to_owned();
    StoreError::Failed {
        attempt: "seal a value",
        detail,
    }
}

fn unreadable(table: Table) -> StoreError {
    let detail = "its seal is broken or was made for another place".to_owned();
    StoreError::Unreadable { table, detail }
}

#[cfg(test)]
mod tests;
