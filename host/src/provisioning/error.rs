//! Why nothing was provisioned.

use crate::accounts::{AccountError, BootstrapError};
use crate::authority::Authority;
use crate::keys::KeyError;
use crate::store::StoreError;

/// Why nothing was provisioned, or nothing taken back. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ProvisioningError {
    /// The card, or whoever reads it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A document.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing like that.
    #[error("{authority} has no certificate {id}; `bailiwick certs` lists them")]
    NoCredential {
        /// Whose.
        authority: Authority,
        /// What was asked for.
        id: String,
    },
    /// No card with this serial number has given anything.
    #[error(
        "no card {serial} has given anything; `bailiwick certs` shows where certificates came from"
    )]
    NoCard {
        /// What was asked for.
        serial: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}
