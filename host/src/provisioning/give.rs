//! One certificate, from whatever source: checked, and kept with what is known of its origin. Every source ends here.

use std::collections::BTreeSet;

use crate::authority::Authority;
use crate::certificates::{Credential, Origin, Part, Purpose, Role, State, Unfit, lint};
use crate::store::{StoreError, Transaction};

/// Credentials of one role that an authority may have. Stops a source that gives without end.
pub const MAX_OF_EACH: usize = 16;

/// A certificate that a source gives to an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// For whom it is to count.
    pub authority: Authority,
    /// What it is to be. Whoever offers an identity has made sure that its key is held and belongs to it.
    pub role: Role,
    /// X.509, DER; an identity's own certificate first, what completes its chain after it.
    pub chain_der: Vec<Vec<u8>>,
    /// What it is for.
    pub purposes: BTreeSet<Purpose>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Why a certificate was not taken, or not taken away.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("no certificate was given")]
    Nothing,
    /// It is for nothing.
    #[error("it names no purpose; write sessions, applications, export:STORE or a label")]
    NoPurpose,
    /// It cannot be what it is to be.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// There are too many already.
    #[error(
        "{authority} has {MAX_OF_EACH} of this kind ({role}) already; remove some with `bailiwick certs remove`"
    )]
    TooMany {
        /// Whose.
        authority: Authority,
        /// `anchor`, `identity` or `intermediate`.
        role: &'static str,
    },
    /// The source did not give it, so it cannot take it back.
    #[error("{origin} did not give {id}; it can take back only what it gave")]
    NotFromThere {
        /// The certificate.
        id: String,
        /// Who wanted to take it back.
        origin: Origin,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks a certificate and keeps it, at the Unix time `now` in seconds. One that is there already gets another origin
/// and the purposes of both: nothing that another source gave is replaced or narrowed. Writes nothing if nothing
/// changes.
pub fn add(tx: &Transaction, offer: Offer, now: u64) -> Result<Credential, Refused> {
    for (index, der) in offer.chain_der.iter().enumerate() {
        let part = match (&offer.role, index) {
            (Role::Anchor, _) => Part::Anchor,
            (Role::Identity { .. }, 0) => Part::Identity,
            (Role::Identity { .. } | Role::Intermediate, _) => Part::Intermediate,
        };
        for warning in lint(der, part, now)? {
            tracing::warn!(authority = %offer.authority, certificate = Credential::id_of(der), warning);
        }
    }
    let der = offer.chain_der.first().ok_or(Refused::Nothing)?;
    if offer.purposes.is_empty() {
        return Err(Refused::NoPurpose);
    }
    let there = Credential::get(tx, &offer.authority, &Credential::id_of(der), &offer.role)?;
    if there.is_none() {
        let all = Credential::of(tx, &offer.authority)?;
        let same = all.iter().filter(|c| c.role.name() == offer.role.name());
        if same.count() >= MAX_OF_EACH {
            return Err(Refused::TooMany {
                authority: offer.authority,
                role: offer.role.name(),
            });
        }
    }
    let credential = with(there.as_ref(), offer, now).ok_or(Refused::Nothing)?;
    if there.as_ref() != Some(&credential) {
        credential.put(tx)?;
    }
    Ok(credential)
}

/// What is there, with what is offered. `None`: nothing is offered. Pure.
pub(super) fn with(there: Option<&Credential>, offer: Offer, now: u64) -> Option<Credential> {
    let Offer {
        authority,
        role,
        chain_der,
        purposes,
        origin,
    } = offer;
    let Some(there) = there else {
        return Some(Credential {
            authority,
            id: Credential::id_of(chain_der.first()?),
            role,
            chain_der,
            purposes,
            origins: [origin].into(),
            state: State::Active,
            added: now,
        });
    };
    let mut with = there.clone();
    with.purposes.extend(purposes);
    with.origins.insert(origin);
    if with.state == State::Suspended {
        with.state = State::Active;
    }
    Some(with)
}

/// Takes a certificate back: it goes with its last origin. Returns what is left of it.
pub fn withdraw(
    tx: &Transaction,
    credential: &Credential,
    origin: &Origin,
) -> Result<Option<Credential>, Refused> {
    if !credential.origins.contains(origin) {
        return Err(Refused::NotFromThere {
            id: credential.id.clone(),
            origin: origin.clone(),
        });
    }
    let mut left = credential.clone();
    left.origins.remove(origin);
    if left.origins.is_empty() {
        credential.remove(tx);
        return Ok(None);
    }
    left.put(tx)?;
    Ok(Some(left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::testing::Ca;
    use crate::keys::KeyRef;
    use crate::store::{Store, Table};

    /// 2026-01-01.
    const NOW: u64 = 1_767_225_600;

    fn offer(der: Vec<u8>, purpose: &str, origin: Origin) -> Offer {
        Offer {
            authority: Authority::server("north"),
            role: Role::Anchor,
            chain_der: vec![der],
            purposes: [purpose.parse().unwrap()].into(),
            origin,
        }
    }

    #[tokio::test]
    async fn a_certificate_stays_until_the_last_source_takes_it_back() {
        let store = Store::in_memory().unwrap();
        let tx = store.begin();
        let der = Ca::new("CA").der();
        let file = Origin::File("/ca.pem".into());
        let first = add(&tx, offer(der.clone(), "sessions", file.clone()), NOW).unwrap();
        let both = add(
            &tx,
            offer(der.clone(), "applications", Origin::Session),
            NOW,
        )
        .unwrap();
        assert_eq!(both.origins.len(), 2);
        assert_eq!((both.purposes.len(), both.added), (2, first.added));
        tx.commit().await.unwrap();
        add(&tx, offer(der, "sessions", file.clone()), NOW + 1).unwrap();
        assert!(tx.is_empty(), "again: nothing changes");

        let stranger = withdraw(&tx, &both, &Origin::Bootstrap).unwrap_err();
        assert!(
            stranger.to_string().contains("only what it gave"),
            "{stranger}"
        );
        let left = withdraw(&tx, &both, &file).unwrap().unwrap();
        assert_eq!(left.origins, [Origin::Session].into());
        assert_eq!(withdraw(&tx, &left, &Origin::Session).unwrap(), None);
        assert_eq!(tx.scan(Table::Credentials, "").unwrap(), []);
    }

    #[test]
    fn what_is_no_good_is_refused() {
        let store = Store::in_memory().unwrap();
        let tx = store.begin();
        let ca = Ca::new("CA");
        let leaf = ca.client("device").chain_der.remove(0);
        let refused = |offer: Offer| add(&tx, offer, NOW).unwrap_err().to_string();
        let file = || Origin::File("/x".into());
        assert!(refused(offer(leaf, "sessions", file())).contains("not the certificate of a CA"));
        let nothing = Offer {
            chain_der: Vec::new(),
            ..offer(ca.der(), "sessions", file())
        };
        assert!(refused(nothing).contains("no certificate"));
        let aimless = Offer {
            purposes: BTreeSet::new(),
            ..offer(ca.der(), "sessions", file())
        };
        assert!(refused(aimless).contains("no purpose"));
        let identity = Offer {
            role: Role::Identity {
                key: KeyRef::File("x".into()),
            },
            ..offer(ca.der(), "sessions", file())
        };
        assert!(refused(identity).contains("no CA is the identity"));
        for number in 0..MAX_OF_EACH {
            let der = Ca::new(&number.to_string()).der();
            add(&tx, offer(der, "sessions", file()), NOW).unwrap();
        }
        assert!(refused(offer(ca.der(), "sessions", file())).contains("16 of this kind"));
        assert_eq!(tx.scan(Table::Credentials, "").unwrap().len(), MAX_OF_EACH);
    }
}
