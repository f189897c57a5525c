//! Which identity the device is to show to an authority's servers, for whoever plans its renewal. Needs no key.

use super::{Account, AccountError, Accounts, IdentityRef};
use crate::authority::Authority;
use crate::certificates::{Credential, Role, State};
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
    /// What the device shows to the servers of an authority when nothing is on trial: the newest that was provisioned, else the
    /// account's own.
    pub fn shown(&self, authority: &Authority) -> Result<Option<Shown>, AccountError> {
        let Some(account) = self.get(authority)? else {
            return Ok(None);
        };
        let newest = self
            .for_sessions(authority)?
            .into_iter()
            .filter(|credential| credential.state == State::Active)
            .filter_map(|credential| match &credential.role {
                Role::Identity { key } => Some((key.clone(), credential)),
                _ => None,
            })
            .max_by_key(|(_, credential)| (credential.added, credential.id.clone()));
        Ok(choose(&account, newest))
    }
}

fn choose(account: &Account, newest: Option<(KeyRef, Credential)>) -> Option<Shown> {
    match (newest, &account.identity) {
        (Some((key, credential)), _) => Some(Shown {
            chain_der: credential.chain_der.clone(),
            key,
            credential: Some(credential),
        }),
        (None, IdentityRef::File { chain_der, key }) => Some(Shown {
            chain_der: chain_der.clone(),
            key: KeyRef::File(key.clone().into()),
            credential: None,
        }),
        (None, IdentityRef::None) => None,
    }
}
