//! Why an access failed, and the one place that turns it into the status of a command.

use bailiwick_protocol::StatusCode;

use super::{Fault, Refusal};
use crate::authority::Instance;
use crate::permissions::{Access, Denied, PermissionError};
use crate::plugins::{CallError, PluginError};
use crate::store::StoreError;

/// Why an access to an object failed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// A right is missing.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The description of the type forbids it, or the data do not follow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing that the authority may see answers to the ClientURI.
    #[error("nothing here is called {uri}")]
    NotFound {
        /// The ClientURI.
        uri: String,
    },
    /// Several nodes or instances answer to a ClientURI that must mean one.
    #[error("{uri} means {found} nodes or instances; name the one that is meant")]
    Ambiguous {
        /// The ClientURI.
        uri: String,
        /// How many.
        found: usize,
    },
    /// `*` where data are to be stored.
    #[error("{uri} names a set; data go to one place")]
    Wildcard {
        /// The ClientURI.
        uri: String,
    },
    /// The permit is for something else. A mistake of ours, and never of a server.
    #[error("the permit is for {permitted}, not for {asked}")]
    WrongPermit {
        /// What was checked.
        permitted: Access,
        /// What it was used for.
        asked: Access,
    },
    /// An instance that a plug-in brought along, and that no command made.
    #[error("{instance} belongs to the device and cannot be deleted")]
    Built {
        /// Which.
        instance: Instance,
    },
    /// Data without a place: no ClientURI in the command and none in the item.
    #[error("the item has no ClientURI and the command has none; one of them must name a MOID")]
    NoPlace,
    /// A ClientURI inside the data is none.
    #[error("the item's ClientURI: {0}")]
    ItemUri(#[from] bailiwick_protocol::UriError),
    /// The data of an item are no tree.
    #[error("the item's data: {0}")]
    ItemData(#[from] bailiwick_protocol::ObjectError),
    /// Another command holds the instance for too long.
    #[error("{instance} is busy with another command; try again")]
    Locked {
        /// Which.
        instance: Instance,
    },
    /// A plug-in answered something that it must not answer.
    #[error("plug-in {plugin} is faulty: {fault}")]
    Faulty {
        /// Which.
        plugin: String,
        /// What is wrong with the answer.
        fault: Fault,
    },
    /// A plug-in did not do its work.
    #[error("{source}")]
    Call {
        /// Why.
        source: CallError,
        /// What it was asked to do.
        doing: Doing,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// What is known of instances and rights cannot be read or changed.
    #[error(transparent)]
    Permissions(#[from] PermissionError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a plug-in was asked to do, as far as the status of the command depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Telling something.
    Reading,
    /// Changing something.
    Writing,
}

impl ObjectError {
    /// The status of the command that failed with this.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Denied(denied) => denied.status(),
            Self::Refused(refusal) => refusal.status(),
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Ambiguous { .. }
            | Self::Wildcard { .. }
            | Self::NoPlace
            | Self::ItemUri(_)
            | Self::ItemData(_) => StatusCode::BAD_REQUEST,
            Self::Built { .. } => StatusCode::NOT_ALLOWED,
            Self::Locked { .. } => StatusCode::UNAVAILABLE,
            Self::Faulty { .. } | Self::NoRandomness | Self::WrongPermit { .. } => {
                StatusCode::FAILED
            }
            Self::Call { source, doing } => status_of_call(source, *doing),
            Self::Permissions(PermissionError::Store(error)) | Self::Store(error) => {
                status_of_store(error)
            }
            Self::Permissions(PermissionError::Exists { .. }) => StatusCode::CONFLICT,
            Self::Permissions(_) => StatusCode::FAILED,
        }
    }

    /// Whether a right is missing, as opposed to not knowing.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied(denied) if !matches!(denied, Denied::Unreadable(_)))
    }

    /// Whether it only says that there is no such node, so that a set goes on without it.
    pub fn is_not_found(&self) -> bool {
        self.status() == StatusCode::NOT_FOUND
    }
}

/// What the failure of a plug-in means for the command.
///
/// choice (OMA DM 2.0 §5.1 knows few codes): what the plug-in says about the request is the request's status;
/// what went wrong inside is 500 once it has begun, and 503 when it was never begun and may work later. A
/// deadline that passed is 500, because 408 speaks of the data repository. "Not supported" is 405: the command
/// is known, this node does not take it. "Too large" means the answer (413) or the storage (507).
pub(super) fn status_of_call(error: &CallError, doing: Doing) -> StatusCode {
    match error {
        CallError::Refused { error, .. } => match error {
            PluginError::NotFound => StatusCode::NOT_FOUND,
            PluginError::NotPermitted => StatusCode::FORBIDDEN,
            PluginError::NotSupported => StatusCode::NOT_ALLOWED,
            PluginError::InvalidArgument(_) => StatusCode::BAD_REQUEST,
            PluginError::Conflict(_) => StatusCode::CONFLICT,
            PluginError::Busy | PluginError::Unavailable(_) => StatusCode::UNAVAILABLE,
            PluginError::TooLarge if doing == Doing::Reading => StatusCode::TOO_LARGE,
            PluginError::TooLarge => StatusCode::STORAGE_FULL,
            PluginError::TimedOut | PluginError::Other(_) => StatusCode::FAILED,
        },
        CallError::Crashed { .. } | CallError::TimedOut { .. } => StatusCode::FAILED,
        CallError::Quarantined { .. } | CallError::Unusable { .. } | CallError::Busy { .. } => {
            StatusCode::UNAVAILABLE
        }
    }
}

/// What a failure of the store means for the command.
pub(super) fn status_of_store(error: &StoreError) -> StatusCode {
    match error.is_full() {
        true => StatusCode::STORAGE_FULL,
        false => StatusCode::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_has_one_status() {
        let refused = |error| CallError::Refused {
            plugin: "p".into(),
            error,
        };
        let plugin = || "p".to_owned();
        let rows = [
            (refused(PluginError::NotFound), Doing::Reading, 404),
            (refused(PluginError::NotPermitted), Doing::Writing, 403),
            (refused(PluginError::NotSupported), Doing::Writing, 405),
            (
                refused(PluginError::InvalidArgument(None)),
                Doing::Writing,
                400,
            ),
            (refused(PluginError::Conflict(None)), Doing::Writing, 409),
            (refused(PluginError::Busy), Doing::Reading, 503),
            (refused(PluginError::Unavailable(None)), Doing::Reading, 503),
            (refused(PluginError::TooLarge), Doing::Reading, 413),
            (refused(PluginError::TooLarge), Doing::Writing, 507),
            (refused(PluginError::TimedOut), Doing::Reading, 500),
            (refused(PluginError::Other(None)), Doing::Reading, 500),
            (
                CallError::Crashed {
                    plugin: plugin(),
                    reason: "trap".into(),
                },
                Doing::Reading,
                500,
            ),
            (
                CallError::TimedOut {
                    plugin: plugin(),
                    milliseconds: 1,
                },
                Doing::Writing,
                500,
            ),
            (
                CallError::Quarantined {
                    plugin: plugin(),
                    traps: 3,
                },
                Doing::Reading,
                503,
            ),
            (
                CallError::Unusable {
                    plugin: plugin(),
                    reason: "x".into(),
                },
                Doing::Reading,
                503,
            ),
            (CallError::Busy { plugin: plugin() }, Doing::Writing, 503),
        ];
        for (error, doing, status) in rows {
            assert_eq!(
                status_of_call(&error, doing).0,
                status,
                "{error} while {doing:?}"
            );
        }
    }
}
