//! What is kept of a renewal until it is through: the request and its key, and when it is tried again.

use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::keys::KeyRef;
use crate::store::{Store, StoreError, Table, Transaction, tables};

/// Where they are kept.
const NAME: &str = "renewal";
/// Where it is kept how much an authority was told about the end of a certificate.
const EXPIRY: &str = "expiry";

/// A renewal under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// The identity that is renewed.
    pub replaces: String,
    /// What was asked for; the same again, if the answer was lost or the service answers later.
    pub asked: Option<Asked>,
    /// Not before, Unix time in seconds.
    pub not_before: u64,
    /// Tries in a row that failed.
    pub failures: u32,
}

/// A request, and the key that it is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The key.
    pub key: KeyRef,
    /// Its public part, SubjectPublicKeyInfo in DER.
    #[serde(with = "crate::store::base64_bytes")]
    pub spki: Vec<u8>,
    /// PKCS#10, DER.
    #[serde(with = "crate::store::base64_bytes")]
    pub request: Vec<u8>,
}

impl Pending {
    /// One that begins.
    pub fn new(replaces: &str) -> Self {
        Self {
            replaces: replaces.to_owned(),
            asked: None,
            not_before: 0,
            failures: 0,
        }
    }

    /// The one of an authority.
    pub fn of(store: &Store, authority: &Authority) -> Result<Option<Self>, StoreError> {
        store.get_json(Table::Meta, &key(authority))
    }

    /// Writes it.
    pub fn put(&self, tx: &Transaction, authority: &Authority) -> Result<(), StoreError> {
        tx.put_json(Table::Meta, &key(authority), self)
    }

    /// It is through, or pointless.
    pub fn forget(tx: &Transaction, authority: &Authority) {
        tx.delete(Table::Meta, &key(authority));
    }

    /// The authority has no account any more.
    pub fn forget_all(tx: &Transaction, authority: &Authority) {
        Self::forget(tx, authority);
        tx.delete(Table::Meta, &tables::key(&[EXPIRY, authority.as_str()]));
    }

    /// The keys of all requests that are under way.
    pub fn keys(store: &Store) -> Result<Vec<KeyRef>, StoreError> {
        let all = store.scan_json::<Self>(Table::Meta, &tables::prefix(&[NAME]))?;
        Ok(all
            .into_iter()
            .filter_map(|(_, pending)| Some(pending.asked?.key))
            .collect())
    }

    /// Whether an authority has not been told yet that this certificate ends within so many days; from now on it has.
    pub fn tell_once(
        tx: &Transaction,
        authority: &Authority,
        id: &str,
        days: u64,
    ) -> Result<bool, StoreError> {
        let key = tables::key(&[EXPIRY, authority.as_str()]);
        let told: Option<(String, u64)> = tx.get_json(Table::Meta, &key)?;
        if told.is_some_and(|(of, at)| of == id && at <= days) {
            return Ok(false);
        }
        tx.put_json(Table::Meta, &key, &(id, days))?;
        Ok(true)
    }
}

fn key(authority: &Authority) -> String {
    tables::key(&[NAME, authority.as_str()])
}
