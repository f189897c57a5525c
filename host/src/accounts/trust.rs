//! Whom an authority's servers have to be, and what the device shows them: the account's own, and what was provisioned.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Account, AccountError, Accounts, IdentityRef};
use crate::authority::Authority;
use crate::certificates::{Credential, Identity, Purpose, Role, State, Trust};
use crate::keys::{KeyRef, Keys};
use crate::store::StoreError;

/// What has been made of accounts and credentials.
#[derive(Default)]
pub(super) struct Trusts {
    /// Made when an authority is first talked to, forgotten when something that it is made of changes.
    made: RefCell<BTreeMap<Authority, Rc<Trust>>>,
    /// Identities on trial with which a session has failed, by [`Credential::id`]. Until the next start.
    aside: RefCell<BTreeSet<(Authority, String)>>,
    /// Counts what is forgotten, so that nothing is kept that was made of what has changed meanwhile.
    changes: Cell<u64>,
}

impl Accounts {
    /// What the device needs to talk to the servers of an authority.
    ///
    /// Servers chain to the account's own anchors or to provisioned ones. The device shows the newest provisioned
    /// identity, one on trial before others, else the account's own; what cards alone gave comes last, because a card
    /// takes no other's place. What is suspended or has another purpose than sessions does not count.
    pub async fn trust(
        &self,
        authority: &Authority,
        keys: &Keys,
    ) -> Result<Rc<Trust>, AccountError> {
        let trusts = &self.inner.trusts;
        if let Some(known) = trusts.made.borrow().get(authority) {
            return Ok(known.clone());
        }
        let account = self.get(authority)?.ok_or_else(|| AccountError::Unknown {
            authority: authority.clone(),
        })?;
        if let Some(why) = account.suspended {
            return Err(AccountError::Suspended {
                authority: authority.clone(),
                why,
            });
        }
        let changes = trusts.changes.get();
        let credentials = self.for_sessions(authority)?;
        let identity = self.identity(&account, &credentials, keys).await?;
        let anchors = anchors(&account, &credentials);
        let rules = self.rules(authority, &account.services)?;
        let trust = Rc::new(Trust::by_rules(
            authority.clone(),
            &anchors,
            &rules,
            identity,
        )?);
        if trusts.changes.get() == changes {
            let mut made = trusts.made.borrow_mut();
            made.insert(authority.clone(), trust.clone());
        }
        Ok(trust)
    }

    /// What the servers of an account chain to, DER: its own anchors, and those that were provisioned.
    pub(super) fn anchors(&self, account: &Account) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(anchors(account, &self.for_sessions(&account.authority)?))
    }

    /// What was provisioned for sessions with an authority, and counts.
    pub(super) fn for_sessions(
        &self,
        authority: &Authority,
    ) -> Result<Vec<Credential>, StoreError> {
        let mut credentials = Credential::of(&self.inner.store.begin(), authority)?;
        credentials.retain(|credential| {
            credential.state != State::Suspended && credential.purposes.contains(&Purpose::Sessions)
        });
        Ok(credentials)
    }

    /// Something that the trust of an authority is made of has changed.
    pub fn forget_trust(&self, authority: &Authority) {
        let trusts = &self.inner.trusts;
        trusts.changes.set(trusts.changes.get() + 1);
        trusts.made.borrow_mut().remove(authority);
    }

    /// A session with the identity on trial `id` ([`Credential::id`]) has failed: the one that it is to replace is
    /// shown again, until the next start of the daemon.
    pub fn set_aside(&self, authority: &Authority, id: &str) {
        let aside = (authority.clone(), id.to_owned());
        self.inner.trusts.aside.borrow_mut().insert(aside);
        self.forget_trust(authority);
    }

    /// As if [`Self::set_aside`] had not been called.
    pub fn try_again(&self, authority: &Authority, id: &str) {
        let aside = (authority.clone(), id.to_owned());
        self.inner.trusts.aside.borrow_mut().remove(&aside);
        self.forget_trust(authority);
    }

    /// The [`Credential::id`] of what sessions with an authority show; `None`: nothing, or something has changed since
    /// the last one began.
    pub fn last_shown(&self, authority: &Authority) -> Option<String> {
        let made = self.inner.trusts.made.borrow();
        Some(made.get(authority)?.identity()?.id())
    }

    async fn identity(
        &self,
        account: &Account,
        credentials: &[Credential],
        keys: &Keys,
    ) -> Result<Option<Identity>, AccountError> {
        let mut identities = identities_of(credentials);
        for (credential, key) in &identities {
            if !self.is_on_trial(credential) {
                continue;
            }
            match make(&credential.chain_der, key, keys).await {
                Ok(identity) => return Ok(Some(identity)),
                Err(error) => {
                    let (authority, id) = (&account.authority, &credential.id);
                    tracing::warn!(%authority, %id, "an identity on trial cannot be used: {error}");
                }
            }
        }
        identities.retain(|(credential, _)| credential.state == State::Active);
        match shown(account, &identities) {
            None => Ok(None),
            Some((chain_der, key)) => Ok(Some(make(chain_der, &key, keys).await?)),
        }
    }

    fn is_on_trial(&self, credential: &Credential) -> bool {
        let name = (credential.authority.clone(), credential.id.clone());
        matches!(credential.state, State::Trial { .. })
            && !self.inner.trusts.aside.borrow().contains(&name)
    }
}

