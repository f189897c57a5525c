//! Which identity the device is to show to an authority's servers, for whoever plans its renewal. Needs no key.

use super::{AccountError, Accounts, trust};
use crate::authority::Authority;
use crate::certificates::{Credential, State};
use crate::keys::KeyRef;

/// The identity that the device shows to the servers of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// DER, the device's own certificate first.
    pub chain_der: Vec<Vec<u8>>,
    /// Its key.
    pub key: KeyRef,
    /// The credential; `None`: it came in the account's own document (`Auth/Trsp`).
    pub credential: Option<Credential>,
}

impl Shown {
    /// The certificate itself, DER.
    pub fn der(&self) -> &[u8] {
        self.chain_der.first().map_or(&[], Vec::as_slice)
    }

    /// As [`Credential::id`].
    pub fn id(&self) -> String {
        Credential::id_of(self.der())
    }
}

impl Accounts {
    /// What the device shows to the servers of an authority when nothing is on trial.
    pub fn shown(&self, authority: &Authority) -> Result<Option<Shown>, AccountError> {
        let Some(account) = self.get(authority)? else {
            return Ok(None);
        };
        let credentials = self.for_sessions(authority)?;
        let mut identities = trust::identities_of(&credentials);
        identities.retain(|(credential, _)| credential.state == State::Active);
        let shown = trust::shown(&account, &identities);
        Ok(shown.map(|(chain_der, key)| {
            let it = identities.iter();
            let mut it =
                it.filter(|(credential, its)| credential.chain_der == chain_der && **its == key);
            Shown {
                credential: it.next().map(|(credential, _)| (*credential).clone()),
                chain_der: chain_der.to_vec(),
                key,
            }
        }))
    }
}
