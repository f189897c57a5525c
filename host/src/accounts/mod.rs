//! Whom we know: the DM accounts of the device, each with the anchors, the identity and the secrets for one
//! Management Authority.
//!
//! What may be shown lies in the store; secrets lie in files of their own and are never part of an account's
//! `Debug`, JSON or log lines. Choice of server: the account's `SrvURI`, always.

mod alerts;
mod bootstrap;
mod change;
mod error;
mod identity;
mod secrets;
mod services;
mod trust;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use bailiwick_protocol::bootstrap::DMACC_MOID;

use crate::authority::{Authority, Instance};
use crate::certificates::{Clock, Credential, Origin, Pending, Role};
use crate::keys::KeyRef;
use crate::permissions::Permissions;
use crate::plugins::AccountView;
use crate::store::{Store, Table, tables};

pub use alerts::queue_alert;
pub use bootstrap::{
    Bootstrapped, Change, Command, Overwrite, Prepared, Source, Stored, prepare, store_objects,
};
pub use change::Changing;
pub use error::{AccountError, BootstrapError};
pub use identity::Shown;
pub use secrets::SecretName;

use secrets::Secrets;
use trust::Trusts;

/// The plug-in that shows accounts as instances of the DM Account object.
pub const PLUGIN: &str = "account";

/// One DM account: whom the device lets manage it, and how to reach and recognise them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its `SrvID`; bootstrap takes none whose authority would be written differently.
    pub authority: Authority,
    /// `SrvURI`: where Package#1 goes; https.
    pub srv_uri: String,
    /// `Name`: for people.
    pub name: String,
    /// MIID of its DM Account instance.
    pub miid: String,
    /// `Auth/Trsp`: what the device shows to the authority's servers.
    pub identity: IdentityRef,
    /// `Ext/Anchor`: what the authority's servers chain to, DER.
    #[serde(with = "crate::store::base64_list")]
    pub anchors_der: Vec<Vec<u8>>,
    /// `Auth/Noti`: how the authority's notifications are recognised.
    pub notification: Option<NotificationKey>,
    /// `Auth/Bootstrap`: how the bootstrap server is reached again.
    pub bootstrap_server: Option<BootstrapServer>,
    /// Where it came from; no other source changes it.
    #[serde(default = "from_a_document")]
    pub origin: Origin,
    /// Why it rests: no session is held.
    #[serde(default)]
    pub suspended: Option<Suspended>,
    /// How its servers are judged, and where certificates come from.
    #[serde(default)]
    pub services: Services,
}

/// What an account says about certificates beyond anchors and identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// `Ext/EST`: where the device gets certificates; https.
    pub est_uri: Option<String>,
    /// `Ext/CRLURI`: where the newest revocation list is; https.
    pub crl_uri: Option<String>,
    /// `Ext/CRL`: revocation lists, DER.
    #[serde(with = "crate::store::base64_list")]
    pub crls_der: Vec<Vec<u8>>,
    /// `Ext/Pin`: SHA-256 of keys of the authority's servers.
    pub pins: Vec<[u8; 32]>,
}

fn from_a_document() -> Origin {
    Origin::Bootstrap
}

/// Why an account rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspended {
    /// The card that brought it is away.
    CardAway,
    /// The card that brought it does not have it any more.
    NotOnCard,
    /// No `[[card]]` line binds that card to its authority any more.
    NotBound,
}

impl fmt::Display for Suspended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CardAway => "its card is away; insert it",
            Self::NotOnCard => "its card does not have it any more; its issuer can put it back, or forget the card with \
                `bailiwick cards forget`",
            Self::NotBound => "no [[card]] line binds its card any more; write one, or forget the card with \
                `bailiwick cards forget`",
        })
    }
}

/// What the device shows of itself, and where its key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum IdentityRef {
    /// Nothing: the server authenticates the device by other means.
    None,
    /// A certificate chain, and a key in a file.
    File {
        /// DER, the device's own certificate first.
        #[serde(with = "crate::store::base64_list")]
        chain_der: Vec<Vec<u8>>,
        /// The private key, PEM.
        key: SecretName,
    },
}

/// `Auth/Noti`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationKey {
    /// `Type`.
    pub kind: i64,
    /// `Data`: AuthData of the digest.
    #[serde(with = "crate::store::base64_bytes")]
    pub data: Vec<u8>,
    /// `Secret` of the digest.
    pub secret: SecretName,
}

/// `Auth/Bootstrap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapServer {
    /// `ServerURI`.
    pub server_uri: String,
    /// `SecMode`: whether certificates are used rather than a pre-shared key.
    pub certificates: bool,
    /// `ClientPubKey`.
    #[serde(with = "crate::store::base64_bytes")]
    pub client_public: Vec<u8>,
    /// `ServerPubKey`.
    #[serde(with = "crate::store::base64_bytes")]
    pub server_public: Vec<u8>,
    /// `ClientSecretKey`.
    pub client_secret: SecretName,
}

