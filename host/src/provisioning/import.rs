//! Certificates and keys from a file that the operator names: the same checks as from any other source.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{Offer, Refused, add};
use crate::accounts::{AccountError, Accounts};
use crate::authority::Authority;
use crate::certificates::{
    CertificateError, Credential, Origin, Purpose, Role, check_pair, private_key_pem,
};
use crate::store::Store;

/// What is in the file, and what it is to be.
#[derive(Debug)]
pub struct Import {
    /// For whom it counts.
    pub authority: Authority,
    /// What it is for.
    pub purposes: BTreeSet<Purpose>,
    /// X.509, DER, in any order.
    pub certificates_der: Vec<Vec<u8>>,
    /// The private key of one of them, PEM or DER: that one becomes an identity, and the others complete its chain. `None`: each
    /// becomes an anchor.
    pub key: Option<Secret>,
    /// The file, for the records.
    pub file: String,
}

/// A private key, shown by nothing.
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Why nothing was taken from a file.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is for nobody who could have an account.
    #[error("{authority:?} is not a SrvID that an account can have")]
    Authority {
        /// For whom.
        authority: Authority,
    },
    /// The key belongs to nothing in the file.
    #[error(
        "the private key belongs to none of the {found} certificates; put its certificate into the file"
    )]
    NoPair {
        /// How many there are.
        found: usize,
    },
    /// The key cannot be used.
    #[error("the private key cannot be used: {0}")]
    Key(CertificateError),
    /// A certificate was refused.
    #[error("{id}: {source}")]
    Refused {
        /// Which.
        id: String,
        /// Why.
        source: Refused,
    },
    /// It was not kept.
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// Takes everything, or nothing, at the Unix time `now` in seconds. Gives what there is now.
pub async fn import(
    accounts: &Accounts,
    store: &Store,
    import: Import,
    now: u64,
) -> Result<Vec<Credential>, ImportError> {
    let Import {
        authority,
        purposes,
        mut certificates_der,
        key,
        file,
    } = import;
    if authority.is_local() || authority.as_str() == "*" || authority.as_str().is_empty() {
        return Err(ImportError::Authority { authority });
    }
    let tx = Rc::new(store.begin());
    let mut changing = accounts.change(Rc::clone(&tx)).await;
    let mut offers = Vec::new();
    match key {
        Some(Secret(key)) => {
            let found = certificates_der.len();
            let is_pair = |der: &Vec<u8>| check_pair(std::slice::from_ref(der), &key).is_ok();
            let own = certificates_der.iter().position(is_pair);
            let own = certificates_der.remove(own.ok_or(ImportError::NoPair { found })?);
            certificates_der.insert(0, own);
            let pem = private_key_pem(&key).map_err(ImportError::Key)?;
            let key = changing.keep_key(&authority, pem.into_bytes());
            offers.push((Role::Identity { key }, certificates_der));
        }
        None => {
            let each = certificates_der.into_iter().map(|der| vec![der]);
            offers.extend(each.map(|chain_der| (Role::Anchor, chain_der)));
        }
    }
    let mut taken = Vec::new();
    for (role, chain_der) in offers {
        let id = Credential::id_of(chain_der.first().map_or(&[], Vec::as_slice));
        let offer = Offer {
            authority: authority.clone(),
            role,
            chain_der,
            purposes: purposes.clone(),
            origin: Origin::File(file.clone()),
        };
        let added = add(&tx, offer, now);
        taken.push(added.map_err(|source| ImportError::Refused { id, source })?);
    }
    changing.touch(&authority);
    changing.commit(tx.commit()).await?;
    for credential in &taken {
        tracing::info!(%authority, certificate = credential.id, file, "imported");
    }
    Ok(taken)
}
