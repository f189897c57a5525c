//! What was provisioned: anchors, identities and intermediates of each authority, where each came from, and what it is for.
//!
//! An anchor or identity speaks for one authority alone. The same certificate given for two authorities is two records.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

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

/// Not a purpose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{purpose:?} is no purpose; write sessions, applications, export:STORE, or a label of 1 to 64 letters, digits, - and _"
)]
pub struct UnknownPurpose {
    /// What was written.
    pub purpose: String,
}

impl FromStr for Purpose {
    type Err = UnknownPurpose;

    /// `sessions`, `applications`, `export:STORE`; every other label names a purpose that its authority has chosen.
    fn from_str(text: &str) -> Result<Self, UnknownPurpose> {
        let is_label = |label: &str| {
            let letters = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (1..=64).contains(&label.len()) && label.chars().all(letters)
        };
        match (text, text.strip_prefix("export:")) {
            ("sessions", _) => Ok(Self::Sessions),
            ("applications", _) => Ok(Self::Applications),
            (_, Some(store)) if is_label(store) => Ok(Self::Export(store.to_owned())),
            (label, None) if is_label(label) => Ok(Self::Named(label.to_owned())),
            _ => Err(UnknownPurpose {
                purpose: text.chars().take(80).collect(),
            }),
        }
    }
}

impl fmt::Display for Purpose {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sessions => f.write_str("sessions"),
            Self::Applications => f.write_str("applications"),
            Self::Export(store) => write!(f, "export:{store}"),
            Self::Named(label) => f.write_str(label),
        }
    }
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

impl Origin {
    /// The card, if it is one.
    pub fn card(&self) -> Option<&CardId> {
        match self {
            Self::Card { card, .. } => Some(card),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card { card, .. } => write!(f, "card {}", card.serial),
            Self::Bootstrap => f.write_str("a bootstrap document"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Session => f.write_str("the authority, in a session"),
            Self::Enrolment(uri) => write!(f, "enrolment at {uri}"),
        }
    }
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

impl Role {
    /// In one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Anchor => "anchor",
            Self::Identity { .. } => "identity",
            Self::Intermediate => "intermediate",
        }
    }
}

impl Credential {
    /// The id of a certificate, DER.
    pub fn id_of(der: &[u8]) -> String {
        let mut id = fingerprint(der);
        id.truncate(16);
        id
    }

    /// Its own certificate, DER.
    pub fn der(&self) -> &[u8] {
        self.chain_der.first().map_or(&[], Vec::as_slice)
    }

    /// Whether it counts, for this purpose.
    pub fn serves(&self, purpose: &Purpose) -> bool {
        self.state == State::Active && self.purposes.contains(purpose)
    }

    /// The one of an authority with this id and role, if there is one.
    pub fn get(
        tx: &Transaction,
        authority: &Authority,
        id: &str,
        role: &Role,
    ) -> Result<Option<Self>, StoreError> {
        let key = tables::key(&[authority.as_str(), id, role.name()]);
        tx.get_json(Table::Credentials, &key)
    }

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
        tables::key(&[self.authority.as_str(), &self.id, self.role.name()])
    }
}

/// SHA-256, hexadecimal.
pub fn fingerprint(der: &[u8]) -> String {
    hexadecimal(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref())
}

/// Two digits a byte, small.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_are_read_as_they_are_written() {
        for text in ["sessions", "applications", "export:wifi", "meter-reading"] {
            assert_eq!(text.parse::<Purpose>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "export:",
            "export:a/b",
            "se ssions",
            "a:b",
            "\u{1b}[2J",
            "../x",
        ] {
            let error = text.parse::<Purpose>().unwrap_err();
            assert!(error.to_string().contains("is no purpose"), "{text}");
        }
        let long = "x".repeat(65);
        assert!(long.parse::<Purpose>().is_err());
    }
}