impl Account {
    /// Its instance of the DM Account object.
    pub fn instance(&self) -> Instance {
        Instance::new(DMACC_MOID, &self.miid)
    }

    /// The certificate that the device shows to the authority's servers, DER.
    pub fn client_certificate(&self) -> Option<&[u8]> {
        match &self.identity {
            IdentityRef::None => None,
            IdentityRef::File { chain_der, .. } => chain_der.first().map(Vec::as_slice),
        }
    }

    /// What may be shown of it.
    pub fn view(&self) -> AccountView {
        AccountView {
            miid: self.miid.clone(),
            srv_id: self.authority.as_str().to_owned(),
            srv_uri: self.srv_uri.clone(),
            name: self.name.clone(),
            client_certificate: self.client_certificate().map(<[u8]>::to_vec),
        }
    }

    /// Every secret that it refers to.
    fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        let identity = match &self.identity {
            IdentityRef::None => None,
            IdentityRef::File { key, .. } => Some(key),
        };
        let notification = self.notification.as_ref().map(|noti| &noti.secret);
        let bootstrap = self.bootstrap_server.as_ref().map(|b| &b.client_secret);
        identity.into_iter().chain(notification).chain(bootstrap)
    }
}

/// All accounts of the device; a cheap handle.
#[derive(Clone)]
pub struct Accounts {
    inner: Rc<Inner>,
}

struct Inner {
    store: Store,
    permissions: Permissions,
    secrets: Secrets,
    trusts: Trusts,
    clock: Clock,
    /// One change of accounts at a time: MIIDs and secret files are chosen by looking at what is there.
    changing: Mutex<()>,
}

impl Accounts {
    /// The accounts in `store`, with their secrets in `keys/` of the state directory. Removes secrets that no
    /// account refers to: a bootstrap that lost power before its commit leaves them.
    pub fn new(store: Store, permissions: Permissions, state: &Path) -> Result<Self, AccountError> {
        let clock = Clock::at_least(services::floor_of(&store)?);
        let accounts = Self {
            inner: Rc::new(Inner {
                clock,
                store,
                permissions,
                secrets: Secrets::in_state(state),
                trusts: Trusts::default(),
                changing: Mutex::new(()),
            }),
        };
        accounts
            .inner
            .secrets
            .remove_all_but(&accounts.referenced()?)?;
        accounts.remove_orphaned_keys()?;
        Ok(accounts)
    }

    /// All accounts, in the order of their `SrvID`.
    pub fn list(&self) -> Result<Vec<Account>, AccountError> {
        let rows = self.inner.store.scan_json(Table::Accounts, "")?;
        Ok(rows.into_iter().map(|(_, account)| account).collect())
    }

    /// The account of an authority.
    pub fn get(&self, authority: &Authority) -> Result<Option<Account>, AccountError> {
        let key = tables::key(&[authority.as_str()]);
        Ok(self.inner.store.get_json(Table::Accounts, &key)?)
    }

    /// What `who` may see of the accounts: its own; the operator and the device, all.
    pub fn views(&self, who: &Authority) -> Result<Vec<AccountView>, AccountError> {
        let seen = match *who == Authority::operator() || *who == Authority::device() {
            true => self.list()?,
            false => self.get(who)?.into_iter().collect(),
        };
        Ok(seen.iter().map(Account::view).collect())
    }

    /// Removes an account: its authority, its rights, its secrets, and what waits to be sent to it.
    pub async fn remove(&self, authority: &Authority) -> Result<(), AccountError> {
        let tx = Rc::new(self.inner.store.begin());
        let mut changing = self.change(tx.clone()).await;
        changing.remove(authority)?;
        changing.commit(tx.commit()).await?;
        tracing::info!(%authority, "account removed");
        Ok(())
    }

    /// An enrolment that lost power leaves a key that neither a certificate nor a request refers to.
    fn remove_orphaned_keys(&self) -> Result<(), AccountError> {
        let credentials = Credential::all(&self.inner.store.begin())?;
        let made = credentials
            .into_iter()
            .filter_map(|credential| match credential.role {
                Role::Identity { key } => Some(key),
                _ => None,
            });
        let under_way = Pending::keys(&self.inner.store)?;
        let names = made.chain(under_way).filter_map(|key| match key {
            KeyRef::File(name) => Some(name),
            KeyRef::Card { .. } => None,
        });
        self.inner.secrets.remove_made_but(&names.collect())?;
        Ok(())
    }

    /// The secrets that accounts and provisioned identities refer to.
    fn referenced(&self) -> Result<BTreeSet<SecretName>, AccountError> {
        let credentials = Credential::all(&self.inner.store.begin())?;
        let provisioned = credentials
            .into_iter()
            .filter_map(|credential| match credential.role {
                Role::Identity {
                    key: KeyRef::File(name),
                } => SecretName::try_from(name).ok(),
                _ => None,
            });
        let accounts = self.list()?;
        let own = accounts.iter().flat_map(Account::secrets).cloned();
        Ok(own.chain(provisioned).collect())
    }
}
