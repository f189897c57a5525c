//! What was provisioned: anchors, identities and intermediates of each authority, where each came from, and what it is for.
//!
//! An anchor or identity speaks for one authority alone. The same certificate given for two authorities is two records.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::keys::{CardId, KeyRef};
use crate::store::{StoreError, Table, Transaction, tables};

/// A provisioned certificate, with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// For whom it counts.
    pub authority: Authority,
    /// Names it for people and commands: the first 16 hexadecimal digits of the SHA-256 of its DER form.
    pub id: String,
    /// What it is.
    pub role: Role,
    /// X.509, DER; an identity's own certificate first, what completes its chain after it.
    #[serde(with = "crate::store::base64_list")]
    pub chain_der: Vec<Vec<u8>>,
    /// What it may be used for.
    pub purposes: BTreeSet<Purpose>,
    /// Every source that gave it; it goes, or rests, with the last of them.
    pub origins: BTreeSet<Origin>,
    /// Whether it counts now.
    pub state: State,
    /// When it was added, Unix time in seconds.
    pub added: u64,
}

/// What a certificate is to the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Role {
    /// Others are believed because of it.
    Anchor,
    /// The device shows it, and signs with its key.
    Identity {
        /// Where the key is.
        key: KeyRef,
    },
    /// Completes chains.
    Intermediate,
}

/// What a certificate is for; its authority defines it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// DM sessions with the authority's servers.
    Sessions,
    /// Letting local applications in.
    Applications,
    /// Export to the store of that name in an environment, e.g. `wifi`, `vpn`, `system`.
    Export(String),
    /// Anything else: plug-ins find it by this label, and have it sign without seeing the key.
    Named(String),
}

/// Where a certificate came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A card.
    Card {
        /// Which.
        card: CardId,
        /// Where on it.
        path: String,
    },
    /// A bootstrap document.
    Bootstrap,
    /// A file that the operator named.
    File(String),
    /// The authority itself, in a session.
    Session,
    /// Enrolment over EST; the URI of the service.
    Enrolment(String),
}

/// Whether a credential counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// It does.
    Active,
    /// Its card is away; it counts again when the card comes back.
    Suspended,
    /// Renewed, and not yet proved by a session that worked; the older one stays until then.
    Trial {
        /// The identity that it is to replace.
        replaces: String,
    },
}

impl Credential {
    /// All of one authority, in the order of their ids.
    pub fn of(tx: &Transaction, authority: &Authority) -> Result<Vec<Self>, StoreError> {
        let rows = tx.scan_json(Table::Credentials, &tables::prefix(&[authority.as_str()]))?;
        Ok(rows.into_iter().map(|(_, credential)| credential).collect())
    }

    /// All of the device.
    pub fn all(tx: &Transaction) -> Result<Vec<Self>, StoreError> {
        let rows = tx.scan_json(Table::Credentials, "")?;
        Ok(rows.into_iter().map(|(_, credential)| credential).collect())
    }

    /// Writes it.
    pub fn put(&self, tx: &Transaction) -> Result<(), StoreError> {
        tx.put_json(Table::Credentials, &self.table_key(), self)
    }

    /// Removes it.
    pub fn remove(&self, tx: &Transaction) {
        tx.delete(Table::Credentials, &self.table_key());
    }

    fn table_key(&self) -> String {
        // The same certificate may be an anchor and something else.
        let role = match self.role {
            Role::Anchor => "anchor",
            Role::Identity { .. } => "identity",
            Role::Intermediate => "intermediate",
        };
        tables::key(&[self.authority.as_str(), &self.id, role])
    }
}
