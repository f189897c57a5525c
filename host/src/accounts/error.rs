//! Why an account cannot be used, and why a bootstrap was refused.

use std::io;
use std::path::PathBuf;

use bailiwick_protocol::bootstrap as document;

use super::Suspended;
use crate::authority::Authority;
use crate::certificates::CertificateError;
use crate::keys::KeyError;
use crate::permissions::{Denied, PermissionError};
use crate::store::StoreError;

/// Why something cannot be done with an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is none.
    #[error(
        "{authority} has no account on this device; `bailiwick status` lists the accounts there are"
    )]
    Unknown {
        /// Who was asked for.
        authority: Authority,
    },
    /// It rests.
    #[error("{authority} holds no sessions: {why}")]
    Suspended {
        /// Whose account.
        authority: Authority,
        /// Why.
        why: Suspended,
    },
    /// Its anchors or its identity cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Its key cannot be used.
    #[error("the key of the device's certificate: {0}")]
    Key(#[from] KeyError),
    /// Its rights cannot be changed.
    #[error(transparent)]
    Permission(#[from] PermissionError),
    /// The door says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Its secrets cannot be kept.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the files of secrets cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {attempt} {path}: {source}; check owner, mode and free space of the state directory"
)]
pub struct SecretError {
    /// What was tried.
    pub attempt: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Why a bootstrap document was refused; nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// It cannot be read.
    #[error("the bootstrap document cannot be read: {0}")]
    Document(#[from] document::BootstrapError),
    /// It has more accounts than a device takes.
    #[error(
        "the device would have {found} accounts and takes {limit}; remove accounts that are not in use"
    )]
    TooMany {
        /// How many there would be.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// A `SrvID` that means something else on this device.
    #[error(
        "the SrvID {srv_id:?} is reserved; choose one that does not begin with \"local:\" or \"server:\" and is not \"*\""
    )]
    Reserved {
        /// The identifier.
        srv_id: String,
    },
    /// A server that cannot be reached in a way that protects the session.
    #[error(
        "the SrvURI of {srv_id} must be https://host[:port]/path without a user name; correct it"
    )]
    Insecure {
        /// Whose.
        srv_id: String,
    },
    /// A permitted type that would stand for others.
    #[error("Perm of {srv_id} names {moid:?}; name each MOID in full")]
    Moid {
        /// Whose.
        srv_id: String,
        /// The type.
        moid: String,
    },
    /// Credentials that do not work.
    #[error("the credentials of {srv_id}: {source}")]
    Credentials {
        /// Whose.
        srv_id: String,
        /// What is wrong with them.
        source: CertificateError,
    },
    /// Somebody with this `SrvID` is known, with other credentials.
    #[error(
        "{srv_id} has an account with other contents already; check that the document is from the same authority, then bootstrap again with --replace"
    )]
    Exists {
        /// Whose.
        srv_id: String,
    },
    /// It brings an object that cannot be made.
    #[error("the object {uri} of the document: {reason}")]
    Object {
        /// Its ClientURI.
        uri: String,
        /// Why it cannot be made.
        reason: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The device cannot keep it.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<StoreError> for BootstrapError {
    fn from(error: StoreError) -> Self {
        Self::Account(error.into())
    }
}

impl From<PermissionError> for BootstrapError {
    fn from(error: PermissionError) -> Self {
        Self::Account(error.into())
    }
}

impl From<Denied> for BootstrapError {
    fn from(error: Denied) -> Self {
        Self::Account(error.into())
    }
}

impl From<SecretError> for BootstrapError {
    fn from(error: SecretError) -> Self {
        Self::Account(error.into())
    }
}