/// The identities among credentials, newest first.
pub(super) fn identities_of(credentials: &[Credential]) -> Vec<(&Credential, &KeyRef)> {
    let mut identities: Vec<_> = credentials
        .iter()
        .filter_map(|credential| match &credential.role {
            Role::Identity { key } => Some((credential, key)),
            _ => None,
        })
        .collect();
    identities.sort_by_key(|(credential, _)| Reverse((credential.added, &credential.id)));
    identities
}

/// Which identity is shown, of those that count (newest first) and the account's own.
pub(super) fn shown<'a>(
    account: &'a Account,
    identities: &[(&'a Credential, &KeyRef)],
) -> Option<(&'a [Vec<u8>], KeyRef)> {
    let is_from_cards = |credential: &Credential| {
        let mut origins = credential.origins.iter();
        origins.all(|origin| origin.card().is_some())
    };
    let newest = |from_cards: bool| {
        let mut identities = identities.iter();
        let found = identities.find(|(credential, _)| is_from_cards(credential) == from_cards);
        found.map(|(credential, key)| (credential.chain_der.as_slice(), (*key).clone()))
    };
    let own = match &account.identity {
        IdentityRef::None => None,
        IdentityRef::File { chain_der, key } => {
            Some((chain_der.as_slice(), KeyRef::File(key.clone().into())))
        }
    };
    newest(false).or(own).or_else(|| newest(true))
}

async fn make(chain_der: &[Vec<u8>], key: &KeyRef, keys: &Keys) -> Result<Identity, AccountError> {
    let public = keys.public_key(key).await?;
    let identity = Identity::new(chain_der, key.clone(), &public, keys.signer())?;
    Ok(identity)
}

/// The account's own, and those that were provisioned.
fn anchors(account: &Account, credentials: &[Credential]) -> Vec<Vec<u8>> {
    let mut anchors = account.anchors_der.clone();
    for credential in credentials {
        if credential.role == Role::Anchor {
            anchors.extend(credential.chain_der.first().cloned());
        }
    }
    anchors.sort();
    anchors.dedup();
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{Source, prepare};
    use crate::certificates::Origin;
    use crate::certificates::testing::Ca;
    use crate::keys::{CardId, CardKind};
    use bailiwick_protocol::bootstrap::TrspAuth;

    #[test]
    fn the_identity_of_a_card_takes_no_others_place() {
        let ca = Ca::new("CA");
        let account = |own: bool| {
            let issued = ca.client("own");
            let mut account = bailiwick_protocol::Account {
                srv_id: "north".into(),
                srv_uri: "https://north.example/".into(),
                name: "North".into(),
                permitted_moids: vec!["urn:oma:mo:x:1.0".into()],
                ..Default::default()
            };
            account.auth.anchors_der = vec![ca.der()];
            account.auth.trsp = own.then(|| TrspAuth {
                data: issued.chain_der[0].clone(),
                secret: issued.key_der.clone().into(),
            });
            let prepared = prepare(&account, &Source::DOCUMENT).unwrap();
            prepared.account().clone()
        };
        let identity = |name: &str, origin: Origin| Credential {
            authority: Authority::server("north"),
            id: name.into(),
            role: Role::Identity {
                key: KeyRef::File(name.into()),
            },
            chain_der: vec![ca.client(name).chain_der.remove(0)],
            purposes: [Purpose::Sessions].into(),
            origins: [origin].into(),
            state: State::Active,
            added: 0,
        };
        let card = CardId {
            kind: CardKind::Piv,
            serial: "1".into(),
        };
        let path = String::new();
        let of_card = identity("card", Origin::Card { card, path });
        let enrolled = identity("enrolled", Origin::Enrolment("https://est".into()));
        let key = KeyRef::File("k".into());
        let chosen = |account: &Account, identities: &[&Credential]| {
            let identities: Vec<_> = identities.iter().map(|c| (*c, &key)).collect();
            shown(account, &identities).map(|(chain_der, _)| chain_der.to_vec())
        };
        let (bare, own) = (account(false), account(true));
        let own_chain = match &own.identity {
            IdentityRef::File { chain_der, .. } => chain_der.clone(),
            IdentityRef::None => panic!("it has one"),
        };
        assert_eq!(chosen(&bare, &[]), None);
        assert_eq!(chosen(&bare, &[&of_card]), Some(of_card.chain_der.clone()));
        assert_eq!(chosen(&own, &[&of_card]), Some(own_chain));
        for account in [&bare, &own] {
            let enrolled_wins = chosen(account, &[&of_card, &enrolled]);
            assert_eq!(enrolled_wins, Some(enrolled.chain_der.clone()));
        }
    }
}
