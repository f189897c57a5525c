//! How the servers of an account are judged: its own lists and pins, the newest list that was fetched, and the clock.

use serde::{Deserialize, Serialize};

use super::{Account, AccountError, Accounts, Services};
use crate::authority::Authority;
use crate::certificates::{Clock, Crl, Pending, Rules};
use crate::store::{Store, StoreError, Table, Transaction, tables};

/// Where the floor of the clock is kept.
const FLOOR: &str = "clock-floor";

/// The newest revocation list that was fetched for an authority.
#[derive(Debug, Serialize, Deserialize)]
struct Fetched {
    #[serde(with = "crate::store::base64_bytes")]
    crl_der: Vec<u8>,
}

impl Services {
    /// The rules that these make, with a list that was fetched: it takes the place of the account's own of the same issuer.
    pub(super) fn rules(&self, fetched: Option<Vec<u8>>, clock: Clock) -> Rules {
        let issuer = |der: &[u8]| Crl::read(der).ok().map(|crl| crl.issuer);
        let replaced = fetched.as_deref().and_then(issuer);
        let own = self.crls_der.iter().filter(|der| {
            let its = issuer(der);
            its.is_none() || its != replaced
        });
        Rules {
            crls_der: own.cloned().chain(fetched).collect(),
            pins: self.pins.clone(),
            clock,
        }
    }
}

impl Accounts {
    /// The clock by which everything about certificates is judged.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Keeps the floor of the clock for the next start, if it has risen.
    pub async fn keep_clock(&self) -> Result<(), StoreError> {
        let store = &self.inner.store;
        let floor = self.inner.clock.floor();
        if floor_of(store)? < floor {
            let tx = store.begin();
            tx.put_json(Table::Meta, FLOOR, &floor)?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Until when the newest revocation list of an authority holds, Unix time in seconds, if it has published one.
    pub fn crl_until(&self, authority: &Authority) -> Result<Option<i64>, AccountError> {
        let Some(account) = self.get(authority)? else {
            return Ok(None);
        };
        let rules = self.rules(authority, &account.services)?;
        let lists = rules.crls_der.iter();
        let until = lists.filter_map(|der| Some(Crl::read(der).ok()?.next_update));
        Ok(until.min())
    }

    /// Takes a revocation list that was fetched for an authority: it must hold, be signed by one of the authority's anchors, and be
    /// no older than the one that is there. Says whether anything has changed. From the first one on, the authority is judged
    /// by lists.
    pub async fn keep_crl(&self, authority: &Authority, der: &[u8]) -> Result<bool, AccountError> {
        let account = self.get(authority)?.ok_or_else(|| AccountError::Unknown {
            authority: authority.clone(),
        })?;
        let anchors = self.anchors(&account)?;
        let anchors: Vec<&[u8]> = anchors.iter().map(Vec::as_slice).collect();
        let found = Crl::verified(der, &anchors, &self.inner.clock)?;
        let rules = self.rules(authority, &account.services)?;
        let known = rules.crls_der.iter().filter_map(|der| Crl::read(der).ok());
        let is_old = known
            .filter(|crl| crl.issuer == found.issuer)
            .any(|crl| crl.this_update > found.this_update || crl.der == found.der);
        if is_old {
            return Ok(false);
        }
        let fetched = Fetched { crl_der: found.der };
        let tx = self.inner.store.begin();
        tx.put_json(Table::Meta, &key(authority), &fetched)?;
        tx.commit().await?;
        self.forget_trust(authority);
        Ok(true)
    }

    /// How certificates of an authority's applications are judged: by its lists and the clock. `Err`: its account rests.
    pub fn rules_of(&self, authority: &Authority) -> Result<Rules, AccountError> {
        let clock = self.inner.clock.clone();
        match self.get(authority)? {
            Some(Account {
                suspended: Some(why),
                ..
            }) => Err(AccountError::Suspended {
                authority: authority.clone(),
                why,
            }),
            Some(account) => Ok(self.rules(authority, &account.services)?),
            None => Ok(Rules {
                clock,
                ..Rules::default()
            }),
        }
    }

    pub(super) fn rules(
        &self,
        authority: &Authority,
        services: &Services,
    ) -> Result<Rules, StoreError> {
        let fetched: Option<Fetched> = self.inner.store.get_json(Table::Meta, &key(authority))?;
        let clock = self.inner.clock.clone();
        Ok(services.rules(fetched.map(|fetched| fetched.crl_der), clock))
    }
}

/// The floor that was kept.
pub(super) fn floor_of(store: &Store) -> Result<u64, StoreError> {
    Ok(store.get_json(Table::Meta, FLOOR)?.unwrap_or_default())
}

/// What was fetched goes with the account.
pub(super) fn forget(tx: &Transaction, authority: &Authority) {
    tx.delete(Table::Meta, &key(authority));
    Pending::forget_all(tx, authority);
}

fn key(authority: &Authority) -> String {
    tables::key(&["crl", authority.as_str()])
}
